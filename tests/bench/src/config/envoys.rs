//! Envoy's own filters, configured to do what ours do.

use serde_json::{Value, json};

use super::bootstrap::http_filter;
use super::ours::{HEADER, SECRET};
use crate::scene::{AUDIENCE, GUARDED_PATH, ISSUER, Scene};

/// The secret by which [`credential_injector`] finds what it writes.
const CREDENTIAL: &str = "credential";

/// What [`jwt_authn`] remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// Tokens that were verified.
    Cached,
    /// None, as it is without being told.
    Uncached,
}

/// Checks tokens; forwards two claims, and not the token.
pub(crate) fn jwt_authn(tokens: Tokens) -> Value {
    jwt_authn_of("RS256", tokens)
}

/// The same for tokens of this algorithm.
pub(crate) fn jwt_authn_of(algorithm: &str, tokens: Tokens) -> Value {
    let mut provider = provider();
    provider["local_jwks"] = json!({ "inline_string": Scene::jwks(&[algorithm]).to_string() });
    provider["forward"] = json!(false);
    provider["claim_to_headers"] = json!([
        { "header_name": "x-user-id", "claim_name": "sub" },
        { "header_name": "x-user-scopes", "claim_name": "scope" },
    ]);
    if tokens == Tokens::Cached {
        // As many as ours, and as long.
        provider["jwt_cache_config"] =
            json!({ "jwt_cache_size": 4096, "jwt_max_token_size": 8192 });
    }
    authentication(&provider, json!({ "prefix": "/" }))
}

/// Checks tokens of the two algorithms that most issuers use, where one is needed; forwards nothing.
pub(crate) fn jwt_authn_alone() -> Value {
    let mut provider = provider();
    provider["local_jwks"] =
        json!({ "inline_string": Scene::jwks(&["RS256", "ES256"]).to_string() });
    authentication(&provider, json!({ "path": GUARDED_PATH }))
}

fn provider() -> Value {
    json!({ "issuer": ISSUER, "audiences": [AUDIENCE] })
}

fn authentication(provider: &Value, matched: Value) -> Value {
    let config = json!({
        "providers": { "company": provider },
        "rules": [{ "match": matched, "requires": { "provider_name": "company" } }],
    });
    http_filter("jwt_authn", "JwtAuthentication", config)
}

/// A bucket for each client address, of so many tokens.
pub(crate) fn local_ratelimit(tokens: u32, headers: bool) -> Value {
    let bucket = |tokens: u32| json!({ "max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "3600s" });
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    let config = json!({
        "stat_prefix": "local_ratelimit",
        // The bucket of all together, which is to refuse nobody.
        "token_bucket": bucket(u32::MAX),
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limits": [{ "actions": [{ "remote_address": {} }] }],
        // An entry without a value stands for every one.
        "descriptors": [{ "entries": [{ "key": "remote_address" }], "token_bucket": bucket(tokens) }],
        "enable_x_ratelimit_headers": if headers { "DRAFT_VERSION_03" } else { "OFF" },
    });
    http_filter("local_ratelimit", "LocalRateLimit", config)
}

/// Writes a header as `service_token` does.
pub(crate) fn header_mutation() -> Value {
    let header = json!({ "key": HEADER, "value": SECRET });
    let config = json!({ "mutations": { "request_mutations": [
        { "append": { "header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD" } },
    ] } });
    http_filter("header_mutation", "HeaderMutation", config)
}

/// Writes a header out of a secret.
pub(crate) fn credential_injector() -> Value {
    const GENERIC: &str =
        "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic";
    let config = json!({
        "overwrite": true,
        "credential": {
            "name": "envoy.http.injected_credentials.generic",
            "typed_config": {
                "@type": GENERIC,
                "credential": { "name": CREDENTIAL },
                "header": HEADER,
            },
        },
    });
    http_filter("credential_injector", "CredentialInjector", config)
}

/// The secret that it writes.
pub(crate) fn credential() -> Value {
    json!({ "name": CREDENTIAL, "generic_secret": { "secret": { "inline_string": SECRET } } })
}

/// Takes an upstream out after five failures, for as long as ours stays open.
pub(crate) fn outlier_detection() -> Value {
    json!({
        "consecutive_5xx": 5,
        "enforcing_consecutive_5xx": 100,
        "base_ejection_time": "3600s",
        "max_ejection_time": "3600s",
        "max_ejection_percent": 100,
    })
}

/// Without which Envoy asks an upstream that was taken out all the same when there is no other.
pub(crate) fn no_panic() -> Value {
    json!({ "healthy_panic_threshold": { "value": 0 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoys_filter_remembers_tokens_only_where_it_is_told_to() {
        let cache = |tokens| {
            let filter = jwt_authn(tokens);
            filter["typed_config"]["providers"]["company"]["jwt_cache_config"].clone()
        };
        assert_eq!(cache(Tokens::Uncached), Value::Null);
        assert_eq!(cache(Tokens::Cached)["jwt_cache_size"], 4096);
    }
}
