//! What a filter itself says of its configuration.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::config::{ConfigError, parse_text, parse_value};
use portcullis_policy::{Abilities, Environment, MetricRegistry, Policy, Setup};
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;
use serde_json::{Value, json};

use crate::assumed;
use crate::path::{Step, next_step};

/// A filter.
#[derive(Clone, Copy)]
pub struct Filter {
    /// What it is called.
    pub name: &'static str,
    /// Whether a value has its shape.
    reads: fn(Value) -> Result<(), ConfigError>,
    /// Whether it is one that can be put in force.
    takes: fn(Value, Host, &dyn Environment) -> Result<Taken, ConfigError>,
    /// Whether a text is JSON of its shape.
    reads_text: fn(&[u8]) -> Result<(), ConfigError>,
}

/// What is known of a configuration that can be put in force.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Whether it goes by requests' bodies.
    pub reads_requests: bool,
}

/// All filters.
pub const FILTERS: [Filter; 5] = [
    filter::<JwtAuth>(),
    filter::<RateLimit>(),
    filter::<CircuitBreaker>(),
    filter::<ServiceToken>(),
    filter::<Edge>(),
];

/// What loads a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Host {
    /// Envoy, with target/filters/<filter>.wasm.
    #[default]
    Envoy,
    /// Envoy, with target/filters/envoy/<filter>.wasm.
    EnvoyAlone,
    /// Envoy, with libportcullis.so.
    Native,
    /// Kong.
    Kong,
}

impl Host {
    const fn abilities(self) -> Abilities {
        match self {
            Self::Envoy => Abilities::ENVOY,
            Self::EnvoyAlone => Abilities::ENVOY_ALONE,
            Self::Native => Abilities::NATIVE,
            Self::Kong => Abilities::KONG,
        }
    }
}

/// The variables of the gateway.
#[derive(Debug)]
pub struct Variables {
    known: BTreeMap<String, String>,
    /// Those of which it is made up what they hold.
    assumed: BTreeSet<String>,
    /// Whether the others are those of this process.
    are_real: bool,
    asked: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub const fn real() -> Self {
        Self {
            known: BTreeMap::new(),
            assumed: BTreeSet::new(),
            are_real: true,
            asked: RefCell::new(BTreeSet::new()),
        }
    }

    /// Each that the configuration names is set, to something that will do.
    #[must_use]
    pub fn assumed(config: &Value) -> Self {
        let known = assumed::variables(config);
        Self {
            assumed: known.keys().cloned().collect(),
            known,
            are_real: false,
            ..Self::real()
        }
    }

    /// Says what one of them holds.
    pub fn set(&mut self, name: &str, value: &str) {
        let _former = self.known.insert(name.to_owned(), value.to_owned());
        let _was_assumed = self.assumed.remove(name);
    }

    /// What is known of those that were asked for.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        let asked = self.asked();
        asked.iter().filter_map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Option<String> {
        let real = || self.are_real.then(|| env::var(name).ok()).flatten();
        self.known.get(name).cloned().or_else(real)
    }

    /// Whether nothing is known of one but that it is there.
    #[must_use]
    pub fn is_assumed(&self, name: &str) -> bool {
        self.assumed.contains(name)
    }

    /// Those that were asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.find(name)
    }
}

