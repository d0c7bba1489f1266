//! Why a backend does not start.

use std::fmt;
use std::io;

use portcullis_service_token_verifier::SetupError;

/// Why a backend did not start.
#[derive(Debug)]
pub enum StartError {
    /// The service token is the empty string, which every request without one would match.
    EmptyToken,
    /// The service token can't be one.
    Token(SetupError),
    /// An address cannot be bound.
    Bind {
        /// The address as it was given.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The search index cannot be built.
    Index(String),
    /// There can be no client for upstreams.
    Client(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyToken => f.write_str("the service token is empty"),
            Self::Token(error) => error.fmt(f),
            Self::Bind { addr, source } => write!(f, "cannot listen at {addr}: {source}"),
            Self::Index(reason) => write!(f, "cannot build the search index: {reason}"),
            Self::Client(reason) => write!(f, "cannot build the client for upstreams: {reason}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::EmptyToken | Self::Token(_) | Self::Index(_) | Self::Client(_) => None,
        }
    }
}
