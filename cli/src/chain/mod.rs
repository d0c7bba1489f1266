//! What a filter stands among: the chain that it is part of, the routes behind it, and what else goes by them.

pub(crate) mod envoy;
pub(crate) mod kong;

use crate::document::Place;
use crate::routes::Route;

/// A chain of filters.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The filters, in their order.
    pub links: Vec<Link>,
    /// Where their requests go.
    pub routes: Routes,
    /// What pages of other origins may read.
    pub cors: Vec<Cors>,
    /// Whether routes cut off what they match before requests go on.
    pub strips_paths: bool,
}

/// A filter of a chain.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
    /// Where it is switched off.
    pub off: Option<Place>,
}

/// What is known of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It sends requests on; nothing behind it is asked.
    Terminal,
    /// It answers out of a cache.
    Cache,
    /// It writes the headers by which a page may read an answer.
    Cors,
    /// It leaves paths and headers alone, but for its own.
    Harmless,
    /// It may do anything, also to the path.
    Any,
}

/// Where requests go.
#[derive(Clone, Debug, Default)]
pub enum Routes {
    /// It is said elsewhere.
    #[default]
    Unknown,
    /// Here.
    Known(Vec<Route>),
    /// Where routes of this name are.
    Named(String),
}

/// What pages of other origins may read.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Where that is said.
    pub place: Place,
    /// The headers, in lower case; `*` is all of them.
    pub exposed: Vec<String>,
}

impl Chain {
    /// The routes, where all of them are known.
    #[must_use]
    pub fn routes(&self) -> Option<&[Route]> {
        match &self.routes {
            Routes::Known(routes) if !routes.is_empty() => Some(routes),
            _ => None,
        }
    }

    /// Whether none of the others can change a request's path.
    #[must_use]
    pub fn leaves_paths(&self, ours: &[usize]) -> bool {
        let links = self.links.iter().enumerate();
        let mut others = links.filter(|(index, _)| !ours.contains(index));
        others.all(|(_, link)| link.kind != Kind::Any)
    }
}
