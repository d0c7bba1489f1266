//! All that a filter says of its configuration, one thing after the other being put right.

use portcullis_policy::config::ConfigError;
use serde_json::Value;

use crate::broken::{MOST, rule_errors};
use crate::filter::{Filter, Host, Variables};
use crate::pointer::{leads_through, pointer, unescaped};

impl Filter {
    /// All that is wrong with a configuration, as far as one thing can be told without the other being put right.
    #[must_use]
    pub fn errors(&self, config: &Value, host: Host, variables: &Variables) -> Vec<ConfigError> {
        let mut errors = self.shape_errors(config);
        if errors.is_empty() {
            errors = rule_errors(self, config, host, variables);
        }
        errors
    }

    /// What is of another shape than it has to be. What is wrong is taken away, or something right put into its place, and
    /// the rest read again.
    fn shape_errors(&self, config: &Value) -> Vec<ConfigError> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

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
