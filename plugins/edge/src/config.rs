//! What a user writes.

use portcullis_policy::config::ControlConfig;
use serde::Deserialize;

/// Configuration of `edge`: those of the four plugins. Any may be absent, but not all.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who calls.
    pub jwt_auth: Option<portcullis_jwt_auth::Config>,
    /// How often. Here it may name limits that are asked `before_auth`.
    #[cfg_attr(feature = "schema", schemars(transform = schema::add_before_auth))]
    pub rate_limit: Option<portcullis_rate_limit::Config>,
    /// Whether the upstream can answer.
    pub circuit_breaker: Option<portcullis_circuit_breaker::Config>,
    /// What the upstream is shown.
    pub service_token: Option<portcullis_service_token::Config>,
    /// A path of the gateway's own that says whether it has all keys, answered before anything else.
    /// It may stand in `jwt_auth` instead.
    pub ready: Option<portcullis_jwt_auth::config::ReadyConfig>,
    /// A path at which a person on call looks at all four and turns what can be turned.
    pub control: Option<ControlConfig>,
}

#[cfg(feature = "schema")]
mod schema {
    /// The key that `rate_limit` has in this filter only.
    pub(super) fn add_before_auth(schema: &mut schemars::Schema) {
        if let Some(serde_json::Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert(
                "before_auth".to_owned(),
                serde_json::json!({
                    "description": "Limits that are asked before the token is looked at.",
                    "type": "array",
                    "items": { "type": "string", "pattern": "^[a-z0-9_]{1,64}$" }
                }),
            );
        }
    }
}
