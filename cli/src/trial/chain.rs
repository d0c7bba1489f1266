//! Which filters see a request one after another.

use std::collections::BTreeMap;

use crate::document::{Content, Node, Place};
use crate::find::find;
use crate::gateway::Configured;
use crate::source::Source;

/// Filters that see the same requests, in their order.
pub struct Chain {
    /// The filters.
    pub filters: Vec<Configured>,
}

/// What stands together in a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Together {
    /// A connection manager of Envoy's, or a chain of Kong's: where it stands.
    In(Place),
    /// Resources of Kubernetes: those of all documents.
    Resources,
}

/// The chains of a file: for each connection manager of Envoy's one, for each `filter_chains` of Kong's, and one of all resources of
/// Kubernetes. What a route has of its own is in none of them.
#[must_use]
pub fn chains(source: &Source, documents: &[Node]) -> Vec<Chain> {
    let mut chains: BTreeMap<Together, Vec<Configured>> = BTreeMap::new();
    for document in documents {
        let mut of_kong = Vec::new();
        gather_kong(document, &mut of_kong);
        for configured in find(source, document).filters {
            let place = configured.place;
            let kong = of_kong.iter().find(|(filter, ..)| *filter == place);
            let is_off = kong.is_some_and(|(_, _, is_off)| *is_off);
            if configured.is_of_route || is_off {
                continue;
            }
            let together = match (&configured.manager, kong) {
                (Some(manager), _) => Together::In(manager.place),
                (None, Some((_, chain, _))) => Together::In(*chain),
                (None, None) => Together::Resources,
            };
            chains.entry(together).or_default().push(configured);
        }
    }
    let chains = chains.into_values();
    chains.map(|filters| Chain { filters }).collect()
}

/// Where filters stand in Kong's chains, where their chain stands, and whether they are off.
fn gather_kong(node: &Node, found: &mut Vec<(Place, Place, bool)>) {
    let filters = node.get("filters").map_or(&[][..], Node::items);
    if let Some(first) = filters.first() {
        for filter in filters {
            let is_off = [node, filter].iter().any(|node| {
                let enabled = node.get("enabled").map(|enabled| &enabled.content);
                matches!(enabled, Some(Content::Bool(false)))
            });
            found.push((filter.place(), first.place(), is_off));
        }
    }
    for field in node.fields() {
        gather_kong(&field.value, found);
    }
    for item in node.items() {
        gather_kong(item, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    /// The names of the filters of each chain.
    fn names(text: &str) -> Vec<Vec<&'static str>> {
        let text = text.to_owned();
        let documents = read(&text).unwrap();
        let source = Source {
            name: "f".into(),
            text,
        };
        let chains = chains(&source, &documents);
        let names = chains.iter().map(|chain| {
            let filters = chain.filters.iter();
            filters.map(|configured| configured.filter.name).collect()
        });
        names.collect()
    }

    #[test]
    fn filters_that_see_the_same_requests_are_one_chain() {
        let kong = "services:\n- filter_chains:\n  - filters:\n    - { name: jwt_auth, config: {} }\n    - { name: edge, enabled: false, config: {} }\n    - { name: rate_limit, config: {} }\n  routes:\n  - filter_chains:\n    - filters:\n      - { name: circuit_breaker, config: {} }\n";
        assert_eq!(
            names(kong),
            [vec!["jwt_auth", "rate_limit"], vec!["circuit_breaker"]]
        );
        let manager = "typed_config:\n    '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n    http_filters:\n    - { name: a, typed_config: { config: { root_id: jwt_auth } } }\n    - { name: b, typed_config: { config: { root_id: edge } } }\n";
        let two = format!("filters:\n- {manager}- {manager}");
        assert_eq!(
            names(&two),
            [vec!["jwt_auth", "edge"], vec!["jwt_auth", "edge"]]
        );
        let resource = |name: &str| {
            format!(
                "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nspec: {{ pluginName: {name}, pluginConfig: {{}} }}\n"
            )
        };
        let two = format!("{}---\n{}", resource("jwt_auth"), resource("rate_limit"));
        assert_eq!(names(&two), [vec!["jwt_auth", "rate_limit"]]);
    }
}
