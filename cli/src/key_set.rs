//! Which keys would be used, of a key set or of a configuration's providers.

use std::collections::BTreeMap;

use portcullis_jwt_auth::inspect::{InspectedKey, inspect, inspect_pem};
use portcullis_policy::Environment;
use portcullis_policy::config::{SecretConfig, SecretUse};
use serde_json::{Value, json};

use crate::filter::Variables;
use crate::loaded::Loaded;

/// Keys that stand together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Whose they are: a provider, or what a set is called.
    pub name: String,
    /// The algorithms that its tokens may have; `None` where any may.
    pub algorithms: Option<Vec<String>>,
    /// The keys.
    pub keys: Vec<Seen>,
}

/// A key, as it is seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Where it stands, as in `keys[0].jwks.keys[2]`.
    pub path: String,
    /// What it is called.
    pub kid: Option<String>,
    /// What it is, and which algorithms it would be used for; or why it is not used.
    pub usable: Result<String, String>,
}

impl Group {
    /// How many of its keys can be used.
    #[must_use]
    pub fn usable(&self) -> usize {
        let usable = self.keys.iter().filter(|key| key.usable.is_ok());
        usable.count()
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let keys = self.keys.iter().map(|key| {
            json!({
                "path": key.path, "kid": key.kid, "used_as": key.usable.as_ref().ok(), "not_used": key.usable.as_ref().err()
            })
        });
        json!({ "name": self.name, "algorithms": self.algorithms, "keys": keys.collect::<Vec<_>>() })
    }
}

/// The keys of a document: a JWK set, or a public key in PEM. `wanted`: the only algorithms that count, if there are any.
///
/// # Errors
/// It is neither.
pub fn of_document(name: &str, document: &[u8], wanted: &[String]) -> Result<Group, String> {
    let algorithms = (!wanted.is_empty()).then(|| wanted.to_vec());
    let text = String::from_utf8_lossy(document);
    let keys = match text.contains("-----BEGIN ") {
        true => vec![inspect_pem(&text)],
        false => inspect(document).map_err(|why| match is_discovery(document) {
            Some(uri) => format!("{name}: a discovery document; its key set is at {uri}"),
            None => format!("{name}: no key set: {why}"),
        })?,
    };
    Ok(Group {
        name: name.to_owned(),
        keys: seen("", keys, algorithms.as_deref()),
        algorithms,
    })
}

/// Where the key set is, if a document says that (OpenID Connect Discovery 1.0).
fn is_discovery(document: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(document).ok()?;
    document.get("jwks_uri")?.as_str().map(str::to_owned)
}

