//! What a filter makes of a token: which check it fails, and what would be required.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policy::Timestamp;
use serde_json::{Map, Value, json};

use super::provider::{Token, find};
use super::{mint, required, stand_in};
use crate::filter::Filter;
use crate::gateway::Configured;
use crate::loaded::Loaded;
use crate::requests::{Asked, line};
use crate::trial::chain::Chain;
use crate::trial::record::Note;
use crate::trial::{CLIENT, Setting, Trial, Upstream};

/// What is known of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Its header, if it is one.
    pub header: Map<String, Value>,
    /// Its claims.
    pub claims: Map<String, Value>,
    /// The provider whose issuer it names.
    pub provider: Option<String>,
    /// The first check that it fails; `None` where it is good.
    pub fails: Option<Fails>,
    /// Why its signature was not looked at, where it was not.
    pub unsigned: Option<String>,
    /// What each rule says of it, in their order; none where it is not good.
    pub rules: Vec<Rule>,
}

/// A check that a token fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fails {
    /// A reason of docs/jwt_auth.md.
    pub reason: String,
    /// What is found in the token, and what would be required.
    pub says: String,
}

/// What a rule says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its index.
    pub index: usize,
    /// What it lacks; `None` where it is enough.
    pub fails: Option<Fails>,
    /// Whether the rule asks for no token.
    pub is_open: bool,
}

/// Reasons that are about keys: everything else was found to be right.
const OF_KEYS: [&str; 4] = ["signature", "unknown_kid", "keys_unavailable", "keys_stale"];

/// Explains a token. `answers`: what the URLs of key sets hold.
///
/// # Errors
/// The configuration has no `jwt_auth`, or can't be tried.
pub fn explain(
    token: &str,
    loaded: &Loaded,
    answers: &BTreeMap<String, Vec<u8>>,
    now: Timestamp,
) -> Result<Explained, String> {
    let (configured, jwt_auth) = loaded.jwt_auth()?;
    let (header, claims) = (part(token, 0), part(token, 1));
    let issuer = claims.as_ref().and_then(|claims| claims.get("iss"));
    let judge = Judge {
        loaded,
        configured,
        jwt_auth: &jwt_auth,
        answers,
        now,
    };
    let names = providers(&jwt_auth);
    let all = json!({ "require": { "any_of": names } });
    let named = names.iter().find(|name| {
        let provider = find(&jwt_auth, Some(name));
        let known = provider
            .ok()
            .and_then(|(_, provider)| provider.get("issuer"));
        known.is_some() && known == issuer
    });
    let mut denied = judge.ask(token, named.map(String::as_str), jwt_auth.clone(), &all)?;
    let of_detail = denied.as_ref().and_then(|denied| denied.detail("provider"));
    let provider = of_detail.or_else(|| named.cloned());
    let mut unsigned = None;
    if let Some(found) = &denied
        && OF_KEYS.contains(&found.reason.as_str())
        && let Some(name) = &provider
    {
        unsigned = judge.unknown_keys(name, &found.reason);
        if unsigned.is_some() {
            denied = None;
        }
    }
    let claims = claims.unwrap_or_default();
    let header = header.unwrap_or_default();
    let rules = match (&denied, &provider) {
        (None, Some(name)) => judge.rules(name, &header, &claims)?,
        _ => Vec::new(),
    };
    let fails = denied.map(|denied| {
        let found = provider
            .as_deref()
            .and_then(|name| find(&jwt_auth, Some(name)).ok());
        let provider = found.map_or(&Value::Null, |(_, provider)| provider);
        denied.explained(&required::Token {
            header: &header,
            claims: &claims,
            provider,
            rule: &Value::Null,
            now,
        })
    });
    Ok(Explained {
        header,
        claims,
        provider,
        fails,
        unsigned,
        rules,
    })
}

/// A part of a token, if it is a JSON object.
fn part(token: &str, index: usize) -> Option<Map<String, Value>> {
    let part = token.split('.').nth(index)?.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn providers(jwt_auth: &Value) -> Vec<String> {
    let providers = jwt_auth.get("providers").and_then(Value::as_object);
    let names = providers.into_iter().flat_map(Map::keys);
    names.cloned().collect()
}

struct Judge<'a> {
    loaded: &'a Loaded,
    configured: &'a Configured,
    jwt_auth: &'a Value,
    answers: &'a BTreeMap<String, Vec<u8>>,
    now: Timestamp,
}

