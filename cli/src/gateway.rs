//! Where gateways' files configure the filters.

use std::rc::Rc;

use crate::chain::kong::Scope;
use crate::chain::{Chain, Routes, envoy, kong};
use crate::document::{Content, Node, Unreadable, read, read_block};
use crate::filter::{FILTERS, Filter, Host};
use crate::protobuf::{either, type_of};
use crate::source::Source;

pub use crate::configured::{Configured, Manager, Variable, Wasm, bare};

/// What a value stands in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    manager: Option<Manager>,
    /// What the filter is called whose configuration it is.
    name: Option<&'a str>,
    chain: Option<&'a Rc<Chain>>,
    link: Option<usize>,
    kong: Scope<'a>,
}

impl<'a> Around<'a> {
    /// What a document stands in.
    pub(crate) fn document(document: &'a Node) -> Self {
        Self {
            kong: Scope {
                root: Some(document),
                ..Scope::default()
            },
            ..Self::default()
        }
    }

    /// Whether Kong's entities stand in this value: the file itself, a service, a route.
    fn is_of_kong(self, node: &Node) -> bool {
        let Scope {
            root,
            service,
            route,
        } = self.kong;
        let own = route.or(service).or(root);
        self.manager.is_none() && own.is_some_and(|own| std::ptr::eq(own, node))
    }
}

/// Goes through a document.
pub(crate) struct Search<'a> {
    pub(crate) source: &'a Source,
    pub(crate) found: Vec<Configured>,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Routes that stand for themselves, by their names.
    pub(crate) routes: Vec<(String, Routes)>,
}

