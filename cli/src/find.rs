//! The filters that a document configures.

use crate::chain::Routes;
use crate::document::{Node, Unreadable};
use crate::gateway::{Configured, Search};
use crate::source::Source;

/// What is found in a document.
pub struct Found {
    /// All filters that it configures.
    pub filters: Vec<Configured>,
    /// Files in it that are no YAML.
    pub unreadable: Vec<Unreadable>,
    /// Envoy's routes that stand for themselves, by their names.
    pub routes: Vec<(String, Routes)>,
}

/// All filters that a document configures.
#[must_use]
pub fn find(source: &Source, document: &Node) -> Found {
    let mut search = Search {
        source,
        found: Vec::new(),
        unreadable: Vec::new(),
        routes: Vec::new(),
    };
    search.document(document);
    Found {
        filters: search.found,
        unreadable: search.unreadable,
        routes: search.routes,
    }
}