/// A refusal.
struct Denied {
    reason: String,
    details: Vec<(String, String)>,
}

impl Denied {
    fn detail(&self, name: &str) -> Option<String> {
        let found = self.details.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    fn explained(self, token: &required::Token<'_>) -> Fails {
        Fails {
            says: required::says(&self.reason, &self.details, token),
            reason: self.reason,
        }
    }
}

impl Judge<'_> {
    /// Asks the filter about a token by one rule.
    fn ask(
        &self,
        token: &str,
        provider: Option<&str>,
        mut jwt_auth: Value,
        rule: &Value,
    ) -> Result<Option<Denied>, String> {
        let found = provider.and_then(|name| find(self.jwt_auth, Some(name)).ok());
        let source = found.and_then(|(_, provider)| provider.pointer("/token_from/0"));
        let token = Token::at(token.to_owned(), source.cloned());
        if let Some(fields) = jwt_auth.as_object_mut() {
            for other in ["ready", "control", "mode"] {
                fields.remove(other);
            }
            fields.insert("rules".to_owned(), json!([rule]));
        }
        let filter = Filter::named("jwt_auth").ok_or("no filter jwt_auth")?;
        let alone = Configured {
            filter,
            text: Some(jwt_auth.to_string()),
            ..self.configured.clone()
        };
        let chain = Chain {
            filters: vec![alone],
        };
        let setting = Setting {
            at: self.now,
            client: CLIENT,
            answers: self.answers.clone(),
        };
        let mut trial = Trial::start(&chain, setting, |configured| {
            self.loaded.variables(configured)
        })?;
        let mut asked: Asked = line::of_url("/")?;
        token.carry(&mut asked);
        trial.send(&asked, &Upstream::default());
        let records = trial.finish();
        let steps = records.into_iter().flat_map(|record| record.steps);
        let mut notes = steps.flat_map(|step| step.notes);
        Ok(notes.find_map(|note| match note {
            Note::Denied {
                reason, details, ..
            } => Some(Denied { reason, details }),
            _ => None,
        }))
    }

    /// Why it is not known by which key a provider's tokens are signed, if it is not.
    fn unknown_keys(&self, provider: &str, reason: &str) -> Option<String> {
        let (_, provider) = find(self.jwt_auth, Some(provider)).ok()?;
        if reason.starts_with("keys_") {
            let rule = "the key set is not fetched; --keys URL=FILE says what is there";
            return Some(rule.to_owned());
        }
        let keys = provider.get("keys").and_then(Value::as_array);
        let variables = keys.into_iter().flatten().filter_map(|key| {
            let of = |kind: &str| key.get(kind)?.get("env")?.as_str();
            of("secret").or_else(|| of("public_key"))
        });
        let assumed: Vec<&str> = match self.loaded.given.are_real || reason != "signature" {
            true => Vec::new(),
            false => variables.collect(),
        };
        (!assumed.is_empty()).then(|| {
            let names = assumed.join(", ");
            format!("{names} is assumed; --env takes it from this process's variables")
        })
    }

    /// What each rule says of the token of a provider.
    fn rules(
        &self,
        name: &str,
        header: &Map<String, Value>,
        claims: &Map<String, Value>,
    ) -> Result<Vec<Rule>, String> {
        let mut jwt_auth = self.jwt_auth.clone();
        stand_in::put(&mut jwt_auth, name);
        let mut header = header.clone();
        header.insert("alg".to_owned(), stand_in::ALGORITHM.into());
        header.remove("kid");
        let token = mint::mint(&header, claims, &stand_in::key())?;
        let rules = self.jwt_auth.get("rules").and_then(Value::as_array);
        let rules = rules.into_iter().flatten().enumerate();
        let said = rules.map(|(index, rule)| {
            let is_open = rule.get("require").is_none();
            let mut alone = rule.clone();
            if let Some(fields) = alone.as_object_mut() {
                fields.remove("match");
            }
            let denied = match is_open {
                true => None,
                false => self.ask(&token, Some(name), jwt_auth.clone(), &alone)?,
            };
            let (_, provider) = find(self.jwt_auth, Some(name))?;
            Ok(Rule {
                index,
                is_open,
                fails: denied.map(|denied| {
                    denied.explained(&required::Token {
                        header: &header,
                        claims,
                        provider,
                        rule,
                        now: self.now,
                    })
                }),
            })
        });
        said.collect()
    }
}
