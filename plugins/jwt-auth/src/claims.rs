//! What a token says, and whether it holds (RFC 7519 section 4.1).

use portcullis_policy::config::{ClaimPath, number_text};
use portcullis_policy::{Span, Timestamp};
use serde_json::Value;

use crate::config::ClaimValue;
use crate::refusal::{Reason, Refusal};

/// What the registered claims of a provider's tokens must be. `iss` chose the provider.
#[derive(Debug)]
pub(crate) struct RegisteredClaims {
    pub(crate) audience: Audience,
    pub(crate) leeway: Span,
    pub(crate) max_lifetime: Option<Span>,
}

/// Whom tokens are for.
#[derive(Debug)]
pub(crate) enum Audience {
    OneOf(Vec<String>),
    Unchecked,
}

impl RegisteredClaims {
    /// Checks a token's claims; tells from when on it counts for nothing.
    pub(crate) fn check(
        &self,
        claims: &Value,
        now: Timestamp,
    ) -> Result<Timestamp, Refusal<'static>> {
        let leeway = i128::from(self.leeway.as_nanos());
        let now = i128::from(now.unix_nanos());
        let latest = now.saturating_add(leeway);

        let exp = date(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        let end = exp.saturating_add(leeway);
        if now >= end {
            return Err(Reason::Expired.into());
        }
        if date(claims, "nbf")?.is_some_and(|nbf| nbf > latest) {
            return Err(Reason::NotYetValid.into());
        }
        let iat = date(claims, "iat")?;
        if iat.is_some_and(|iat| iat > latest) {
            return Err(Reason::IssuedInFuture.into());
        }
        if let Some(longest) = self.max_lifetime {
            let iat = iat.ok_or_else(|| missing("iat"))?;
            if exp.saturating_sub(iat) > i128::from(longest.as_nanos()) {
                return Err(Reason::Lifetime.into());
            }
        }
        match &self.audience {
            Audience::Unchecked => {}
            Audience::OneOf(ours) => check_audience(claims, ours)?,
        }
        Ok(Timestamp::from_unix_nanos(
            u64::try_from(end).unwrap_or(u64::MAX),
        ))
    }
}

fn check_audience(claims: &Value, ours: &[String]) -> Result<(), Refusal<'static>> {
    let is_ours = |audience: &str| ours.iter().any(|ours| ours == audience);
    let (for_us, found) = match claims.get("aud") {
        None => return Err(missing("aud")),
        Some(Value::String(audience)) => (is_ours(audience), audience.clone()),
        Some(Value::Array(audiences)) => {
            let texts = audiences.iter().map(Value::as_str);
            let texts: Option<Vec<&str>> = texts.collect();
            let texts = texts.ok_or_else(|| wrong_type("aud"))?;
            (texts.iter().any(|text| is_ours(text)), texts.join(" "))
        }
        Some(_) => return Err(wrong_type("aud")),
    };
    if for_us {
        return Ok(());
    }
    Err(Refusal::from(Reason::Audience)
        .with_detail("aud", &found)
        .with_detail("expected", &ours.join(" ")))
}

fn missing(claim: &str) -> Refusal<'static> {
    Refusal::from(Reason::ClaimMissing).with_detail("claim", claim)
}

fn wrong_type(claim: &str) -> Refusal<'static> {
    Refusal::from(Reason::ClaimType).with_detail("claim", claim)
}

/// The first claim that has none of its values. A claim that is a list has those that are in it.
pub(crate) fn first_mismatch<'c>(
    wanted: &'c [(ClaimPath, Vec<ClaimValue>)],
    claims: &Value,
) -> Option<&'c ClaimPath> {
    let fits = |(path, values): &&(ClaimPath, Vec<ClaimValue>)| {
        let any = |claim: &Value| values.iter().any(|value| value.is(claim));
        match path.find(claims) {
            Some(Value::Array(entries)) => entries.iter().any(any),
            Some(claim) => any(claim),
            None => false,
        }
    };
    let mut mismatches = wanted.iter().filter(|wanted| !fits(wanted));
    mismatches.next().map(|(path, _)| path)
}

/// A NumericDate in nanoseconds since the Unix epoch. Dates beyond what 128 bits hold are as good
/// as the end of time.
fn date(claims: &Value, name: &str) -> Result<Option<i128>, Refusal<'static>> {
    const NANOS_PER_SEC: i128 = 1_000_000_000;
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    if let Some(secs) = whole {
        return Ok(Some(secs.saturating_mul(NANOS_PER_SEC)));
    }
    let written = number_text(value).ok_or_else(|| wrong_type(name))?;
    let secs: f64 = written.parse().map_err(|_| wrong_type(name))?;
    // Casting saturates; a NaN, which JSON does not have, would be the epoch.
    Ok(Some((secs * 1e9) as i128))
}

/// Whether the token was given `scope`: in `scope`, or where there is none, in `scp`; each is one
/// text, separated by spaces (RFC 8693 section 4.2), or a list.
pub(crate) fn has_scope(claims: &Value, scope: &str) -> bool {
    let given = |name: &str| claims.get(name).filter(|given| !given.is_null());
    match given("scope").or_else(|| given("scp")) {
        Some(Value::String(text)) => text.split(' ').any(|given| given == scope),
        Some(Value::Array(scopes)) => scopes.iter().any(|given| given.as_str() == Some(scope)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
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
}
