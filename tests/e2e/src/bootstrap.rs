//! A gateway's configuration: one of `envoy/`, and what a test changes in it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::paths;

/// An Envoy bootstrap.
#[derive(Clone, Debug)]
pub struct Bootstrap(Value);

/// Where a filter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It sees requests first.
    Before,
    /// It sees requests that the other has let pass.
    After,
}

impl Bootstrap {
    /// The file `envoy/<name>.yaml`.
    ///
    /// # Errors
    /// It is not there, or not YAML.
    pub fn shipped(name: &str) -> Result<Self> {
        let path = paths::repository()
            .join("envoy")
            .join(format!("{name}.yaml"));
        let text =
            fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// From YAML text.
    ///
    /// # Errors
    /// It is not YAML.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_saphyr::from_str(text)?))
    }

    /// The value at a JSON pointer.
    ///
    /// # Errors
    /// There is none.
    pub fn at(&mut self, pointer: &str) -> Result<&mut Value> {
        self.0
            .pointer_mut(pointer)
            .with_context(|| format!("the bootstrap has no {pointer}"))
    }

    /// The HTTP connection manager of the first listener.
    ///
    /// # Errors
    /// There is none.
    pub fn connection_manager(&mut self) -> Result<&mut Value> {
        self.at("/static_resources/listeners/0/filter_chains/0/filters/0/typed_config")
    }

    /// The routes of the first virtual host.
    ///
    /// # Errors
    /// There are none.
    pub fn routes(&mut self) -> Result<&mut Vec<Value>> {
        let routes = self
            .connection_manager()?
            .pointer_mut("/route_config/virtual_hosts/0/routes");
        routes
            .and_then(Value::as_array_mut)
            .context("the bootstrap has no routes")
    }

    /// The HTTP filters.
    ///
    /// # Errors
    /// There are none.
    pub fn http_filters(&mut self) -> Result<&mut Vec<Value>> {
        let filters = self.connection_manager()?.get_mut("http_filters");
        filters
            .and_then(Value::as_array_mut)
            .context("the bootstrap has no HTTP filters")
    }

    /// What a user writes for the filter of this name: the `value` of its `Struct`.
    ///
    /// # Errors
    /// There is no such filter, or its configuration is no `Struct`.
    pub fn filter(&mut self, name: &str) -> Result<&mut Value> {
        let filter = &mut self.named(name)?["typed_config"];
        let place = match filter.get("filter_config") {
            Some(_) => "/filter_config/value",
            None => "/config/configuration/value",
        };
        let value = filter.pointer_mut(place);
        value.with_context(|| format!("{name} has no configuration"))
    }

    /// The variables that the filter of this name sees.
    ///
    /// # Errors
    /// There is no such filter, or it sees none.
    pub fn environment(&mut self, name: &str) -> Result<&mut Value> {
        let keys = "/vm_config/environment_variables/host_env_keys";
        let value = self.plugin(name)?.pointer_mut(keys);
        value.with_context(|| format!("{name} sees no variables"))
    }

    /// Has Envoy show the filter of this name requests' bodies before they go on. Native code is shown them anyway.
    ///
    /// # Errors
    /// There is no such filter.
    pub fn lets_bodies_be_read(&mut self, name: &str) -> Result<()> {
        if let Some(plugin) = self.named(name)?.pointer_mut("/typed_config/config") {
            plugin["allow_on_headers_stop_iteration"] = json!(true);
        }
        Ok(())
    }

