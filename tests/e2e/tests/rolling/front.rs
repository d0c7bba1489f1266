//! The one address: an Envoy that shares requests out among gateways, and asks each whether it is to
//! get any.

use anyhow::Result;
use portcullis_e2e::{Bootstrap, Envoy, Listeners, Options, envoy_binary, until};
use serde_json::{Value, json};

use crate::node::{Place, READY};

/// Without retries: nothing here repairs a request that a gateway has lost.
const FRONT: &str = r#"
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
    - name: front
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: front
                use_remote_address: true
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{ match: { prefix: / }, route: { cluster: gateways, timeout: 0s } }]
  clusters:
    - name: gateways
      type: STATIC
      connect_timeout: 1s
      # Better an error than a gateway that has said that it is not ready.
      common_lb_config: { healthy_panic_threshold: { value: 0 } }
      load_assignment: { cluster_name: gateways, endpoints: [{ lb_endpoints: [] }] }
      health_checks:
        - timeout: 1s
          interval: 0.1s
          # No traffic yet is no reason to ask less often.
          no_traffic_interval: 0.1s
          unhealthy_threshold: 1
          healthy_threshold: 1
          http_health_check: { path: PATH }
"#;

/// What a front asks a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Its filter, which knows of keys, by the path of `docs/rolling-update.md`.
    Filter,
    /// Its administration, which does not.
    Administration,
}

/// The Envoy before the gateways.
pub(crate) struct Front(Envoy);

impl Front {
    /// Starts it, and waits until it has found all gateways ready.
    pub(crate) async fn start(gateways: &[Place]) -> Result<Self> {
        Self::asking(gateways, Asks::Filter).await
    }

    /// The same, with another way to find that out.
    pub(crate) async fn asking(gateways: &[Place], asks: Asks) -> Result<Self> {
        let path = match asks {
            Asks::Filter => READY,
            Asks::Administration => "/ready",
        };
        let mut bootstrap = Bootstrap::parse(&FRONT.replace("PATH", path))?;
        let endpoints: Vec<Value> = gateways
            .iter()
            .map(|Place { gateway, admin }| {
                let address = json!({ "address": gateway.ip(), "port_value": gateway.port() });
                let port = match asks {
                    Asks::Filter => gateway.port(),
                    Asks::Administration => admin.port(),
                };
                json!({ "endpoint": {
                    "address": { "socket_address": address },
                    "health_check_config": { "port_value": port },
                } })
            })
            .collect();
        *bootstrap.at("/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints")? =
            json!(endpoints);
        let options = Options {
            program: envoy_binary()?,
            bootstrap,
            workers: 2,
            env: Vec::new(),
            listeners: Listeners::Static,
            drain: None,
        };
        let front = Self(Envoy::start(options).await?);
        front.has_ready(gateways.len() as u64).await?;
        Ok(front)
    }

    /// A path's URL.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.gateway())
    }

    /// Waits until it takes so many gateways for ready.
    pub(crate) async fn has_ready(&self, gateways: u64) -> Result<()> {
        until(&format!("{gateways} ready gateways"), async || {
            let ready = self.0.admin().stat("cluster.gateways.membership_healthy");
            Ok(ready.await? == Some(gateways))
        })
        .await
    }
}