impl Filter {
    /// The filter of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FILTERS.into_iter().find(|filter| filter.name == name)
    }

    /// Whether a text is JSON of its shape.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read_text(&self, text: &str) -> Result<(), ConfigError> {
        (self.reads_text)(text.as_bytes())
    }

    /// What a filter makes of a configuration there.
    ///
    /// # Errors
    /// What it says of it: the first thing that is wrong.
    pub fn take(
        &self,
        config: Value,
        host: Host,
        variables: &Variables,
    ) -> Result<Taken, ConfigError> {
        (self.takes)(config, host, variables)
    }

    /// All that is wrong with a configuration, as far as one thing can be told without the other being put right.
    #[must_use]
    pub fn errors(&self, config: &Value, host: Host, variables: &Variables) -> Vec<ConfigError> {
        let mut errors = self.shape_errors(config);
        if errors.is_empty() {
            errors = self.rule_errors(config, host, variables);
        }
        errors
    }

    /// Which rules it breaks: of `edge`, one for each of its parts, of any other filter the first.
    fn rule_errors(&self, config: &Value, host: Host, variables: &Variables) -> Vec<ConfigError> {
        let mut config = config.clone();
        let mut errors: Vec<ConfigError> = Vec::new();
        while let Err(error) = self.take(config.clone(), host, variables) {
            let part = error.path().split(['.', '[']).next().unwrap_or_default();
            let is_new = errors.iter().all(|told| !leads_through(told.path(), part));
            let (true, Some(fields)) = (is_new, config.as_object_mut()) else {
                break;
            };
            let is_part = fields.remove(part).is_some() && self.name == Edge::NAME;
            if part == JwtAuth::NAME {
                // The other parts go by its being there.
                fields.insert(part.to_owned(), some_jwt_auth());
            }
            errors.push(ConfigError::at(error.path(), error.rule()));
            if !is_part {
                break;
            }
        }
        errors
    }

    /// What is of another shape than it has to be. What is wrong is taken away, or something right put into its place, and
    /// the rest read again.
    fn shape_errors(&self, config: &Value) -> Vec<ConfigError> {
        /// More than anybody puts right at once.
        const MOST: usize = 100;
        let mut config = config.clone();
        let mut errors: Vec<ConfigError> = Vec::new();
        while let Err(error) = (self.reads)(config.clone()) {
            // What is missing where something was taken away is no fault of the configuration's.
            let is_new = errors
                .iter()
                .all(|told| !leads_through(told.path(), error.path()));
            if !is_new || errors.len() >= MOST {
                break;
            }
            let repaired = repairs(&config, &error).into_iter().find(|repaired| {
                let left = (self.reads)(repaired.clone()).err();
                left.is_none_or(|left| !is_same_place(&left, &error))
            });
            errors.push(error);
            match repaired {
                Some(repaired) => config = repaired,
                None => break,
            }
        }
        errors
    }
}

const fn filter<P: Policy>() -> Filter {
    Filter {
        name: P::NAME,
        reads: |config| parse_value::<P::Config>(config).map(drop),
        reads_text: |text| parse_text::<P::Config>(text).map(drop),
        takes: |config, host, environment| {
            let mut setup = Setup {
                environment,
                metrics: &mut MetricRegistry::default(),
                abilities: host.abilities(),
            };
            let policy = P::from_config(parse_value(config)?, &mut setup)?;
            Ok(Taken {
                reads_requests: policy.reads_requests(),
            })
        },
    }
}

/// A `jwt_auth` that is right.
fn some_jwt_auth() -> Value {
    json!({
        "providers": { "some": {
            "issuer": "https://some.example",
            "audiences": ["some"],
            "algorithms": ["HS256"],
            "keys": [{ "secret": { "value": "0123456789abcdef0123456789abcdef" } }]
        } },
        "rules": [{ "require": { "any_of": ["some"] } }]
    })
}