    /// Hands the filter its configuration as JSON text instead of as a `Struct`.
    ///
    /// # Errors
    /// There is no such filter, or its configuration is no `Struct`.
    pub fn as_json_text(&mut self, name: &str) -> Result<()> {
        let text = self.filter(name)?.to_string();
        if let Some(configuration) = self.plugin(name)?.get_mut("configuration") {
            *configuration = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text });
        }
        Ok(())
    }

    /// Puts another HTTP filter beside the one of this name.
    ///
    /// # Errors
    /// There is no such filter.
    pub fn put(&mut self, placement: Placement, name: &str, filter: Value) -> Result<()> {
        let filters = self.http_filters()?;
        let place = filters.iter().position(|filter| filter["name"] == name);
        let place = place.with_context(|| format!("there is no HTTP filter {name}"))?;
        let place = match placement {
            Placement::Before => place,
            Placement::After => place.saturating_add(1),
        };
        filters.insert(place, filter);
        Ok(())
    }

    /// The ports that the gateway and its administration listen at; 0: any that is free.
    ///
    /// # Errors
    /// There are no such listeners.
    pub fn listen(&mut self, gateway: u16, admin: u16) -> Result<()> {
        *self.at("/admin/address/socket_address/port_value")? = json!(admin);
        *self.at("/static_resources/listeners/0/address/socket_address/port_value")? =
            json!(gateway);
        Ok(())
    }

    /// Where requests go.
    ///
    /// # Errors
    /// There is no cluster.
    pub fn forward_to(&mut self, upstream: SocketAddr) -> Result<()> {
        let endpoint =
            "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        *self.at(&format!("{endpoint}/address/socket_address"))? =
            json!({ "address": upstream.ip().to_string(), "port_value": upstream.port() });
        Ok(())
    }

    /// Adds a cluster of these hosts, and gives it back for what else it is to have.
    ///
    /// # Errors
    /// There are no clusters to add it to.
    pub fn add_cluster(&mut self, name: &str, hosts: &[SocketAddr]) -> Result<&mut Value> {
        let hosts: Vec<Value> = hosts.iter().copied().map(endpoint).collect();
        self.push_cluster(json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": hosts }] },
        }))
    }

    /// Adds a cluster that is spoken to by TLS: it must show a certificate for `server_name`, by the
    /// authority whose certificate is `ca_pem`.
    ///
    /// # Errors
    /// There are no clusters to add it to.
    pub fn add_tls_cluster(
        &mut self,
        name: &str,
        upstream: SocketAddr,
        server_name: &str,
        ca_pem: &str,
    ) -> Result<()> {
        self.add_cluster(name, &[upstream])?["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": server_name,
                "common_tls_context": { "validation_context": {
                    "trusted_ca": { "inline_string": ca_pem },
                    "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": server_name } },
                    ],
                } },
            },
        });
        Ok(())
    }

    /// Adds a cluster as it is written.
    ///
    /// # Errors
    /// There are no clusters to add it to.
    pub fn push_cluster(&mut self, cluster: Value) -> Result<&mut Value> {
        let clusters = self.at("/static_resources/clusters")?.as_array_mut();
        let clusters = clusters.context("the clusters are no list")?;
        clusters.push(cluster);
        clusters.last_mut().context("it was added")
    }

    /// Adds a route that is asked before those that are there.
    ///
    /// # Errors
    /// There are no routes.
    pub fn add_route(&mut self, route: Value) -> Result<()> {
        self.routes()?.insert(0, route);
        Ok(())
    }

    /// Loads all filters as they are built for Envoy alone.
    ///
    /// # Errors
    /// A filter's file has no name.
    pub fn load_builds_for_envoy(&mut self) -> Result<()> {
        self.change_files(|file| {
            let name = file.file_name().context("a filter's file has no name")?;
            Ok(Path::new("target/filters/envoy").join(name))
        })
    }

    /// Makes the paths of all filters absolute.
    ///
    /// # Errors
    /// A filter is not built.
    pub(crate) fn find_filters(&mut self) -> Result<()> {
        self.change_files(paths::filter)
    }

    /// Has all filters run as native code instead of as Wasm, with the configuration that they have.
    ///
    /// # Errors
    /// A filter's file has no name.
    pub fn run_natively(&mut self) -> Result<()> {
        const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let mut changed = false;
        for filter in self.all_http_filters()? {
            if filter["typed_config"]["@type"] != WASM {
                continue;
            }
            changed = true;
            let plugin = filter["typed_config"]["config"].take();
            let (name, zone) = (&plugin["root_id"], &plugin["vm_config"]["vm_id"]);
            let name = name.as_str().context("a filter has no root_id")?;
            let name = match zone.as_str() {
                Some(zone) if zone != "portcullis" => format!("{name}/{zone}"),
                Some(_) | None => name.to_owned(),
            };
            filter["typed_config"] = json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                "dynamic_module_config": { "name": "portcullis" },
                "filter_name": name,
                "filter_config": plugin["configuration"],
            });
        }
        if !changed {
            return Ok(());
        }
        // The metrics' names without what says that they are a module's.
        const BARE_NAMES: &str =
            "envoy.reloadable_features.dynamic_modules_strip_custom_stat_prefix";
        let bare = json!({ "name": "metrics", "static_layer": { BARE_NAMES: true } });
        match self
            .0
            .pointer_mut("/layered_runtime/layers")
            .and_then(Value::as_array_mut)
        {
            Some(layers) => layers.push(bare),
            None => self.0["layered_runtime"] = json!({ "layers": [bare] }),
        }
        Ok(())
    }

    fn change_files(&mut self, change: impl Fn(&Path) -> Result<PathBuf>) -> Result<()> {
        const FILE: &str = "/typed_config/config/vm_config/code/local/filename";
        for filter in self.all_http_filters()? {
            if let Some(file) = filter.pointer_mut(FILE) {
                let written = file.as_str().context("a filter's filename is not text")?;
                *file = json!(change(Path::new(written))?);
            }
        }
        Ok(())
    }

    /// Those of all listeners.
    fn all_http_filters(&mut self) -> Result<impl Iterator<Item = &mut Value>> {
        const FILTERS: &str = "/filter_chains/0/filters/0/typed_config/http_filters";
        let listeners = self.at("/static_resources/listeners")?.as_array_mut();
        let filters = listeners
            .into_iter()
            .flatten()
            .filter_map(|listener| listener.pointer_mut(FILTERS)?.as_array_mut());
        Ok(filters.flatten())
    }

    /// Takes the listeners out: Envoy reads them from `file` and again each time another is put in
    /// its place. Returns what belongs into it.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn take_listeners(&mut self, file: &Path) -> Result<String> {
        let mut listeners = self.at("/static_resources/listeners")?.take();
        let all = listeners
            .as_array_mut()
            .context("the listeners are no list")?;
        for listener in all {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        *self.at("/static_resources/listeners")? = json!([]);
        self.0["node"] = json!({ "id": "gateway", "cluster": "gateway" });
        self.0["dynamic_resources"] = json!({ "lds_config": {
            "resource_api_version": "V3",
            "path_config_source": { "path": file },
        } });
        Ok(json!({ "resources": listeners }).to_string())
    }

    /// As JSON, which Envoy reads as well as YAML.
    pub(crate) fn to_json(&self) -> String {
        self.0.to_string()
    }

    fn plugin(&mut self, name: &str) -> Result<&mut Value> {
        let plugin = self.named(name)?.pointer_mut("/typed_config/config");
        plugin.with_context(|| format!("there is no Wasm filter {name}"))
    }

    fn named(&mut self, name: &str) -> Result<&mut Value> {
        let mut filters = self.http_filters()?.iter_mut();
        let filter = filters.find(|filter| filter["name"] == name);
        filter.with_context(|| format!("there is no HTTP filter {name}"))
    }
}

