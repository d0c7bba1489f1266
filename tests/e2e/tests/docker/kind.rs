//! What differs between the two gateways' stacks.

use std::env;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Which gateway the stack has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Envoy,
    Kong,
}

impl Kind {
    /// As `cargo xtask test --docker` says.
    pub(super) fn here() -> Result<Self> {
        match env::var("PORTCULLIS_GATEWAY").as_deref() {
            Ok("envoy") => Ok(Self::Envoy),
            Ok("kong") => Ok(Self::Kong),
            other => {
                bail!("PORTCULLIS_GATEWAY is {other:?}: run `cargo xtask test --docker`")
            }
        }
    }

    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Kong => "kong",
        }
    }

    /// The page that shows how the stack is started.
    pub(super) fn page(self) -> &'static str {
        match self {
            Self::Envoy => "docs/docker.md",
            Self::Kong => "docs/ten-minutes-kong.md",
        }
    }

    pub(super) fn compose_file(self) -> &'static str {
        match self {
            Self::Envoy => "envoy/compose.yaml",
            Self::Kong => "kong/compose.yaml",
        }
    }

    /// The files that the edge's rules stand in, as they are shipped, and what they are called where
    /// they are mounted. The first is the one with the filter.
    pub(super) fn edge(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Envoy => &[
                ("envoy/stack/edge/listeners.yaml", "listeners.yaml"),
                ("envoy/stack/edge/clusters.yaml", "clusters.yaml"),
            ],
            Self::Kong => &[("kong/stack/edge/kong.yml", "kong.yml")],
        }
    }

    /// The same of the egress.
    pub(super) fn egress(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Envoy => &[
                ("envoy/stack/egress/listeners.yaml", "listeners.yaml"),
                ("envoy/stack/egress/clusters.yaml", "clusters.yaml"),
            ],
            Self::Kong => &[("kong/stack/egress/kong.yml", "kong.yml")],
        }
    }

    /// The program whose end is the gateway's.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Kong => "nginx",
        }
    }

    /// Has responses say which configuration they were made under.
    pub(super) fn mark(self, config: &mut Value, version: u32) -> Result<()> {
        let version = version.to_string();
        match self {
            Self::Envoy => {
                let mutations = "/resources/0/filter_chains/0/filters/0/typed_config/http_filters/0\
                                 /typed_config/mutations/response_mutations";
                let header = json!({ "key": "x-test-version", "value": version });
                list(config, mutations)?.push(json!({ "append": { "header": header } }));
            }
            Self::Kong => {
                let mut plugins = list(config, "/plugins")?.iter_mut();
                let plugin = plugins.find(|plugin| plugin["name"] == "response-transformer");
                let plugin = plugin.context("nothing sets response headers")?;
                let header = format!("x-test-version:{version}");
                list(plugin, "/config/add/headers")?.push(json!(header));
            }
        }
        Ok(())
    }
}

fn list<'a>(config: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>> {
    let list = config.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.with_context(|| format!("there is no list {pointer}"))
}

/// Every configuration of the filter `edge`. In a file of Kong's there is one for each service.
pub(super) fn filters<'a>(config: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match config {
        Value::Object(object) if object.contains_key("rate_limit") => {
            // Kept apart from the borrow of its fields.
            found.push(config);
        }
        Value::Object(object) => object.values_mut().for_each(|value| filters(value, found)),
        Value::Array(values) => values.iter_mut().for_each(|value| filters(value, found)),
        _ => {}
    }
}
