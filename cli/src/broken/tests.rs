use std::fs;

use super::*;
use crate::document;

/// Where the rules are broken.
fn broken(filter: &str, config: Value) -> Vec<String> {
    let filter = Filter::named(filter).unwrap();
    let variables = Variables::assumed(&config);
    let errors = filter.errors(&config, Host::Envoy, &variables);
    errors.iter().map(|error| error.path().to_owned()).collect()
}

fn limit(name: &str, key: &str, window: &str) -> Value {
    json!({ "name": name, "key": [key], "quota": 10, "window": window })
}

#[test]
fn all_entries_that_break_a_rule_are_told_where_they_stand() {
    let mut costs = limit("e", "path", "1m");
    costs["costs"] = json!([
        { "match": { "methods": ["GET"] }, "cost": 11 },
        { "match": { "methods": ["PUT"] }, "cost": 2 },
        { "match": { "methods": ["POST"] }, "cost": 12 },
        { "match": { "methods": ["PUT"] }, "cost": 3 },
    ]);
    let config = json!({ "limits": [
        limit("a", "path", "500ms"),
        limit("b", "path", "1m"),
        limit("c", "path", "10ms"),
        limit("b", "path", "1h"),
        costs,
        limit("f", "claim:sub", "1m"),
    ] });
    let mut told = broken("rate_limit", config);
    told.sort();
    assert_eq!(
        told,
        [
            "limits[0].window",
            "limits[2].window",
            "limits[3].name",
            "limits[4].costs[0].cost",
            "limits[4].costs[2].cost",
            "limits[4].costs[3].match",
            "limits[5].key[0]"
        ]
    );
    let breaker = |name: &str, window: &str| json!({ "name": name, "trip": { "failure_ratio": { "above": 0.5, "window": window, "minimum_requests": 1 } } });
    let config = json!({ "breakers": [breaker("a", "1ms"), breaker("b", "1s"), breaker("b", "1s"), breaker("c", "2ms")] });
    assert_eq!(broken("circuit_breaker", config).len(), 3);
}

#[test]
fn what_is_wrong_only_without_a_broken_entry_is_not_told() {
    let config = json!({ "rate_limit": {
        "limits": [limit("a", "path", "500ms"), limit("b", "path", "1m"), limit("c", "path", "1m")],
        "before_auth": ["a", "x"]
    } });
    assert_eq!(
        broken("edge", config),
        ["rate_limit.limits[0].window", "rate_limit.before_auth[1]"]
    );
    let config = json!({
        "limits": [limit("a", "claim:sub", "500ms"), limit("b", "path", "1m")],
        "claim_headers": { "sub": "x-user" }
    });
    assert_eq!(broken("rate_limit", config), ["limits[0].window"]);
    let provider = |issuer: &str, secret: &str| {
        json!({
            "issuer": issuer, "audiences": ["a"], "algorithms": ["HS256"], "keys": [{ "secret": { "value": secret } }]
        })
    };
    let long = "0123456789abcdef0123456789abcdef";
    let config = json!({
        "providers": { "a": provider("https://a", "short"), "b": provider("https://b", long), "c": provider("https://c", "small") },
        "rules": [
            { "match": { "paths": [{ "prefix": "/a" }] }, "require": { "any_of": ["a"] } },
            { "match": { "paths": [{ "prefix": "/c" }] }, "require": { "any_of": ["b", "d"] } },
            { "require": { "any_of": ["c", "b"] } },
        ]
    });
    let mut told = broken("jwt_auth", config);
    told.sort();
    assert_eq!(
        told,
        [
            "providers.a.keys[0].secret",
            "providers.c.keys[0].secret",
            "rules[1].require.any_of[1]"
        ]
    );
}

/// Where a configuration has values that are no lists and no fields.
fn leaves(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{pointer}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer),
    }
}

/// A configuration with other values in some places, if it has its shape then, and what is told of it.
fn changed(filter: Filter, config: &Value, changes: &[&Change]) -> Option<Vec<String>> {
    let mut config = config.clone();
    for change in changes {
        *config.pointer_mut(&change.at)? = change.value.clone();
    }
    (filter.reads)(config.clone()).ok()?;
    let variables = Variables::assumed(&config);
    let errors = filter.errors(&config, Host::Native, &variables);
    Some(errors.iter().map(ToString::to_string).collect())
}

/// A value that breaks a rule.
struct Change {
    at: String,
    value: Value,
    told: Vec<String>,
}

#[test]
fn of_two_that_break_rules_nothing_is_told_that_is_not_told_of_one() {
    let mut pairs = 0;
    let mut both = 0;
    for page in fs::read_dir("../docs").unwrap() {
        let page = fs::read_to_string(page.unwrap().path()).unwrap();
        for block in page.split("<!-- config: ").skip(1) {
            let (name, rest) = block.split_once(" -->").unwrap();
            let filter = Filter::named(name).unwrap();
            let text = rest.split("```").nth(1).unwrap();
            let text = text.split_once('\n').unwrap().1;
            let config = document::read(text).unwrap().remove(0).to_json();
            let mut places = Vec::new();
            leaves(&config, String::new(), &mut places);
            let mut changes = Vec::new();
            for at in &places {
                for value in [json!("1ms"), json!("nobody"), json!(1), json!("/nobody")] {
                    let at = at.clone();
                    let told = Vec::new();
                    let mut change = Change { at, value, told };
                    change.told = changed(filter, &config, &[&change]).unwrap_or_default();
                    assert!(
                        change.told.len() <= 1,
                        "{name} {}: {:#?}",
                        change.at,
                        change.told
                    );
                    changes.extend((!change.told.is_empty()).then_some(change));
                }
            }
            for (index, one) in changes.iter().enumerate() {
                for other in changes
                    .iter()
                    .skip(index + 1)
                    .filter(|other| other.at != one.at)
                {
                    let Some(told) = changed(filter, &config, &[one, other]) else {
                        continue;
                    };
                    // What a limit has and what it costs is one thing.
                    let is_known = |line: &String| {
                        one.told.contains(line)
                            || other.told.contains(line)
                            || line.contains("nothing would pass")
                    };
                    assert!(
                        told.iter().all(is_known),
                        "{name} {} {}: {told:#?}",
                        one.at,
                        other.at
                    );
                    pairs += 1;
                    both += usize::from(told.len() == 2);
                }
            }
        }
    }
    assert!(
        pairs > 700 && both * 3 > pairs * 2,
        "both of {both} in {pairs}"
    );
}
