//! Where gateways' files configure the filters.

use serde_json::Value;

use crate::document::{Content, Node, Place, Unreadable, read, read_block};
use crate::filter::{FILTERS, Filter, Host};
use crate::source::Source;

/// A filter that is configured somewhere.
#[derive(Clone)]
pub struct Configured {
    /// Which.
    pub filter: Filter,
    /// What loads it.
    pub host: Host,
    /// Where it is named.
    pub place: Place,
    /// Its configuration, with the places of all that is in it.
    pub config: Node,
    /// The same as the text that the filter is given, where it is given one.
    pub text: Option<String>,
    /// The variables that it may see, where they are named.
    pub variables: Option<Vec<Variable>>,
    /// How Envoy runs it, where that is said.
    pub wasm: Option<Wasm>,
    /// The connection manager that it stands in, where there is one.
    pub manager: Option<Manager>,
    /// What it is called in its chain of filters.
    pub name: Option<String>,
    /// Whether it is for a route alone, in the place of what the listener has under the same name.
    pub is_of_route: bool,
}

/// A variable that a filter may see.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it holds, where that stands in the file too.
    pub value: Option<Node>,
}

/// How Envoy runs a filter as Wasm.
#[derive(Clone, Copy, Debug)]
pub struct Wasm {
    /// `allow_on_headers_stop_iteration`
    pub goes_on_reading: bool,
}

/// A connection manager of Envoy's.
#[derive(Clone, Copy, Debug)]
pub struct Manager {
    /// Where it is.
    pub place: Place,
    /// Whether a client's address is that of its connection, or what somebody else than the client says.
    pub knows_the_peer: bool,
}

/// A configuration that stands for itself.
#[must_use]
pub fn bare(filter: Filter, host: Host, document: &Node) -> Configured {
    Configured {
        filter,
        host,
        place: document.place(),
        config: document.clone(),
        text: None,
        variables: None,
        wasm: None,
        manager: None,
        name: None,
        is_of_route: false,
    }
}

/// What a value stands in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Around<'a> {
    manager: Option<Manager>,
    /// What the filter is called whose configuration it is.
    name: Option<&'a str>,
}

/// Goes through a document.
pub(crate) struct Search<'a> {
    pub(crate) source: &'a Source,
    pub(crate) found: Vec<Configured>,
    pub(crate) unreadable: Vec<Unreadable>,
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
            }),
            false => around.manager,
        };
        let found = self.wasm(node);
        let found = found
            .or_else(|| self.native(node))
            .or_else(|| self.kong(node));
        self.found.extend(found.map(|found| Configured {
            manager,
            name: around.name.map(str::to_owned),
            ..found
        }));
        let within = |name| Around { manager, name };
        for field in node.fields() {
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
                _ => self.envoy_or_kong(&field.value, within(None)),
            }
        }
        for item in node.items() {
            self.envoy_or_kong(item, within(None));
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

/// What an `Any` is said to hold.
fn type_of(node: &Node) -> Option<&str> {
    node.get("@type")?.text()
}

/// A field of a protobuf message, by either of its names.
fn either<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.get(name).or_else(|| {
        let mut words = name.split('_');
        let mut camel = words.next().unwrap_or_default().to_owned();
        for word in words {
            let mut letters = word.chars();
            camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
            camel.extend(letters);
        }
        node.get(&camel)
    })
}

/// Which filter a file or an image holds, by its name: `edge.wasm`, `rate-limit-wasm:0.1.0`.
pub(crate) fn filter_of_file(path: &str) -> Option<Filter> {
    let name = path.rsplit('/').next()?.replace('-', "_");
    FILTERS.into_iter().find(|filter| {
        let behind = name.strip_prefix(filter.name);
        behind.is_some_and(|behind| !behind.starts_with(char::is_alphanumeric))
    })
}

impl Variable {
    pub(crate) fn new(name: &str, value: Option<&Node>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.cloned(),
        }
    }
}

impl Configured {
    /// The configuration of one of the four plugins: all of it, or what `edge` has of it.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<&Node> {
        match self.filter.name == name {
            true => Some(&self.config),
            false => self.config.get(name),
        }
    }

    /// The value that the filter reads.
    #[must_use]
    pub fn value(&self) -> Value {
        let of_text = self.text.as_deref().map(serde_json::from_str);
        match of_text {
            Some(Ok(value)) => value,
            _ => self.config.to_json(),
        }
    }
}