/// Whether one of two paths leads through the other.
fn leads_through(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

fn is_same_place(a: &ConfigError, b: &ConfigError) -> bool {
    leads_through(a.path(), b.path())
}

/// The configuration without the wrong value, or with others in its place. Items stay where they are: paths go by their number.
fn repairs(config: &Value, error: &ConfigError) -> Vec<Value> {
    let Some(pointer) = pointer(config, error.path()) else {
        return Vec::new();
    };
    let mut repairs = Vec::new();
    let with = |pointer: &str, other: Value| {
        let mut changed = config.clone();
        *changed.pointer_mut(pointer)? = other;
        Some(changed)
    };
    if let Some((parent, last)) = pointer.rsplit_once('/') {
        let mut without = config.clone();
        let fields = without.pointer_mut(parent).and_then(Value::as_object_mut);
        if fields.is_some_and(|fields| fields.remove(&unescaped(last)).is_some()) {
            repairs.push(without);
        }
    }
    // What the message itself offers, and what values are made of.
    let rule = error.rule();
    let quoted = rule.split('`').skip(1).step_by(2);
    let expected = rule.split("expected ").nth(1).unwrap_or_default();
    let listed = expected.split([',', ' ']).filter(|word| !word.is_empty());
    let words = ["1s", "1m", "a", "/", "x-a", "https://a.example/"].into_iter();
    let words = quoted.chain(listed).chain(words).map(Value::from);
    for other in [Value::from(1), Value::from(true)].into_iter().chain(words) {
        repairs.extend(with(&pointer, other));
    }
    // The item that it stands in, as one of those beside it.
    let mut inner = pointer.as_str();
    while let Some((parent, last)) = inner.rsplit_once('/') {
        if let Some(Value::Array(items)) = config.pointer(parent) {
            let beside = items.iter().enumerate();
            let beside = beside.filter(|(index, _)| index.to_string() != last);
            repairs.extend(beside.filter_map(|(_, other)| with(inner, other.clone())));
        }
        inner = parent;
    }
    repairs
}

fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// The JSON pointer of a path; `None` where it leads nowhere.
fn pointer(config: &Value, path: &str) -> Option<String> {
    let mut pointer = String::new();
    let (mut value, mut rest) = (config, path);
    while !rest.is_empty() {
        let fields = value.as_object().into_iter().flatten();
        let (step, behind) = next_step(rest, fields.map(|(name, _)| name.as_str()))?;
        let token = match step {
            Step::Item(index) => index.to_string(),
            Step::Field(name) => name.replace('~', "~0").replace('/', "~1"),
        };
        pointer = format!("{pointer}/{token}");
        value = config.pointer(&pointer)?;
        rest = behind;
    }
    Some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(filter: &str, config: Value) -> Vec<String> {
        let filter = Filter::named(filter).unwrap();
        let variables = Variables::assumed(&config);
        let errors = filter.errors(&config, Host::Envoy, &variables);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let limit = |name: &str, quota: Value, window: &str| json!({ "name": name, "key": ["client_address"], "quota": quota, "window": window });
        let told = errors(
            "rate_limit",
            json!({
                "limits": [limit("a", json!(0), "5"), limit("b", json!(1), "1m"), limit("c-d", json!(1), "1m"),
                    json!({ "name": "e", "key": ["addres", "pth"], "quota": 1, "windw": "1m" })],
                "headers": "all",
                "haeders": "both",
                "mode": 7
            }),
        );
        let at: Vec<_> = told
            .iter()
            .map(|line| line.split(": ").next().unwrap())
            .collect();
        for path in [
            "limits[0].quota",
            "limits[0].window",
            "limits[2].name",
            "limits[3].key[0]",
            "limits[3].key[1]",
            "limits[3].windw",
            "headers",
            "haeders",
            "mode",
        ] {
            assert!(at.contains(&path), "{path}: {told:#?}");
        }
        assert_eq!(at.len(), 9, "{told:#?}");
    }

    #[test]
    fn the_parts_of_edge_are_told_apart() {
        let told = errors(
            "edge",
            json!({
                "jwt_auth": provider("HS256", &json!({ "secret": { "value": "short" } })),
                "rate_limit": {
                    "limits": [{ "name": "a", "key": ["claim:sub"], "quota": 1, "window": "1ms" }]
                },
                "service_token": { "credential": { "kind": "static", "header": "x-a", "secrets": [{ "id": "a", "value": "short" }] } },
            }),
        );
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(told[0].starts_with("jwt_auth.providers.a.keys[0].secret"));
        assert!(
            told.iter()
                .any(|line| line.starts_with("rate_limit.limits[0].window: "))
        );
        assert!(
            told.iter()
                .any(|line| line.starts_with("service_token.credential.secrets[0]"))
        );
    }

    #[test]
    fn what_a_repair_brings_about_is_not_told() {
        // Without jwt_auth the limit would lack who tells the claim.
        let told = errors(
            "edge",
            json!({
                "jwt_auth": provider("HS256", &json!({ "secret": { "value": "short" } })),
                "rate_limit": { "limits": [{ "name": "a", "key": ["claim:sub"], "quota": 1, "window": "1m" }] },
            }),
        );
        assert_eq!(told.len(), 1, "{told:#?}");
        // Without its name the limit lacks one.
        let limits = json!({ "limits": [{ "name": 5, "key": ["client_address"], "quota": 1, "window": "1m" }] });
        assert_eq!(errors("rate_limit", limits).len(), 1);
    }

    #[test]
    fn a_variable_that_is_assumed_is_a_secret_in_any_encoding() {
        for encoding in ["text", "hex", "base64", "base64url"] {
            let secret = json!({ "id": "a", "env": "A", "encoding": encoding });
            let credential = json!({ "kind": "static", "header": "x-a", "secrets": [secret] });
            let told = errors("service_token", json!({ "credential": credential }));
            assert!(told.is_empty(), "{told:?}");
            let key = json!({ "secret": { "env": "A", "encoding": encoding } });
            assert_eq!(errors("jwt_auth", provider("HS512", &key)), [""; 0]);
        }
        for algorithm in ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA"] {
            let key = json!({ "public_key": { "env": "A" } });
            assert_eq!(errors("jwt_auth", provider(algorithm, &key)), [""; 0]);
        }
    }

    fn provider(algorithm: &str, key: &Value) -> Value {
        json!({
            "providers": { "a": { "issuer": "https://a", "audiences": ["a"], "algorithms": [algorithm], "keys": [key] } },
            "rules": [{ "require": { "any_of": ["a"] } }]
        })
    }
}
