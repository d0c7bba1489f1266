//! The gateway's configuration: one listener for each filter that is measured, without an upstream.

use std::path::Path;

use serde_json::{Value, json};

use crate::credentials::{self, CREDENTIALS};
use crate::scene::{AUDIENCE, GUARDED_PATH, ISSUER, Scene};

/// The listeners, by the filter that stands in each.
pub(crate) const UNCACHED: &str = "uncached";
pub(crate) const CACHED: &str = "cached";
pub(crate) const ENVOYS_OWN: &str = "envoys_own";

/// A configuration with the filters of this folder.
pub(crate) fn bootstrap(filters: &Path) -> Value {
    let jwt_auth = |tokens| wasm(filters, "jwt_auth", &Scene::config(tokens));
    let mut listeners = vec![
        listener(UNCACHED, &jwt_auth(0)),
        listener(CACHED, &jwt_auth(4096)),
        listener(ENVOYS_OWN, &jwt_authn()),
    ];
    for (name, kind) in CREDENTIALS {
        let filter = wasm(filters, "service_token", &credentials::config(kind));
        listeners.push(listener(name, &filter));
    }
    json!({
        "admin": { "address": any_port() },
        "static_resources": { "listeners": listeners },
    })
}

/// It answers by itself whatever its filter lets pass.
fn listener(name: &str, filter: &Value) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    });
    json!({
        "name": name,
        "address": any_port(),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.\
                          http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": name,
                "http_filters": [filter, router],
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "direct_response": { "status": 200 },
                    }],
                }] },
            },
        }] }],
    })
}

fn wasm(filters: &Path, name: &str, config: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "vm_config": {
                    "vm_id": "portcullis",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": filters.join(format!("{name}.wasm")) } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": config,
                },
            },
        },
    })
}

/// Envoy's own filter, with the two algorithms that most issuers use. It remembers no tokens
/// unless it is told to.
fn jwt_authn() -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "company": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": { "inline_string": Scene::jwks(&["RS256", "ES256"]).to_string() },
            } },
            "rules": [{
                "match": { "path": GUARDED_PATH },
                "requires": { "provider_name": "company" },
            }],
        },
    })
}

fn any_port() -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } })
}
