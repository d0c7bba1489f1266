use std::borrow::Cow;

use portcullis_policy::HeaderEdit;
use portcullis_policy::config::number_as_written;
use serde_json::json;

use super::*;

fn header(name: &str) -> WritableHeader {
    serde_json::from_value(json!(name)).unwrap()
}

fn value(claim: Value) -> Result<Option<String>, Fault> {
    header_value(&claim, Lists::Space).map(|value| value.map(String::from))
}

#[test]
fn a_claim_is_forwarded_by_its_kind() {
    for (claim, expected) in [
        (json!("alice"), Some("alice")),
        (json!("Zo\u{eb} M"), Some("Zo\u{eb} M")),
        (json!(7), Some("7")),
        (json!(true), Some("true")),
        (number_as_written("1e3"), Some("1e3")),
        (
            number_as_written("1234567890123456789012345"),
            Some("1234567890123456789012345"),
        ),
        (json!(["a", number_as_written("-0")]), Some("a -0")),
        (json!({"a": number_as_written("1e3")}), Some("eyJhIjoxZTN9")),
        (json!(["a", 1, false]), Some("a 1 false")),
        (json!(""), None),
        (json!([]), None),
        (json!(null), None),
        (json!({"a": 1}), Some("eyJhIjoxfQ")),
        (json!({}), Some("e30")),
        (json!(["a", ["b"]]), Some("WyJhIixbImIiXV0")),
        (json!(["a", null]), Some("WyJhIixudWxsXQ")),
        (json!(["a b", {}]), Some("WyJhIGIiLHt9XQ")),
    ] {
        assert_eq!(
            value(claim.clone()),
            Ok(expected.map(str::to_owned)),
            "{claim}"
        );
    }
}

#[test]
fn what_would_be_read_as_something_else_is_unsafe() {
    for claim in [
        json!("a\r\nx-admin: 1"),
        json!("a\u{0}b"),
        json!("a\tb"),
        json!("a\u{7f}"),
        json!("a\u{85}b"),
        json!(" admin"),
        json!("admin "),
        json!(" "),
        json!(["a", "b\n"]),
        json!(["a b", "b\n"]),
    ] {
        assert_eq!(value(claim.clone()), Err(Fault::Unsafe), "{claim}");
    }
}

#[test]
fn a_list_goes_on_as_it_was_asked_for_or_not_at_all() {
    let unfit = || Err(Fault::Unfit);
    let text = |text: &str| Ok(Some(text.to_owned()));
    for (claim, space, comma, json) in [
        (
            json!(["a", 1]),
            text("a 1"),
            text("a,1"),
            text(r#"["a",1]"#),
        ),
        (
            json!(["Domain Users", "x"]),
            unfit(),
            text("Domain Users,x"),
            text(r#"["Domain Users","x"]"#),
        ),
        (json!(["a,b"]), text("a,b"), unfit(), text(r#"["a,b"]"#)),
        (json!(["a", ""]), unfit(), unfit(), text(r#"["a",""]"#)),
        (json!([" a"]), unfit(), unfit(), text(r#"[" a"]"#)),
        (json!([]), Ok(None), Ok(None), Ok(None)),
        (
            json!(["a", ["b"]]),
            text("WyJhIixbImIiXV0"),
            text("WyJhIixbImIiXV0"),
            text(r#"["a",["b"]]"#),
        ),
        (
            json!(["a\nb"]),
            Err(Fault::Unsafe),
            Err(Fault::Unsafe),
            text(r#"["a\nb"]"#),
        ),
        (
            json!(["a\u{7f}"]),
            Err(Fault::Unsafe),
            Err(Fault::Unsafe),
            Err(Fault::Unsafe),
        ),
    ] {
        for (lists, expected) in [
            (Lists::Space, space),
            (Lists::Comma, comma),
            (Lists::Json, json),
        ] {
            let found = header_value(&claim, lists).map(|value| value.map(String::from));
            assert_eq!(found, expected, "{claim} {lists:?}");
        }
    }
}

#[test]
fn a_header_has_one_place_and_one_spelling() {
    let mut identities = Identities::default();
    assert_eq!(identities.index(header("x-user")), Ok(0));
    assert_eq!(identities.index(header("x-tenant")), Ok(1));
    assert_eq!(identities.index(header("X-User")), Ok(0));
    let error = identities.index(header("x_user")).unwrap_err().to_string();
    assert!(
        error.contains(r#""x_user" is written "x-user" elsewhere"#),
        "{error}"
    );
}

#[test]
fn without_a_caller_only_what_was_sent_is_emptied_in_every_spelling() {
    let mut identities = Identities::default();
    for name in ["x-user", "x-tenant", "x-tier"] {
        identities.index(header(name)).unwrap();
    }
    let sent = Headers::from_pairs([("X-User", "root"), ("x_tenant", "a"), ("x-users", "b")]);
    let mut edits = RequestEdits::none();
    identities.settle(&sent, &[], &mut edits);
    let clear = |name| HeaderEdit::Clear {
        name: Cow::Borrowed(name),
    };
    assert_eq!(edits.headers(), [clear("x-user"), clear("x_tenant")]);
}

#[test]
fn two_lines_of_one_header_are_seen_in_any_spelling() {
    let mut identities = Identities::default();
    identities.index(header("x-user")).unwrap();
    let twice =
        |pairs: &[(&str, &str)]| identities.came_twice(&Headers::from_pairs(pairs.iter().copied()));
    assert!(twice(&[("x-user", "a"), ("X-USER", "a")]));
    assert!(twice(&[("x-user", "a"), ("x_user", "a")]));
    assert!(!twice(&[("x-user", "a"), ("x-users", "a")]));
    // Who stands there is dropped by the next hop.
    assert!(twice(&[("connection", "close, X_User")]));
    assert!(!twice(&[("connection", "close,x-users")]));
}
