//! What a good token of a provider says, by the provider's configuration.

use portcullis_policy::config::{SecretConfig, SecretUse};
use portcullis_policy::{Environment, Timestamp};
use serde_json::{Map, Value};

use super::key::SigningKey;
use super::mint;
use crate::gateway::Configured;
use crate::requests::Asked;

/// A token of a provider's that is to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The provider, by its name; the only one where it is not named.
    pub provider: Option<String>,
    /// What it says beside what all of the provider's say, by claims' paths; `null` takes a claim away.
    pub claims: Vec<(Vec<String>, Value)>,
    /// How many seconds it lives.
    pub ttl: Option<u64>,
    /// Which key signs it: `kid`. That of the provider's secret where it is not said.
    pub kid: Option<String>,
}

/// How many seconds a token lives, where it is not said.
pub const TTL: u64 = 3_600;

/// The `jwt_auth` of a filter's configuration, if it has one. It is one that the filter takes.
#[must_use]
pub fn jwt_auth(configured: &Configured) -> Option<Value> {
    let mut value = configured.value();
    match configured.filter.name {
        "jwt_auth" => Some(value),
        _ => Some(value.get_mut("jwt_auth")?.take()),
    }
}

/// Writes a token that is good by `jwt_auth`, but for the claims that say something else. `key`: who signs it in place of the
/// provider's secret.
///
/// # Errors
/// There is no such provider, or nothing that signs.
pub fn token(
    jwt_auth: &Value,
    wanted: &Wanted,
    key: Option<&SigningKey>,
    environment: &dyn Environment,
    now: Timestamp,
) -> Result<Token, String> {
    let (name, provider) = find(jwt_auth, wanted.provider.as_deref())?;
    let secret;
    let (key, kid) = match key {
        Some(key) => (key, None),
        None => {
            let found = secret_of(provider, environment);
            let (found, kid) = found.map_err(|error| format!("the provider {name}: {error}"))?;
            secret = found;
            (&secret, kid)
        }
    };
    let mut algorithms = texts(provider.get("algorithms"));
    let algorithm = algorithms
        .find(|algorithm| key.algorithms().contains(algorithm))
        .ok_or_else(|| format!("the provider {name} takes no algorithm that this key signs by"))?;
    let typ = texts(provider.get("types")).next().unwrap_or("JWT");
    let mut header = Map::new();
    header.insert("alg".to_owned(), algorithm.into());
    header.insert("typ".to_owned(), typ.into());
    if let Some(kid) = wanted.kid.clone().or(kid) {
        header.insert("kid".to_owned(), kid.into());
    }
    let mut claims = claims(provider, now, wanted.ttl.unwrap_or(TTL));
    for (path, value) in &wanted.claims {
        mint::set(&mut claims, path, value);
    }
    if let Some(template) = provider.pointer("/issuer/template").and_then(Value::as_str) {
        let issuer = filled(template, &claims);
        claims.entry("iss").or_insert_with(|| issuer.into());
    }
    Ok(Token {
        text: mint::mint(&header, &claims, key)?,
        source: provider.pointer("/token_from/0").cloned(),
    })
}

/// A token, and where requests carry it.
#[derive(Clone)]
pub struct Token {
    /// The token.
    pub text: String,
    /// The first place in which its provider looks for it; `None`: after `Bearer` in `authorization`.
    source: Option<Value>,
}

impl Token {
    /// A token, and where its provider looks for it: an entry of `token_from`.
    #[must_use]
    pub const fn at(text: String, source: Option<Value>) -> Self {
        Self { text, source }
    }

    /// Puts it into a request.
    pub fn carry(&self, asked: &mut Asked) {
        let token = &self.text;
        let named = |name: &str| self.source.as_ref()?.get(name)?.as_str();
        if let Some(cookie) = named("cookie") {
            asked.add("cookie", &format!("{cookie}={token}"));
        } else if let Some(parameter) = named("query") {
            let joint = if asked.target.contains('?') { '&' } else { '?' };
            asked.target = format!("{}{joint}{parameter}={token}", asked.target);
        } else if let Some(header) = named("header") {
            let scheme = named("scheme").map(|scheme| format!("{scheme} "));
            asked.add(header, &format!("{}{token}", scheme.unwrap_or_default()));
        } else {
            asked.add("authorization", &format!("Bearer {token}"));
        }
    }
}

