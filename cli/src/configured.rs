//! A filter, as it is configured somewhere.

use std::rc::Rc;

use serde_json::Value;

use crate::chain::Chain;
use crate::document::{Node, Place};
use crate::filter::{Filter, Host};

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
    /// The chain that it is part of, where that is known.
    pub chain: Option<Rc<Chain>>,
    /// Which filter of the chain it is.
    pub link: Option<usize>,
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
    /// Whether no filter is told of a client's certificate.
    pub hides_certificates: bool,
    /// Whether Envoy takes its own headers (`x-envoy-…`) out of every client's request.
    pub hides_own_headers: bool,
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
        chain: None,
        link: None,
    }
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
