use serde_json::json;

use super::*;

const NOW: u64 = 1_800_000_000;

fn check(max_lifetime: Option<u64>, claims: &Value) -> Result<u64, Reason> {
    let registered = RegisteredClaims {
        audience: Audience::OneOf(vec!["rag-api".to_owned(), "rag".to_owned()]),
        leeway: Span::from_secs(30),
        max_lifetime: max_lifetime.map(Span::from_secs),
    };
    let checked = registered.check(claims, Timestamp::from_unix_secs(NOW));
    let checked = checked.map_err(|refusal| refusal.reason);
    checked.map(Timestamp::unix_nanos)
}

/// Claims that hold, with these in their stead.
fn with(changes: Value) -> Value {
    let mut claims = json!({"aud": "rag-api", "exp": NOW + 60});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn end(secs: u64) -> Result<u64, Reason> {
    Ok(Timestamp::from_unix_secs(secs).unix_nanos())
}

#[test]
fn a_token_lives_from_nbf_to_exp_and_the_leeway_around_them() {
    for (changes, expected) in [
        (json!({}), end(NOW + 90)),
        (json!({"exp": NOW - 29}), end(NOW + 1)),
        (json!({"exp": NOW - 30}), Err(Reason::Expired)),
        (json!({"exp": (NOW - 29) as f64}), end(NOW + 1)),
        (
            json!({"exp": NOW as f64 - 29.5}),
            Ok((NOW * 1000 + 500) * 1_000_000),
        ),
        (json!({"exp": 1.9e9}), end(1_900_000_030)),
        (json!({"nbf": NOW + 30}), end(NOW + 90)),
        (json!({"nbf": NOW + 31}), Err(Reason::NotYetValid)),
        (json!({"nbf": NOW as f64 + 30.5}), Err(Reason::NotYetValid)),
        (json!({"iat": NOW + 30}), end(NOW + 90)),
        (json!({"iat": NOW + 31}), Err(Reason::IssuedInFuture)),
    ] {
        assert_eq!(check(None, &with(changes.clone())), expected, "{changes}");
    }
}

#[test]
fn a_date_is_a_number_and_no_number_overflows() {
    for (value, as_exp, as_nbf, as_iat) in [
        (json!(0), Err(Reason::Expired), end(NOW + 90), end(NOW + 90)),
        (
            json!(-1),
            Err(Reason::Expired),
            end(NOW + 90),
            end(NOW + 90),
        ),
        (
            json!(i64::MIN),
            Err(Reason::Expired),
            end(NOW + 90),
            end(NOW + 90),
        ),
        (
            json!(-1e300),
            Err(Reason::Expired),
            end(NOW + 90),
            end(NOW + 90),
        ),
        (
            json!(-0.0),
            Err(Reason::Expired),
            end(NOW + 90),
            end(NOW + 90),
        ),
        (
            json!(i64::MAX),
            Ok(u64::MAX),
            Err(Reason::NotYetValid),
            Err(Reason::IssuedInFuture),
        ),
        (
            json!(u64::MAX),
            Ok(u64::MAX),
            Err(Reason::NotYetValid),
            Err(Reason::IssuedInFuture),
        ),
        (
            json!(1e300),
            Ok(u64::MAX),
            Err(Reason::NotYetValid),
            Err(Reason::IssuedInFuture),
        ),
        (
            json!(f64::MAX),
            Ok(u64::MAX),
            Err(Reason::NotYetValid),
            Err(Reason::IssuedInFuture),
        ),
    ] {
        assert_eq!(
            check(None, &with(json!({"exp": value}))),
            as_exp,
            "exp {value}"
        );
        assert_eq!(
            check(None, &with(json!({"nbf": value}))),
            as_nbf,
            "nbf {value}"
        );
        assert_eq!(
            check(None, &with(json!({"iat": value}))),
            as_iat,
            "iat {value}"
        );
    }
    for name in ["exp", "nbf", "iat"] {
        for wrong in [
            json!("1900000000"),
            json!(null),
            json!(true),
            json!([NOW]),
            json!({}),
        ] {
            let claims = with(json!({name: wrong}));
            assert_eq!(check(None, &claims), Err(Reason::ClaimType), "{claims}");
        }
    }
}

#[test]
fn exp_is_always_required() {
    let claims = json!({"aud": "rag-api"});
    assert_eq!(check(None, &claims), Err(Reason::ClaimMissing));
}

#[test]
fn a_longest_lifetime_is_counted_from_iat_which_then_is_required() {
    let lived = |iat: Value| check(Some(3600), &with(json!({"iat": iat})));
    assert_eq!(lived(json!(NOW + 60 - 3600)), end(NOW + 90));
    assert_eq!(lived(json!(NOW + 59 - 3600)), Err(Reason::Lifetime));
    assert_eq!(lived(json!(i64::MIN)), Err(Reason::Lifetime));
    assert_eq!(lived(json!(-1e300)), Err(Reason::Lifetime));
    assert_eq!(
        check(Some(3600), &with(json!({}))),
        Err(Reason::ClaimMissing)
    );
    let endless = with(json!({"exp": 1e300, "iat": -1e300}));
    assert_eq!(check(Some(3600), &endless), Err(Reason::Lifetime));
    assert_eq!(check(None, &with(json!({"iat": 0}))), end(NOW + 90));
}

#[test]
fn an_audience_is_a_text_or_a_list_with_one_of_ours() {
    for (aud, expected) in [
        (json!("rag"), end(NOW + 90)),
        (json!(["x", "rag-api"]), end(NOW + 90)),
        (json!("RAG"), Err(Reason::Audience)),
        (json!("rag-api "), Err(Reason::Audience)),
        (json!("x rag-api"), Err(Reason::Audience)),
        (json!([]), Err(Reason::Audience)),
        (json!(["x"]), Err(Reason::Audience)),
        (json!(["rag-api", 1]), Err(Reason::ClaimType)),
        (json!([["rag-api"]]), Err(Reason::ClaimType)),
        (json!({"rag-api": 1}), Err(Reason::ClaimType)),
        (json!(null), Err(Reason::ClaimType)),
    ] {
        assert_eq!(check(None, &with(json!({"aud": aud}))), expected, "{aud}");
    }
    let claims = json!({"exp": NOW + 60});
    assert_eq!(check(None, &claims), Err(Reason::ClaimMissing));
}

#[test]
fn scopes_are_whole_words_of_scope_or_else_of_scp() {
    for (claims, has) in [
        (json!({"scope": "rag:read"}), true),
        (json!({"scope": "a rag:read b"}), true),
        (json!({"scope": "rag:readwrite"}), false),
        (json!({"scope": "a\trag:read"}), false),
        (json!({"scope": ""}), false),
        (json!({"scp": ["a", "rag:read"]}), true),
        (json!({"scp": ["a rag:read"]}), false),
        (json!({"scp": "a rag:read"}), true),
        (json!({"scope": "a", "scp": ["rag:read"]}), false),
        (json!({"scope": ["a", "rag:read"]}), true),
        (json!({"scope": ["a rag:read"]}), false),
        (json!({"scope": [["rag:read"]]}), false),
        (json!({"scope": ["a"], "scp": "rag:read"}), false),
        (json!({"scope": null, "scp": "rag:read"}), true),
        (json!({"scope": {"rag:read": true}}), false),
        (json!({"scope": 1, "scp": ["rag:read"]}), false),
        (json!({}), false),
    ] {
        assert_eq!(has_scope(&claims, "rag:read"), has, "{claims}");
    }
}
