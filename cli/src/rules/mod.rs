//! What is right, and does not do what it seems to.

pub(crate) mod chain;
pub(crate) mod gateway;
pub(crate) mod hidden;
pub(crate) mod keys;
pub(crate) mod kong;
pub(crate) mod limits;
pub(crate) mod reach;
pub(crate) mod secrets;
pub(crate) mod trust;
pub(crate) mod waits;

use std::rc::Rc;

use crate::chain::Routes;
use crate::configured::Configured;
use crate::document::{Content, Node, Place};
use crate::filter::{Host, Taken};
use crate::finding::Finding;
use crate::routes::Route;

/// A file: what else there is beside a filter.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    /// All filters of the document.
    pub(crate) all: &'a [Configured],
    /// Routes of the file that stand for themselves.
    pub(crate) routes: &'a [(String, Routes)],
}

/// What is found of a filter whose configuration can be put in force.
pub(crate) fn of_filter(configured: &Configured, taken: Taken, around: Around<'_>) -> Vec<Finding> {
    let mut findings = limits::idle_limits(configured);
    findings.extend(gateway::bodies_not_shown(configured, taken));
    findings.extend(hidden::hidden(configured));
    findings.extend(trust::trusted_strangers(configured));
    let mut of_place = of_place(configured, around);
    // One configuration may stand in several chains by an alias: what is idle in one of them is not in another.
    let is_twin = |other: &&Configured| other.config.written == configured.config.written;
    let twins: Vec<Vec<Finding>> = match configured.config.written.start {
        0 => Vec::new(),
        _ => {
            let twins = around.all.iter().filter(is_twin);
            twins.map(|twin| self::of_place(twin, around)).collect()
        }
    };
    of_place.retain(|finding| {
        let is_same = |other: &Finding| (other.code, other.place) == (finding.code, finding.place);
        twins.iter().all(|twin| twin.iter().any(is_same))
    });
    findings.extend(of_place);
    findings
}

/// What is found since a filter stands where it does.
fn of_place(configured: &Configured, around: Around<'_>) -> Vec<Finding> {
    let mut findings = reach::unreached(configured, around);
    findings.extend(keys::missing_parts(configured, around));
    findings.extend(waits::never_waited(configured, around));
    findings
}

/// What is found of all filters of a document together.
pub(crate) fn of_all(around: Around<'_>) -> Vec<Finding> {
    let mut findings = gateway::open_routes(around.all);
    for configured in around.all {
        findings.extend(chain::not_asked(configured));
        findings.extend(chain::separate(configured, around));
        findings.extend(chain::hidden_from_pages(configured, around));
    }
    findings
}

impl<'a> Around<'a> {
    /// The routes of a filter's requests, where all of them are known.
    fn routes(self, configured: &'a Configured) -> Option<&'a [Route]> {
        let chain = configured.chain.as_deref()?;
        let Routes::Named(name) = &chain.routes else {
            return chain.routes();
        };
        let mut named = self.routes.iter().filter(|(known, _)| known == name);
        match (named.next()?, named.next()) {
            ((_, Routes::Known(routes)), None) if !routes.is_empty() => Some(routes),
            _ => None,
        }
    }

    /// The filters of ours in a filter's chain, itself among them.
    fn in_chain(self, configured: &'a Configured) -> impl Iterator<Item = &'a Configured> {
        let own = configured.chain.as_ref();
        self.all.iter().filter(move |other| {
            let other = other.chain.as_ref().filter(|_| other.link.is_some());
            own.zip(other)
                .is_some_and(|(own, other)| Rc::ptr_eq(own, other))
        })
    }
}

/// The items of a list in one of the plugins' parts.
fn items<'a>(configured: &'a Configured, part: &str, list: &str) -> &'a [Node] {
    let list = configured.part(part).and_then(|part| part.get(list));
    list.map_or(&[], Node::items)
}

/// Whether something is switched off by its `mode`.
fn is_off(node: &Node) -> bool {
    node.get("mode").and_then(Node::text) == Some("off")
}

/// Whether a plugin is there, and is not switched off.
fn is_at_work(configured: &Configured, part: &str) -> bool {
    configured.part(part).is_some_and(|part| !is_off(part))
}

/// The first value in it that is neither a list nor fields.
fn first_value(node: &Node) -> Place {
    let inner = match &node.content {
        Content::Map(fields) => fields.first().map(|field| &field.value),
        Content::List(items) => items.first(),
        _ => None,
    };
    inner.map_or_else(|| node.place(), first_value)
}

/// What a limit, a breaker or another entry is called; where it is none of these, what its place in the list is.
fn called(list: &str, index: usize, entry: &Node) -> String {
    match entry.get("name").and_then(Node::text) {
        Some(name) => format!("{name:?}"),
        None => format!("{list}[{index}]"),
    }
}

/// Whether it is Kong that loads it.
fn is_of_kong(configured: &Configured) -> bool {
    configured.host == Host::Kong
}
