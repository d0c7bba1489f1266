//! The configuration of `edge` while it is being put together.

use crate::import::value::{get, set};
use serde_json::{Map, Value, json};

/// What of it is known so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Of `jwt_auth`.
    pub providers: Map<String, Value>,
    /// Of `jwt_auth`, in their order.
    pub rules: Vec<Value>,
    /// Of `jwt_auth`: `realm`, `cors_preflight`.
    pub jwt: Map<String, Value>,
    /// Of `rate_limit`.
    pub limits: Vec<Value>,
    /// Of `rate_limit`: `headers`, `on_error`.
    pub limiting: Map<String, Value>,
    /// Of `rate_limit`: limits that are asked before the token is looked at.
    pub before_auth: Vec<String>,
    /// Of `circuit_breaker`.
    pub breakers: Vec<Value>,
    /// Of `service_token`.
    pub credential: Option<Value>,
    /// Where the credential goes: every request, where it is `None`.
    pub inject: Option<Value>,
    /// Fields of the source's document that the result stands for, as JSON pointers.
    pub replaced: Vec<String>,
}

impl Draft {
    /// A name of `a-z`, `0-9` and `_` that is not among those of `used`.
    #[must_use]
    pub(super) fn name(text: &str, is_used: impl Fn(&str) -> bool) -> String {
        let letter = |c: char| match c.is_ascii_alphanumeric() {
            true => c.to_ascii_lowercase(),
            false => '_',
        };
        let name: String = text.chars().map(letter).take(56).collect();
        let name = if name.is_empty() {
            "unnamed".to_owned()
        } else {
            name
        };
        let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        names.find(|name| !is_used(name)).unwrap_or(name)
    }

    /// Adds a limit, under a name that no other has.
    pub(super) fn limit(&mut self, name: &str, mut limit: Value) -> String {
        let name = Self::name(name, |name| {
            self.limits.iter().any(|limit| get(limit, "name") == name)
        });
        set(&mut limit, "name", json!(name));
        self.limits.push(limit);
        name
    }

    /// The configuration; `None` where nothing was taken over.
    #[must_use]
    pub(super) fn to_value(&self) -> Option<Value> {
        let mut edge = Map::new();
        let mut put = |name: &str, part: Value| drop(edge.insert(name.to_owned(), part));
        if !self.providers.is_empty() && !self.rules.is_empty() {
            let mut jwt = self.jwt.clone();
            let _none = jwt.insert("providers".into(), self.providers.clone().into());
            let _none = jwt.insert("rules".into(), self.rules.clone().into());
            put("jwt_auth", jwt.into());
        }
        if !self.limits.is_empty() {
            let mut limiting = self.limiting.clone();
            if !self.before_auth.is_empty() && !self.providers.is_empty() {
                let _none = limiting.insert("before_auth".into(), json!(self.before_auth));
            }
            let _none = limiting.insert("limits".into(), self.limits.clone().into());
            put("rate_limit", limiting.into());
        }
        if !self.breakers.is_empty() {
            put("circuit_breaker", json!({ "breakers": self.breakers }));
        }
        if let Some(credential) = &self.credential {
            let mut token = json!({ "credential": credential });
            if let Some(inject) = &self.inject {
                set(&mut token, "inject", inject.clone());
            }
            put("service_token", token);
        }
        (!edge.is_empty()).then(|| edge.into())
    }
}
