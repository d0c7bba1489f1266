//! Our filters, configured as `envoy/edge.yaml` has them, with a limit that refuses nobody.

use std::path::Path;

use serde_json::{Value, json};

use super::bootstrap::http_filter;
use crate::scene::{AUDIENCE, ISSUER, Scene};

/// Where a credential goes, and what it is.
pub(crate) const HEADER: &str = "x-service-token";
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Below which a token is needed, and the breaker watches.
const PATHS: &str = "/api/v1/rag";

/// The most that a limit takes.
pub(crate) const ENDLESS: u32 = 1_000_000_000;

/// Which of a response's headers a limit writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitHeaders {
    Both,
    Legacy,
    None,
}

/// A built filter in V8.
pub(crate) fn wasm(filters: &Path, name: &str, config: &Value) -> Value {
    module(&filters.join(format!("{name}.wasm")), name, config)
}

/// Any module in V8.
pub(crate) fn module(path: &Path, name: &str, config: &Value) -> Value {
    let config = json!({ "config": {
        "name": name,
        "root_id": name,
        "vm_config": {
            "vm_id": "portcullis",
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": path } },
        },
        "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": config },
    } });
    let mut filter = http_filter("wasm", "Wasm", config);
    filter["name"] = json!(name);
    filter
}

/// A filter of the module of native code.
pub(crate) fn native(name: &str, config: &Value) -> Value {
    let config = json!({
        "dynamic_module_config": { "name": "portcullis" },
        "filter_name": name,
        "filter_config": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": config },
    });
    http_filter("dynamic_modules", "DynamicModuleFilter", config)
}

/// Checks tokens; forwards two claims, and not the token. Beside its rule for [`PATHS`] it has so many others.
pub(crate) fn jwt_auth(other_rules: u32) -> Value {
    let other = |n| json!({ "match": { "paths": [{ "prefix": format!("/other/{n}") }] }, "allow": "anyone" });
    let guarded = json!({
        "match": { "paths": [{ "prefix": PATHS }] },
        "require": { "any_of": ["company"], "scopes": ["rag:read"] },
    });
    let rules: Vec<_> = (0..other_rules).map(other).chain([guarded]).collect();
    json!({
        "providers": { "company": {
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "algorithms": ["RS256"],
            "keys": [{ "jwks": Scene::jwks(&["RS256"]) }],
            "forward": { "token": "strip", "claims": { "sub": "x-user-id", "scope": "x-user-scopes" } },
        } },
        "rules": rules,
    })
}

/// Checks tokens of this algorithm instead.
pub(crate) fn jwt_auth_of(algorithm: &str) -> Value {
    let mut config = jwt_auth(0);
    config["providers"]["company"]["algorithms"] = json!([algorithm]);
    config["providers"]["company"]["keys"] = json!([{ "jwks": Scene::jwks(&[algorithm]) }]);
    config
}

/// One limit by address.
pub(crate) fn rate_limit(quota: u32, headers: LimitHeaders) -> Value {
    limits(&[limit("per_ip", quota)], headers)
}

/// Several.
pub(crate) fn limits(limits: &[Value], headers: LimitHeaders) -> Value {
    let headers = match headers {
        LimitHeaders::Both => "both",
        LimitHeaders::Legacy => "legacy",
        LimitHeaders::None => "none",
    };
    json!({ "limits": limits, "headers": headers })
}

/// A limit by address.
pub(crate) fn limit(name: &str, quota: u32) -> Value {
    json!({
        "name": name,
        "key": ["client_address"],
        "quota": quota,
        "window": "1h",
        "algorithm": "sliding_window",
    })
}

/// A breaker that guards [`PATHS`], behind so many that guard other paths.
pub(crate) fn circuit_breaker(others: u32) -> Value {
    let breaker = |name: String, paths: String| {
        json!({
            "name": name,
            "match": { "paths": [{ "prefix": paths }] },
            "trip": { "consecutive_failures": 5 },
            "open_for": { "initial": "1h", "max": "1h" },
        })
    };
    let others = (0..others).map(|n| breaker(format!("other_{n}"), format!("/other/{n}")));
    let guarding = breaker("rag_service".to_owned(), PATHS.to_owned());
    json!({ "breakers": others.chain([guarding]).collect::<Vec<_>>() })
}

/// Writes a secret.
pub(crate) fn service_token() -> Value {
    json!({ "credential": {
        "kind": "static",
        "header": HEADER,
        "secrets": [{ "id": "2026-11", "value": SECRET }],
    } })
}

/// All four.
pub(crate) fn edge(quota: u32) -> Value {
    let mut rate_limit = rate_limit(quota, LimitHeaders::Both);
    rate_limit["before_auth"] = json!(["per_ip"]);
    json!({
        "jwt_auth": jwt_auth(0),
        "rate_limit": rate_limit,
        "circuit_breaker": circuit_breaker(0),
        "service_token": service_token(),
    })
}

/// The same without what Envoy's native chain does not do: no headers of limits, and no breaker.
pub(crate) fn edge_like_native(quota: u32) -> Value {
    let mut edge = edge(quota);
    edge["rate_limit"]["headers"] = json!("none");
    edge.as_object_mut()
        .and_then(|edge| edge.remove("circuit_breaker"));
    edge
}