/// A provider by its name, or the only one.
///
/// # Errors
/// There is none of that name, or there are several.
pub fn find<'c>(jwt_auth: &'c Value, wanted: Option<&str>) -> Result<(&'c str, &'c Value), String> {
    let providers = jwt_auth.get("providers").and_then(Value::as_object);
    let names = || {
        let names = providers.into_iter().flat_map(Map::keys);
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut all = providers.into_iter().flatten();
    let found = match wanted {
        Some(wanted) => all.find(|(name, _)| *name == wanted).ok_or_else(|| {
            let names = names();
            format!("{wanted:?} is no provider; expected one of {names}")
        }),
        None => match (all.next(), all.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(format!(
                "there are several providers; name one of {}",
                names()
            )),
        },
    };
    found.map(|(name, provider)| (name.as_str(), provider))
}

/// The first secret of a provider's, and its name.
fn secret_of(
    provider: &Value,
    environment: &dyn Environment,
) -> Result<(SigningKey, Option<String>), String> {
    let keys = provider.get("keys").and_then(Value::as_array);
    let mut keys = keys.into_iter().flatten();
    let found = keys.find_map(|key| Some((key, key.get("secret")?)));
    let (key, secret) = found.ok_or("its keys are public ones; name the private key that signs")?;
    let secret: SecretConfig =
        serde_json::from_value(secret.clone()).map_err(|error| error.to_string())?;
    let secret = secret.resolve(SecretUse::Key, environment)?;
    let kid = key.get("kid").and_then(Value::as_str).map(str::to_owned);
    Ok((SigningKey::secret(secret.as_bytes().to_vec()), kid))
}

/// What all of a provider's tokens say.
fn claims(provider: &Value, now: Timestamp, ttl: u64) -> Map<String, Value> {
    let mut claims = Map::new();
    let issued = now.unix_secs();
    let named = [
        (
            "iss",
            provider
                .get("issuer")
                .filter(|issuer| issuer.is_string())
                .cloned(),
        ),
        (
            "aud",
            texts(provider.get("audiences")).next().map(Value::from),
        ),
        ("iat", Some(issued.into())),
        ("exp", Some(issued.saturating_add(ttl).into())),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    }
    let asked = provider.get("claims").and_then(Value::as_object);
    for (name, values) in asked.into_iter().flatten() {
        let first = values.get(0).unwrap_or(values);
        mint::set(&mut claims, &mint::path(name), first);
    }
    claims
}

/// A template with the claims that it names.
fn filled(template: &str, claims: &Map<String, Value>) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (claim, after) = behind.split_once('}').unwrap_or((behind, ""));
        filled.push_str(before);
        filled.push_str(claims.get(claim).and_then(Value::as_str).unwrap_or(claim));
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn texts(list: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = list.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::filter::Variables;

    fn payload(token: &str) -> Value {
        let part = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_what_its_provider_asks_for_and_what_is_wanted() {
        let config = json!({ "providers": { "a": {
            "issuer": { "template": "https://i/{tid}/v2" }, "audiences": ["x", "y"], "algorithms": ["RS256", "HS256"],
            "keys": [{ "secret": { "value": "0123456789abcdef0123456789abcdef" }, "kid": "k" }], "claims": { "tenant.tier": ["gold"] }
        } } });
        let wanted = Wanted {
            claims: [("tid=t1"), "sub=alice", "level=2"]
                .map(|text| mint::claim(text).unwrap())
                .to_vec(),
            ttl: Some(60),
            ..Wanted::default()
        };
        let now = Timestamp::from_unix_secs(1_000);
        let token = token(&config, &wanted, None, &Variables::real(), now).unwrap();
        assert_eq!(
            payload(&token.text),
            json!({ "iss": "https://i/t1/v2", "aud": "x", "iat": 1000, "exp": 1060, "tenant": { "tier": "gold" },
                "tid": "t1", "sub": "alice", "level": 2 })
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let of = |providers: Value, provider: Option<&str>| {
            let wanted = Wanted {
                provider: provider.map(str::to_owned),
                ..Wanted::default()
            };
            let config = json!({ "providers": providers });
            let now = Timestamp::default();
            token(&config, &wanted, None, &Variables::real(), now)
                .err()
                .unwrap()
        };
        let public = json!({ "keys": [{ "public_key": { "env": "A" } }] });
        assert!(of(json!({ "a": public }), None).contains("the private key"));
        assert!(of(json!({ "a": {}, "b": {} }), None).contains("one of a, b"));
        assert!(of(json!({ "a": {} }), Some("c")).contains("\"c\" is no provider"));
    }
}
