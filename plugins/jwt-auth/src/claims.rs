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
mod tests;
