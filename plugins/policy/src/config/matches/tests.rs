use super::*;
use crate::{Headers, PeerAddress};

struct Nobody;
impl PeerAddress for Nobody {
    fn peer(&self) -> Option<std::net::IpAddr> {
        None
    }
}

fn matches(json: &str, method: &str, host: &str, path: &str) -> bool {
    let rule: Match = serde_json::from_str(json).unwrap();
    let headers = Headers::from_pairs([(":method", method), (":authority", host), (":path", path)]);
    rule.matches(&Request::new(&headers, &Nobody), IfAmbiguous::Misses)
}

#[test]
fn a_prefix_matches_whole_segments() {
    let rule = r#"{"paths":[{"prefix":"/api/v1/rag"}]}"#;
    for (path, expected) in [
        ("/api/v1/rag", true),
        ("/api/v1/rag?q=1", true),
        ("/api/v1/rag/x", true),
        ("/api/v1/%72ag/x", true),
        ("/api/v1/ragged", false),
        ("/api/v1", false),
        ("/api/v1/rag/../rag", false),
    ] {
        assert_eq!(matches(rule, "GET", "h", path), expected, "{path}");
    }
    assert!(matches(r#"{"paths":[{"prefix":"/"}]}"#, "GET", "h", "/x"));
}

#[test]
fn a_template_takes_one_segment_for_each_name() {
    let rule = r#"{"paths":[{"template":"/collections/{name}/points"}]}"#;
    assert!(matches(rule, "GET", "h", "/collections/docs/points"));
    for path in [
        "/collections//points",
        "/collections/points",
        "/collections/a/b/points",
        "/collections/a/points//",
        "/collections/a",
    ] {
        assert!(!matches(rule, "GET", "h", path), "{path}");
    }
}

#[test]
fn a_slash_at_the_end_is_the_same_path_unless_a_backend_tells_it_apart() {
    for (pattern, path) in [
        (r#"{"exact":"/admin"}"#, "/admin"),
        (r#"{"exact":"/admin/"}"#, "/admin"),
        (r#"{"prefix":"/admin"}"#, "/admin"),
        (r#"{"template":"/users/{id}/secret"}"#, "/users/1/secret"),
        (r#"{"template":"/users/{id}/"}"#, "/users/1"),
    ] {
        let both = format!(r#"{{"paths":[{pattern}]}}"#);
        let slash = format!("{path}/");
        for path in [path, &slash, &format!("{slash}?q=1")] {
            assert!(matches(&both, "GET", "h", path), "{pattern} {path}");
        }
        let distinct = format!(r#"{{"paths":[{pattern}],"trailing_slash":"distinct"}}"#);
        let found = [path, &slash].map(|path| matches(&distinct, "GET", "h", path));
        let expected = match (pattern.contains("prefix"), pattern.contains("/\"")) {
            (true, _) => [true, true],
            (false, true) => [false, true],
            (false, false) => [true, false],
        };
        assert_eq!(found, expected, "{pattern}");
    }
    for distinct in ["", r#","trailing_slash":"distinct""#] {
        let root = format!(r#"{{"paths":[{{"exact":"/"}}]{distinct}}}"#);
        assert!(matches(&root, "GET", "h", "/") && !matches(&root, "GET", "h", "/a"));
    }
}

#[test]
fn capitals_make_another_path_unless_a_backend_ignores_them() {
    for pattern in [
        r#"{"exact":"/Admin"}"#,
        r#"{"prefix":"/Admin"}"#,
        r#"{"template":"/Admin/{x}"}"#,
    ] {
        let path = if pattern.contains("template") {
            "/aDMIN/x"
        } else {
            "/aDMIN"
        };
        let exact = format!(r#"{{"paths":[{pattern}]}}"#);
        let ignoring = format!(r#"{{"paths":[{pattern}],"case":"ignore"}}"#);
        assert!(!matches(&exact, "GET", "h", path), "{pattern}");
        assert!(matches(&ignoring, "GET", "h", path), "{pattern}");
    }
}

#[test]
fn what_looks_like_a_pattern_is_refused_with_what_was_meant() {
    for (wrong, meant) in [
        (r#"{"prefix":"/admin/*"}"#, "`prefix: /admin`"),
        (r#"{"prefix":"/admin*"}"#, "`prefix: /admin`"),
        (r#"{"exact":"/admin/**"}"#, "`prefix: /admin`"),
        (r#"{"exact":"/*"}"#, "`prefix: /`"),
        (
            r#"{"exact":"/users/{id}/secret"}"#,
            "`template: /users/{id}/secret`",
        ),
        (r#"{"prefix":"/users/{id}"}"#, "`template: /users/{id}`"),
        (
            r#"{"exact":"/users/:id/secret"}"#,
            "`template: /users/{id}/secret`",
        ),
        (
            r#"{"exact":"/users/<int:id>"}"#,
            "`template: /users/{int_id}`",
        ),
        (
            r#"{"exact":"/users/*/secret"}"#,
            "`template: /users/{name}/secret`",
        ),
        (r#"{"template":"/users/:id"}"#, "`template: /users/{id}`"),
    ] {
        let rule = format!(r#"{{"paths":[{wrong}]}}"#);
        let error = serde_json::from_str::<Match>(&rule)
            .unwrap_err()
            .to_string();
        assert!(error.contains(meant), "{wrong}: {error}");
    }
}

#[test]
fn what_is_no_host_is_one_for_limits_and_none_for_credentials() {
    let rule: Match = serde_json::from_str(r#"{"hosts":["admin.test"]}"#).unwrap();
    for host in [Some("x@admin.test"), Some("admin%2etest"), None] {
        let headers = Headers::from_pairs(host.map(|host| (":authority", host)));
        let matches = |ambiguous| rule.matches(&Request::new(&headers, &Nobody), ambiguous);
        assert!(matches(IfAmbiguous::Matches), "{host:?}");
        assert!(!matches(IfAmbiguous::Misses), "{host:?}");
    }
}

#[test]
fn an_address_is_the_same_host_however_it_is_written() {
    let rule = r#"{"hosts":["[2001:db8::1]"]}"#;
    assert!(matches(rule, "GET", "[2001:DB8:0:0::1]:80", "/"));
    assert!(!matches(rule, "GET", "[2001:db8::2]", "/"));
}

#[test]
fn hosts_match_without_case_and_a_suffix_matches_names_below_it_only() {
    let rule = r#"{"hosts":["Api.example.com","*.rag.local"]}"#;
    for (host, expected) in [
        ("api.EXAMPLE.com:8000", true),
        ("a.rag.local", true),
        ("rag.local", false),
        ("evilrag.local", false),
        ("x.y.rag.local", true),
    ] {
        assert_eq!(matches(rule, "GET", host, "/"), expected, "{host}");
    }
}

#[test]
fn all_given_parts_must_hold_and_an_empty_part_is_a_mistake() {
    let rule = r#"{"paths":[{"exact":"/a"}],"methods":["GET"]}"#;
    assert!(matches(rule, "GET", "h", "/a"));
    assert!(!matches(rule, "POST", "h", "/a") && !matches(rule, "get", "h", "/a"));
    assert!(matches("{}", "POST", "h", "//"));
    for wrong in [
        r#"{"paths":[]}"#,
        r#"{"paths":[{"prefix":"/a/"}]}"#,
        r#"{"paths":[{"template":"/a/{}"}]}"#,
        r#"{"paths":[{"template":"/a*"}]}"#,
        r#"{"paths":[{"regex":"/a"}]}"#,
        r#"{"paths":[{"exact":"/a","prefix":"/b"}]}"#,
        r#"{"hosts":["a:80"]}"#,
        r#"{"methods":["get"]}"#,
        r#"{"methods":["ANY"]}"#,
        r#"{"methods":["ALL"]}"#,
        r#"{"path":["/a"]}"#,
    ] {
        assert!(serde_json::from_str::<Match>(wrong).is_err(), "{wrong}");
    }
}
