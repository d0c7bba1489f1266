//! Where Kubernetes resources configure the filters.

use crate::document::{Field, Node};
use crate::filter::{Filter, Host};
use crate::gateway::{Around, Configured, Search, Variable, filter_of_file};

/// What kind of resource it is, if it is one.
fn kind(node: &Node) -> Option<&str> {
    node.get("apiVersion")?;
    node.get("kind")?.text()
}

impl Search<'_> {
    /// Looks at a document, whatever it is.
    pub(crate) fn document(&mut self, node: &Node) {
        match kind(node) {
            Some(kind) => self.resource(kind, node),
            None => self.envoy_or_kong(node, Around::document(node)),
        }
    }

    /// Looks at a resource.
    fn resource(&mut self, kind: &str, node: &Node) {
        match kind {
            "WasmPlugin" => self.found.extend(self.wasm_plugin(node)),
            "EnvoyExtensionPolicy" => {
                let wasm = node.at(&["spec", "wasm"]).map_or(&[][..], Node::items);
                let found = wasm.iter().filter_map(|wasm| self.envoy_gateway(wasm));
                let found: Vec<_> = found.collect();
                self.found.extend(found);
            }
            "KongPlugin" | "KongClusterPlugin" => self.found.extend(self.kong_plugin(node)),
            "ConfigMap" => {
                for field in node.get("data").map_or(&[][..], Node::fields) {
                    self.file(field);
                }
            }
            "List" => {
                for item in node.get("items").map_or(&[][..], Node::items) {
                    self.document(item);
                }
            }
            // An EnvoyFilter of Istio's, for one: it holds parts of Envoy's configuration.
            _ => self.envoy_or_kong(node, Around::document(node)),
        }
    }

    /// Istio's.
    fn wasm_plugin(&self, node: &Node) -> Option<Configured> {
        let spec = node.get("spec")?;
        let of_url = spec
            .get("url")
            .and_then(Node::text)
            .and_then(filter_of_file);
        let of_name = || Filter::named(spec.get("pluginName")?.text()?);
        let filter = of_url.or_else(of_name)?;
        let variables = spec.at(&["vmConfig", "env"]).map_or(&[][..], Node::items);
        let variables = variables.iter().filter_map(|variable| {
            let name = variable.get("name")?.text()?;
            Some(Variable::new(name, variable.get("value")))
        });
        Some(Configured {
            variables: Some(variables.collect()),
            ..self.given(filter, Host::Envoy, spec, spec.get("pluginConfig"))
        })
    }

    /// One of an EnvoyExtensionPolicy of Envoy Gateway's.
    fn envoy_gateway(&self, wasm: &Node) -> Option<Configured> {
        let url = ["image", "http"]
            .iter()
            .find_map(|kind| wasm.at(&["code", kind, "url"]));
        let of_url = url.and_then(Node::text).and_then(filter_of_file);
        let of_name = || {
            let names = ["rootID", "name"]
                .iter()
                .filter_map(|name| wasm.get(name)?.text());
            names.filter_map(Filter::named).next()
        };
        let filter = of_url.or_else(of_name)?;
        let variables = wasm.at(&["env", "hostKeys"]).map_or(&[][..], Node::items);
        let variables = variables.iter().filter_map(Node::text);
        let variables = variables.map(|name| Variable::new(name, None));
        Some(Configured {
            variables: Some(variables.collect()),
            ..self.given(filter, Host::Envoy, wasm, wasm.get("config"))
        })
    }

    /// Kong Ingress Controller's.
    fn kong_plugin(&self, node: &Node) -> Option<Configured> {
        let filter = Filter::named(node.get("plugin")?.text()?)?;
        // What stands in a secret is not known.
        let is_elsewhere = ["configFrom", "configPatches"];
        if is_elsewhere.iter().any(|name| node.get(name).is_some()) {
            return None;
        }
        Some(self.given(filter, Host::Kong, node, node.get("config")))
    }

    /// A file in a ConfigMap.
    fn file(&mut self, field: &Field) {
        let is_ours = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| field.name.ends_with(end));
        if !is_ours {
            return;
        }
        match self.within(&field.value) {
            Ok(documents) => {
                for document in documents {
                    self.document(&document);
                }
            }
            Err(error) => self.unreadable.push(error),
        }
    }
}
