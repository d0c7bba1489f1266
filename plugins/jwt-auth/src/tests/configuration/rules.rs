//! What wrong rules are told.

use super::*;

#[test]
fn what_is_wrong_with_a_rule_is_said() {
    assert_errors(
        "/rules/3",
        &[
            (
                json!({}),
                "rules[3]: neither `allow` nor `require`; expected one of them",
            ),
            (
                json!({"allow": "anyone", "require": {"any_of": ["company"]}}),
                "rules[3]: both `allow` and `require`; expected one of them",
            ),
            (
                json!({"allow": "nobody"}),
                "rules[3].allow: unknown variant `nobody`, expected `anyone`",
            ),
        ],
    );
    let none = "expected one of `any_of` and `all_of`, or `optional` with one of them";
    let providers = "is not a provider; expected one of company, dashboard";
    for (value, path, rule) in [
        (json!({}), "", none),
        (json!({"scopes": ["a"]}), "", none),
        (json!({"optional": {}}), ".optional", none),
        (
            json!({"any_of": ["company"], "all_of": ["dashboard"]}),
            "",
            "both `any_of` and `all_of`; expected one of them",
        ),
        (
            json!({"optional": {"any_of": ["company"], "all_of": ["dashboard"]}}),
            ".optional",
            "both `any_of` and `all_of`; expected one of them",
        ),
        (
            json!({"any_of": []}),
            ".any_of",
            "the list is empty; expected at least one entry",
        ),
        (
            json!({"any_of": ["company", "compny"]}),
            ".any_of[1]",
            &format!(r#""compny" {providers}"#),
        ),
        (
            json!({"all_of": ["compny", "company"]}),
            ".all_of[0]",
            &format!(r#""compny" {providers}"#),
        ),
        (
            json!({"optional": {"any_of": ["compny"]}}),
            ".optional.any_of[0]",
            &format!(r#""compny" {providers}"#),
        ),
        (
            json!({"any_of": ["company", "company"]}),
            ".any_of[1]",
            r#""company" is there twice"#,
        ),
        (
            json!({"all_of": ["company", "company"]}),
            ".all_of[1]",
            r#""company" is there twice"#,
        ),
        (
            json!({"optional": {"all_of": ["company", "company"]}}),
            ".optional.all_of[1]",
            r#""company" is there twice"#,
        ),
        (
            json!({"all_of": ["dashboard", "company"]}),
            ".all_of[1]",
            r#"it looks for its token where "dashboard" does; expected other places"#,
        ),
        (
            json!({"optional": {"all_of": ["company", "dashboard"]}}),
            ".optional.all_of[1]",
            r#"it looks for its token where "company" does; expected other places"#,
        ),
        (
            json!({"any_of": ["company"], "scopes": ["rag:read rag:write"]}),
            ".scopes[0]",
            r#""rag:read rag:write" is not a scope; expected 1 to 128 of visible ASCII, without " and \"#,
        ),
        (
            json!({"any_of": ["company"], "claims": {"level": []}}),
            ".claims.level",
            "the list is empty; expected at least one entry",
        ),
        (
            json!({"any_of": ["company"], "claims": {"level": [1, null]}}),
            ".claims.level[1]",
            "null is not a claim's value; expected text, a number or a boolean",
        ),
    ] {
        assert_errors(
            "/rules/3/require",
            &[(value, &format!("rules[3].require{path}: {rule}"))],
        );
    }
    // Beside `optional` it could be taken for what holds without a token too.
    for (name, value) in [
        ("any_of", json!(["company"])),
        ("all_of", json!(["company"])),
        ("scopes", json!(["rag:read"])),
        ("claims", json!({"level": [1]})),
    ] {
        let beside = with(json!({"optional": {"any_of": ["company"]}}), name, value);
        let expected = "rules[3].require: with `optional`, everything else belongs into it";
        assert_errors("/rules/3/require", &[(beside, expected)]);
    }
    assert_taken(
        "/rules/3/require",
        &[
            json!({"all_of": ["dashboard"]}),
            json!({"optional": {"any_of": ["dashboard", "company"], "scopes": ["rag:read"]}}),
            json!({"optional": {"all_of": ["company"], "claims": {"level": [1, "1", true]}}}),
        ],
    );
}

#[test]
fn the_tokens_of_one_request_are_told_apart_by_place_and_header() {
    let mut config = config();
    config["providers"]["company"]["token_from"] = json!([{"header": "x-company-token"}]);
    config["rules"][3]["require"] = json!({"all_of": ["dashboard", "company"]});
    let error = Gateway::try_new(config.clone()).err().unwrap();
    let rule = r#"a claim goes to a header of "dashboard"; expected another one"#;
    assert_eq!(error, format!("rules[3].require.all_of[1]: {rule}"));
    config["providers"]["company"]["forward"]["claims"]["sub"] = json!("x-company-user");
    assert_eq!(Gateway::try_new(config).err(), None);
}

#[test]
fn a_rule_that_an_earlier_one_leaves_nothing_is_refused() {
    for (hidden, turned) in [
        (json!([{"prefix": "/a"}]), false),
        (json!([{"exact": "/a/"}, {"template": "/a/{b}"}]), true),
    ] {
        let mut config = config();
        config["rules"] = json!([
            {"match": {"methods": ["PUT"]}, "allow": "anyone"},
            {"match": {"paths": [{"prefix": "/a"}]}, "allow": "anyone"},
            {"match": {"paths": hidden}, "require": {"any_of": ["company"]}},
        ]);
        let error = Gateway::try_new(config.clone()).err().unwrap();
        let rule = "it is never reached: rules[1] matches all of its requests, and the first that matches holds";
        assert_eq!(error, format!("rules[2].match: {rule}"));
        // The other way round each has its own.
        let rules = config["rules"].as_array_mut().unwrap();
        rules.swap(1, 2);
        assert_eq!(Gateway::try_new(config).is_ok(), turned);
    }
}