/// A host of a cluster.
fn endpoint(host: SocketAddr) -> Value {
    let address = json!({ "address": host.ip().to_string(), "port_value": host.port() });
    json!({ "endpoint": { "address": { "socket_address": address } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_goes_before_or_after_another() -> Result<()> {
        let mut bootstrap = Bootstrap::shipped("rate_limit")?;
        bootstrap.put(Placement::Before, "rate_limit", json!({ "name": "a" }))?;
        bootstrap.put(Placement::After, "rate_limit", json!({ "name": "b" }))?;
        let names: Vec<_> = bootstrap
            .http_filters()?
            .iter()
            .map(|f| f["name"].clone())
            .collect();
        assert_eq!(names, ["a", "rate_limit", "b", "envoy.filters.http.router"]);
        assert!(
            bootstrap
                .put(Placement::After, "no_such_filter", json!({}))
                .is_err()
        );
        Ok(())
    }

    #[test]
    fn the_files_for_native_code_are_those_for_wasm_but_for_what_the_filters_run_as() -> Result<()>
    {
        for name in [
            "edge",
            "jwt_auth",
            "rate_limit",
            "circuit_breaker",
            "service_token",
        ] {
            let mut wasm = Bootstrap::shipped(name)?;
            wasm.run_natively()?;
            // Labels need no tags there.
            let stats = wasm.at("/stats_config")?;
            stats
                .as_object_mut()
                .context("an object")?
                .remove("stats_tags");
            if stats.as_object().is_some_and(serde_json::Map::is_empty) {
                wasm.0
                    .as_object_mut()
                    .context("an object")?
                    .remove("stats_config");
            }
            let native = Bootstrap::shipped(&format!("native/{name}"))?;
            assert_eq!(native.0, wasm.0, "{name}");
        }
        Ok(())
    }

    #[test]
    fn what_is_quoted_stays_text_and_numbers_are_numbers() -> Result<()> {
        let mut bootstrap = Bootstrap::shipped("service_token")?;
        assert_eq!(
            bootstrap.filter("service_token")?["credential"]["secrets"][0]["id"],
            "2026-11"
        );
        let mut bootstrap = Bootstrap::shipped("rate_limit")?;
        assert_eq!(bootstrap.filter("rate_limit")?["limits"][0]["quota"], 100);
        Ok(())
    }
}
