//! What a check of `jwt_auth` requires, and what a token has.

use portcullis_policy::config::Duration;
use portcullis_policy::{Span, Timestamp};
use serde_json::{Map, Value};

use crate::moment::{shown, shown_span};

/// A token, and what it is measured by.
pub(super) struct Token<'a> {
    pub(super) header: &'a Map<String, Value>,
    pub(super) claims: &'a Map<String, Value>,
    /// Null where its issuer is none that is known.
    pub(super) provider: &'a Value,
    /// Null where no rule is asked.
    pub(super) rule: &'a Value,
    pub(super) now: Timestamp,
}

/// The reason in words: what the token says, and what would be required. `details`: what the filter's line says beside it.
pub(super) fn says(reason: &str, details: &[(String, String)], token: &Token<'_>) -> String {
    let detail = |name: &str| {
        let found = details.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let provider = |key: &str| written(token.provider.get(key));
    match reason {
        "malformed" => {
            "it is not three parts of base64url, of which the first two are JSON objects".to_owned()
        }
        "too_large" => "it is longer than `max_token_bytes`".to_owned(),
        "critical_header" => "its header has `crit`: extensions that nobody here understands".to_owned(),
        "algorithm" => format!(
            "alg is {}; required: one of {} that a key of the provider serves",
            written(token.header.get("alg")),
            provider("algorithms")
        ),
        "token_type" => format!(
            "typ is {}; required: one of {}",
            written(token.header.get("typ")),
            provider("types")
        ),
        "bound_token" => "it has `cnf`, and is bound to a key of its holder's; required: a token without, or `bound_tokens: accept`".to_owned(),
        "unknown_issuer" => match token.claims.get("iss") {
            None => "iss is missing; required: the issuer of a provider".to_owned(),
            Some(issuer) => format!(
                "iss is {}; required: one of {}",
                written(Some(issuer)),
                detail("expected")
            ),
        },
        "unknown_kid" => format!(
            "no key of the provider is named {}",
            written(token.header.get("kid"))
        ),
        "signature" => "no key of the provider has signed it".to_owned(),
        "claim_missing" => format!("{} is missing{}", detail("claim"), why_needed(detail("claim"), token)),
        "claim_type" => format!(
            "{} is {}, which is of the wrong type",
            detail("claim"),
            written(token.claims.get(detail("claim")))
        ),
        "claim_unsafe" => format!(
            "{} can't be a header's value, and is to be one (`forward.claims`)",
            detail("claim")
        ),
        "expired" => format!(
            "exp is {}; required: later than {}",
            moment(token, "exp"),
            shown(token.now.before(leeway(token)))
        ),
        "not_yet_valid" => format!(
            "nbf is {}; required: not later than {}",
            moment(token, "nbf"),
            shown(token.now.after(leeway(token)))
        ),
        "issued_in_future" => format!(
            "iat is {}; required: not later than {}",
            moment(token, "iat"),
            shown(token.now.after(leeway(token)))
        ),
        "lifetime" => format!(
            "from iat to exp it is {}; required: `max_lifetime` {} at most",
            lifetime(token),
            provider("max_lifetime")
        ),
        "audience" => format!(
            "aud is {}; required: one of {}",
            written(token.claims.get("aud")),
            provider("audiences")
        ),
        "provider_claims" => {
            let values = token.provider.get("claims");
            let values = values.and_then(|claims| claims.get(detail("claim")));
            of_claim(detail("claim"), values, token)
        }
        "insufficient_scope" => {
            let found = token.claims.get("scope").or_else(|| token.claims.get("scp"));
            format!("scope is {}; required: {} in it", written(found), detail("scope"))
        }
        "claim_mismatch" => {
            let values = required_by(token.rule).get("claims");
            let values = values.and_then(|claims| claims.get(detail("claim")));
            of_claim(detail("claim"), values, token)
        }
        "no_token" => "it has to come with another token, of another provider".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What a rule requires, of a token that may be there, too.
fn required_by(rule: &Value) -> &Value {
    let require = rule.get("require").unwrap_or(&Value::Null);
    require.get("optional").unwrap_or(require)
}

fn of_claim(name: &str, values: Option<&Value>, token: &Token<'_>) -> String {
    let found =
        crate::token::mint::path(name)
            .iter()
            .try_fold(None, |held: Option<&Value>, part| {
                let found = match held {
                    None => token.claims.get(part),
                    Some(held) => held.get(part),
                };
                found.map(Some)
            });
    let found = written(found.flatten());
    format!("{name} is {found}; required: one of {}", written(values))
}

fn why_needed(claim: &str, token: &Token<'_>) -> &'static str {
    let has_lifetime = token.provider.get("max_lifetime").is_some();
    match claim {
        "iat" if has_lifetime => ", which `max_lifetime` is measured from",
        _ => "",
    }
}

fn leeway(token: &Token<'_>) -> Span {
    const USUAL: Span = Span::from_secs(30);
    let written = token.provider.get("leeway").and_then(Value::as_str);
    let leeway = written.and_then(|text| <Duration<0>>::from_text(text).ok());
    leeway.map_or(USUAL, |leeway| leeway.span())
}

/// A claim that is a point in time.
fn moment(token: &Token<'_>, name: &str) -> String {
    match token.claims.get(name).and_then(seconds) {
        Some(seconds) => shown(Timestamp::from_unix_secs(seconds)),
        None => written(token.claims.get(name)),
    }
}

/// As in RFC 7519 section 2: seconds, perhaps with a fraction.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    let text = value.as_number()?.to_string();
    text.split('.').next()?.parse().ok()
}

fn lifetime(token: &Token<'_>) -> String {
    let of = |name: &str| token.claims.get(name).and_then(seconds);
    match (of("iat"), of("exp")) {
        (Some(issued), Some(ends)) => shown_span(Span::from_secs(ends.saturating_sub(issued))),
        _ => "not known".to_owned(),
    }
}

/// A value as a person reads it.
pub(super) fn written(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "missing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| written(Some(item))).collect();
            items.join(", ")
        }
        Some(other) => other.to_string(),
    }
}
