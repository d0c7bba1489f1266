//! Tables of requests and of what is to come of them: what `portcullis test` runs.

mod expect;
mod fields;
pub mod junit;
mod read;
pub mod run;

use std::net::IpAddr;

use portcullis_policy::{Span, Timestamp};
use serde_json::Value;

pub use self::expect::Expected;
pub use self::fields::{At, Wrong};
pub use self::read::read;
use crate::document::Place;
use crate::filter::{Filter, Host};
use crate::requests::Asked;
use crate::trial::Upstream;

/// A file of cases.
pub struct Cases {
    /// The configuration that they are about, as the file names it.
    pub configuration: At<String>,
    /// The configuration is that of this filter, and nothing is around it.
    pub filter: Option<(Filter, Host)>,
    /// Which chain of filters is meant, from 1.
    pub chain: Option<usize>,
    /// The gateway's variables.
    pub variables: Vec<(String, String)>,
    /// What the URLs of key sets hold: files, as they are named.
    pub keys: Vec<At<(String, String)>>,
    /// When each case begins.
    pub at: Timestamp,
    /// The tokens that requests may have.
    pub tokens: Vec<Token>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// A token by a name.
#[derive(Clone, Debug)]
pub struct Token {
    /// How requests name it.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Whose it is; the only provider's where that is not named.
    pub provider: Option<String>,
    /// What it says beside what all of the provider's say.
    pub claims: Vec<(Vec<String>, Value)>,
    /// How long it lives.
    pub ttl: Option<Span>,
    /// Which key signs it: `kid`.
    pub kid: Option<String>,
    /// The file with the private key that signs it.
    pub key: Option<String>,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What happens, one after another.
    pub steps: Vec<Step>,
}

/// Requests that are alike, and what is to come of them.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands.
    pub place: Place,
    /// The request.
    pub asked: Asked,
    /// The token that it has.
    pub token: Option<At<String>>,
    /// Who sends it, where that is not everybody's.
    pub client: Option<IpAddr>,
    /// The name of the route that the gateway has chosen.
    pub route: Option<String>,
    /// How long after the step before.
    pub wait: Span,
    /// How often it is sent.
    pub repeat: u32,
    /// Within how long.
    pub over: Option<Span>,
    /// What the backend answers.
    pub upstream: Upstream,
    /// What is to come of it.
    pub expected: Expected,
}
