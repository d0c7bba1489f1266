//! What Kong's and Envoy's own plugins are configured with, as a configuration of `edge`.

mod draft;
mod envoy;
mod kong;
mod notes;
mod report;
mod secret;
mod value;
mod whole;
mod yaml;

use serde_json::Value;

use crate::document::{Content, Node, Unreadable, read};
use crate::filter::{Filter, Host, Variables};
use crate::source::Source;
use draft::Draft;
use notes::{At, Notes};

pub use notes::{Note, Outcome, Variable};
pub use report::{human, json};
pub use yaml::write as to_yaml;

/// Whose configuration a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// Envoy's.
    Envoy,
    /// Kong's.
    Kong,
}

/// What came of a file.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// The configuration of `edge`; `None` where nothing was taken over.
    pub edge: Option<Value>,
    /// The gateway's file with `edge` in the place of what was taken over.
    pub file: Option<Value>,
    /// What became of each field, by where it stands.
    pub notes: Vec<Note>,
    /// The variables that the configuration names.
    pub variables: Vec<Variable>,
    /// What the filter says of the configuration: nothing, unless something that is wrong was taken over.
    pub errors: Vec<String>,
}

/// Whose configuration this is, as far as it shows.
#[must_use]
pub fn gateway_of(document: &Node) -> Option<Gateway> {
    let has = |names: &[&str]| names.iter().any(|name| document.get(name).is_some());
    if has(&["_format_version", "services", "routes", "consumers"]) {
        return Some(Gateway::Kong);
    }
    envoy::is_one(document).then_some(Gateway::Envoy)
}

/// Takes a file over. `descriptors`: the limits of Envoy's rate limit service. All errors are in the result.
///
/// # Errors
/// A file is no YAML.
pub fn import(source: &Source, descriptors: Option<&Source>) -> Result<Imported, Unreadable> {
    let documents = read(&source.text)?;
    let described = descriptors.map(|source| read(&source.text)).transpose()?;
    let described = described.as_deref().and_then(<[Node]>::first);
    let (mut draft, mut notes) = (Draft::default(), Notes::default());
    let mut gateway = None;
    let whole = documents
        .iter()
        .find(|document| !matches!(document.content, Content::Null));
    if let Some(document) = whole {
        gateway = gateway_of(document);
        let root = At::root(document);
        match gateway {
            Some(Gateway::Kong) => kong::take(root.clone(), &mut draft, &mut notes),
            Some(Gateway::Envoy) => envoy::take(root.clone(), described, &mut draft, &mut notes),
            None => {}
        }
        notes.leave_the_rest(&root);
    }
    for document in documents
        .iter()
        .filter(|document| whole.is_some_and(|whole| !std::ptr::eq(*document, whole)))
    {
        notes.left(
            &At::root(document),
            "of several documents in a file the first is taken over: split the file",
        );
    }
    let edge = draft.to_value();
    let mut notes_in_order = notes.list;
    notes_in_order.sort_by_key(|note| note.place);
    let host = match gateway {
        Some(Gateway::Kong) => Host::Kong,
        _ => Host::Envoy,
    };
    let errors = edge
        .as_ref()
        .map(|edge| errors(edge, host))
        .unwrap_or_default();
    let file = match (&edge, gateway, whole) {
        (Some(edge), Some(Gateway::Kong), Some(document)) => {
            Some(whole::kong(document.to_json(), edge, &draft.replaced))
        }
        (Some(edge), Some(Gateway::Envoy), Some(document)) => {
            whole::envoy(document.to_json(), edge, &draft.replaced, &notes.variables)
        }
        _ => None,
    };
    Ok(Imported {
        edge,
        file,
        notes: notes_in_order,
        variables: notes.variables,
        errors,
    })
}

fn errors(edge: &Value, host: Host) -> Vec<String> {
    let variables = Variables::assumed(edge);
    let filter = Filter::named("edge");
    let errors = filter
        .map(|filter| filter.errors(edge, host, &variables))
        .unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}
