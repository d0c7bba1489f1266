//! An Envoy's configuration: listeners with HTTP filters, and the upstream behind them.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The listener of a gateway that has one.
pub(crate) const GATEWAY: &str = "gateway";

const UPSTREAM: &str = "upstream";
const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
const NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network";

/// A configuration under construction.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    listeners: Vec<Value>,
    cluster: Value,
    secrets: Vec<Value>,
}

impl Bootstrap {
    /// With this upstream, and no listener yet.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        let address = json!({ "socket_address": {
            "address": upstream.ip().to_string(),
            "port_value": upstream.port(),
        } });
        Self {
            listeners: Vec::new(),
            cluster: json!({
                "name": UPSTREAM,
                "type": "STATIC",
                "connect_timeout": "5s",
                "load_assignment": {
                    "cluster_name": UPSTREAM,
                    "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
                },
            }),
            secrets: Vec::new(),
        }
    }

    /// A listener whose requests pass these filters on their way to the upstream.
    pub(crate) fn forwarding(self, filters: &[Value]) -> Self {
        // As in `envoy/`: no bound on how long an answer takes, and so no timer for each request.
        let route = json!({ "route": { "cluster": UPSTREAM, "timeout": "0s" } });
        self.listener(GATEWAY, filters, &route)
    }

    /// A listener that answers by itself whatever its filters let pass.
    pub(crate) fn answering(self, name: &str, filters: &[Value], status: u16) -> Self {
        let route = json!({ "direct_response": { "status": status } });
        self.listener(name, filters, &route)
    }

    fn listener(mut self, name: &str, filters: &[Value], route: &Value) -> Self {
        let router = json!({
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{HTTP}.router.v3.Router") },
        });
        let filters: Vec<_> = filters.iter().cloned().chain([router]).collect();
        let mut route = route.clone();
        route["match"] = json!({ "prefix": "/" });
        self.listeners.push(json!({
            "name": name,
            "address": any_port(),
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{NETWORK}.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": name,
                    "use_remote_address": true,
                    "http_filters": filters,
                    "route_config": { "virtual_hosts": [{
                        "name": "all",
                        "domains": ["*"],
                        "routes": [route],
                    }] },
                },
            }] }],
        }));
        self
    }

    /// Gives the upstream's cluster another key.
    pub(crate) fn with_cluster(mut self, key: &str, value: Value) -> Self {
        self.cluster[key] = value;
        self
    }

    /// Adds a secret that filters name.
    pub(crate) fn with_secret(mut self, secret: Value) -> Self {
        self.secrets.push(secret);
        self
    }

    /// What Envoy reads.
    pub(crate) fn build(self) -> Value {
        json!({
            "admin": { "address": any_port() },
            "static_resources": {
                "listeners": self.listeners,
                "clusters": [self.cluster],
                "secrets": self.secrets,
            },
        })
    }
}

/// One of Envoy's HTTP filters: the folder of its type below `envoy.extensions.filters.http`, the type, and its keys.
pub(crate) fn http_filter(folder: &str, kind: &str, config: Value) -> Value {
    let mut typed = config;
    typed["@type"] = json!(format!("{HTTP}.{folder}.v3.{kind}"));
    json!({ "name": format!("envoy.filters.http.{folder}"), "typed_config": typed })
}

fn any_port() -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } })
}