/// The keys of the providers of a configuration. `answers`: what the URLs of key sets hold.
///
/// # Errors
/// It has no `jwt_auth`.
pub fn of_configuration(
    loaded: &Loaded,
    answers: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<Group>, String> {
    let (configured, jwt_auth) = loaded.jwt_auth()?;
    let variables = loaded.variables(configured);
    let providers = jwt_auth.get("providers").and_then(Value::as_object);
    let groups = providers.into_iter().flatten().map(|(name, provider)| {
        let algorithms: Vec<String> = texts(provider.get("algorithms"));
        let entries = provider.get("keys").and_then(Value::as_array);
        let entries = entries.into_iter().flatten().enumerate();
        let keys = entries.flat_map(|(at, entry)| {
            let path = format!("keys[{at}]");
            of_entry(&path, entry, &algorithms, &variables, answers)
        });
        Group {
            name: format!("provider {name}"),
            keys: keys.collect(),
            algorithms: Some(algorithms),
        }
    });
    Ok(groups.collect())
}

fn of_entry(
    path: &str,
    entry: &Value,
    algorithms: &[String],
    variables: &Variables,
    answers: &BTreeMap<String, Vec<u8>>,
) -> Vec<Seen> {
    let kid = entry.get("kid").and_then(Value::as_str).map(str::to_owned);
    let one = |usable| {
        let path = path.to_owned();
        vec![Seen {
            path,
            kid: kid.clone(),
            usable,
        }]
    };
    if let Some(secret) = entry.get("secret") {
        return one(of_secret(secret, algorithms, variables));
    }
    if let Some(key) = entry.get("public_key") {
        let named = key.get("env").and_then(Value::as_str);
        let written = key.get("pem").and_then(Value::as_str).map(str::to_owned);
        let text = written
            .or_else(|| variables.var(named?))
            .unwrap_or_default();
        let key = InspectedKey {
            kid,
            ..inspect_pem(&text.replace("\\n", "\n"))
        };
        return seen(path, vec![key], Some(algorithms));
    }
    if let Some(set) = entry.get("jwks") {
        return of_set(
            &format!("{path}.jwks"),
            set.to_string().as_bytes(),
            algorithms,
        );
    }
    let remote = entry.get("remote_jwks").unwrap_or(&Value::Null);
    let said = |name: &str| remote.get(name).and_then(Value::as_str);
    let scheme = said("scheme").unwrap_or("https");
    let host = format!("{scheme}://{}", said("authority").unwrap_or_default());
    let Some(file) = said("path") else {
        let rule = "its path is found out from the issuer's discovery document";
        return one(Err(format!("{host}: not fetched; {rule}")));
    };
    let url = format!("{host}{file}");
    match answers.get(&url) {
        Some(document) => of_set(&format!("{path}.remote_jwks"), document, algorithms),
        None => one(Err(format!(
            "not fetched; `portcullis keys {url}` asks for it, --keys {url}=FILE says what is there"
        ))),
    }
}

fn of_set(path: &str, document: &[u8], algorithms: &[String]) -> Vec<Seen> {
    match inspect(document) {
        Ok(keys) => seen(path, keys, Some(algorithms)),
        Err(why) => vec![Seen {
            path: path.to_owned(),
            kid: None,
            usable: Err(format!("no key set: {why}")),
        }],
    }
}

fn of_secret(
    secret: &Value,
    algorithms: &[String],
    variables: &Variables,
) -> Result<String, String> {
    let config: SecretConfig =
        serde_json::from_value(secret.clone()).map_err(|error| error.to_string())?;
    let resolved = config.resolve(SecretUse::Key, variables)?;
    let named = secret.get("env").and_then(Value::as_str);
    let source = match named {
        Some(name) if variables.is_assumed(name) => format!("secret, {name}, which is assumed"),
        Some(name) => format!("secret, {name}, of {} bytes", resolved.as_bytes().len()),
        None => format!("secret of {} bytes", resolved.as_bytes().len()),
    };
    let fitting = algorithms.iter().filter(|name| name.starts_with("HS"));
    let fitting: Vec<&str> = fitting.map(String::as_str).collect();
    match fitting.is_empty() {
        true => Err(OF_NO_USE.to_owned()),
        false => Ok(format!("{source}: {}", fitting.join(", "))),
    }
}

const OF_NO_USE: &str = "it serves none of the algorithms";

/// Keys by the only algorithms that count.
fn seen(within: &str, keys: Vec<InspectedKey>, algorithms: Option<&[String]>) -> Vec<Seen> {
    let is_wanted = |name: &&str| {
        algorithms.is_none_or(|wanted| {
            // Two names of one.
            let newer = |wanted: &String| wanted == "Ed25519" && *name == "EdDSA";
            wanted.iter().any(|wanted| wanted == name || newer(wanted))
        })
    };
    let keys = keys.into_iter().map(|key| {
        let path = match (within, key.path.as_str()) {
            ("", path) | (path, "") => path.to_owned(),
            (within, path) => format!("{within}.{path}"),
        };
        let usable = key.usable.map_err(str::to_owned).and_then(|usable| {
            let serves: Vec<&str> = usable.algorithms.into_iter().filter(is_wanted).collect();
            match serves.is_empty() {
                true => Err(OF_NO_USE.to_owned()),
                false => Ok(format!("{}: {}", usable.kind, serves.join(", "))),
            }
        });
        Seen {
            path,
            kid: key.kid,
            usable,
        }
    });
    keys.collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