impl Search<'_> {
    /// Looks at a value and all that is in it.
    pub(crate) fn envoy_or_kong(&mut self, node: &Node, around: Around<'_>) {
        let is_manager = type_of(node).is_some_and(|name| name.ends_with("HttpConnectionManager"));
        let manager = match is_manager {
            true => Some(Manager {
                place: node.place(),
                knows_the_peer: either(node, "use_remote_address").is_some_and(Node::is_true)
                    || either(node, "original_ip_detection_extensions").is_some(),
                hides_certificates: envoy::hides_certificates(node),
                hides_own_headers: envoy::hides_own_headers(node),
            }),
            false => around.manager,
        };
        self.routes.extend(envoy::named_routes(node));
        let own = envoy::chain(node).map(Rc::new);
        let chain = own.as_ref().or(around.chain);
        let found = self.wasm(node);
        let found = found
            .or_else(|| self.native(node))
            .or_else(|| self.kong(node));
        self.found.extend(found.map(|found| Configured {
            manager,
            name: around.name.map(str::to_owned),
            chain: chain.cloned(),
            link: around.link,
            ..found
        }));
        let within = |name| Around {
            manager,
            name,
            chain,
            ..around
        };
        for field in node.fields() {
            let items = field.value.items();
            match field.name.as_str() {
                "typed_config" | "typedConfig" => {
                    let name = node.get("name").and_then(Node::text);
                    self.envoy_or_kong(&field.value, within(name));
                }
                "typed_per_filter_config" | "typedPerFilterConfig" => {
                    for filter in field.value.fields() {
                        self.envoy_or_kong(&filter.value, within(Some(&filter.name)));
                    }
                }
                "http_filters" | "httpFilters" => self.links(items, within(None)),
                "services" | "routes" | "plugins" | "filter_chains"
                    if !items.is_empty() && around.is_of_kong(node) =>
                {
                    for item in items {
                        self.of_kong(&field.name, item, around.kong);
                    }
                }
                _ => self.envoy_or_kong(&field.value, within(None)),
            }
        }
        for item in node.items() {
            self.envoy_or_kong(item, within(None));
        }
    }

    /// The filters of a chain.
    fn links(&mut self, filters: &[Node], around: Around<'_>) {
        for (index, filter) in filters.iter().enumerate() {
            let link = Some(index);
            self.envoy_or_kong(filter, Around { link, ..around });
        }
    }

    /// One of the entities of that kind.
    fn of_kong(&mut self, kind: &str, item: &Node, scope: Scope<'_>) {
        let (service, route) = match kind {
            "services" => (Some(item), None),
            "routes" => (scope.service, Some(item)),
            _ => (scope.service, scope.route),
        };
        let scope = Scope {
            service,
            route,
            ..scope
        };
        let around = |chain| Around {
            chain,
            kong: scope,
            ..Around::default()
        };
        match kind {
            "filter_chains" => {
                let chain = Rc::new(kong::chain(item, scope));
                let filters = item.get("filters").map_or(&[][..], Node::items);
                self.links(filters, around(Some(&chain)));
            }
            "plugins" => {
                let chain = Rc::new(kong::plugin(item, scope));
                self.links(std::slice::from_ref(item), around(Some(&chain)));
            }
            _ => self.envoy_or_kong(item, around(None)),
        }
    }

    /// `config: { root_id, vm_config, configuration }`
    fn wasm(&self, node: &Node) -> Option<Configured> {
        let vm = either(node, "vm_config");
        let root = either(node, "root_id");
        vm.or(root)?;
        let code = vm.and_then(|vm| vm.get("code"));
        let file = code.and_then(|code| code.at(&["local", "filename"]));
        let uri = code.and_then(|code| either(either(code.get("remote")?, "http_uri")?, "uri"));
        let file = file.or(uri).and_then(Node::text);
        let names = [root, node.get("name")].into_iter().flatten();
        let of_name = || names.filter_map(Node::text).find_map(Filter::named);
        let filter = file.and_then(filter_of_file).or_else(of_name)?;
        let is_for_envoy = file.is_some_and(|file| file.contains("filters/envoy/"));
        let environment = vm.and_then(|vm| either(vm, "environment_variables"));
        let names = environment.and_then(|it| either(it, "host_env_keys"));
        let names = names.map(Node::items).unwrap_or_default().iter();
        let values = environment.and_then(|it| either(it, "key_values"));
        let values = values.map(Node::fields).unwrap_or_default().iter();
        let names = names.filter_map(|name| Some(Variable::new(name.text()?, None)));
        let values = values.map(|field| Variable::new(&field.name, Some(&field.value)));
        let variables = names.chain(values);
        let goes_on = either(node, "allow_on_headers_stop_iteration");
        let host = match is_for_envoy {
            true => Host::EnvoyAlone,
            false => Host::Envoy,
        };
        Some(Configured {
            variables: vm.map(|_| variables.collect()),
            wasm: Some(Wasm {
                // A `BoolValue`.
                goes_on_reading: goes_on.is_some_and(Node::is_true),
            }),
            ..self.packed(filter, host, node, node.get("configuration"))
        })
    }

    /// `filter_name`, `filter_config`
    fn native(&self, node: &Node) -> Option<Configured> {
        let name = either(node, "filter_name")?.text()?;
        // Filters of one kind may have names of their own behind a slash.
        let filter = Filter::named(name.split('/').next()?)?;
        let config = either(node, "filter_config");
        let is_of_route = type_of(node).is_some_and(|name| name.ends_with("FilterPerRoute"));
        Some(Configured {
            is_of_route,
            ..self.packed(filter, Host::Native, node, config)
        })
    }

    /// `filters: [{ name, config }]`
    fn kong(&self, node: &Node) -> Option<Configured> {
        let filter = Filter::named(node.get("name")?.text()?)?;
        let config = node.get("config")?;
        let is_of_kong = either(config, "vm_config").is_none();
        is_of_kong.then(|| self.given(filter, Host::Kong, node, Some(config)))
    }

    /// A configuration in an `Any`: a `Struct`, or a `StringValue`.
    fn packed(&self, filter: Filter, host: Host, node: &Node, any: Option<&Node>) -> Configured {
        self.given(filter, host, node, any.and_then(|any| any.get("value")))
    }

    /// A configuration as fields, or as text.
    pub(crate) fn given(
        &self,
        filter: Filter,
        host: Host,
        node: &Node,
        config: Option<&Node>,
    ) -> Configured {
        let place = node.place();
        let empty = || Node {
            content: Content::Map(Vec::new()),
            used: place,
            written: place,
        };
        let text = config.and_then(Node::text);
        let read = text.and_then(|_| self.within(config?).ok()?.pop());
        let config = read.or_else(|| config.cloned()).unwrap_or_else(empty);
        Configured {
            text: text.map(str::to_owned),
            place,
            ..bare(filter, host, &config)
        }
    }

    /// The documents in a text that stands in the file.
    pub(crate) fn within(&self, text: &Node) -> Result<Vec<Node>, Unreadable> {
        if let Some(documents) = read_block(&self.source.text, text) {
            return documents;
        }
        match read(text.text().unwrap_or_default()) {
            Ok(documents) => {
                let documents = documents.into_iter();
                Ok(documents
                    .map(|document| document.all_at(text.written))
                    .collect())
            }
            Err(error) => Err(Unreadable {
                place: text.written,
                ..error
            }),
        }
    }
}

/// Which filter a file or an image holds, by its name: `edge.wasm`, `rate-limit-wasm:0.1.0`.
pub(crate) fn filter_of_file(path: &str) -> Option<Filter> {
    let name = path.rsplit('/').next()?.replace('-', "_");
    FILTERS.into_iter().find(|filter| {
        let behind = name.strip_prefix(filter.name);
        behind.is_some_and(|behind| !behind.starts_with(char::is_alphanumeric))
    })
}
