//! The language that every Portcullis plugin is written in.
//!
//! A [`Policy`] is a pure function of what it is shown: a [`Request`] or [`Response`], and the
//! [`Ports`] (clock, entropy, shared store, telemetry). It answers with a [`Verdict`]; whoever
//! called it carries the verdict out. Nothing here knows a gateway.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::unreachable))]

#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate portcullis_sim;

mod abilities;
mod address;
mod call;
mod control;
mod edits;
mod failure;
mod forwarded;
mod headers;
mod host;
mod node;
mod origin;
mod parameters;
mod path;
mod policy;
mod preflight;
mod reply;
mod request;
mod slot;
mod spelling;
mod store;
mod telemetry;
#[cfg(test)]
mod test_ports;
mod time;

pub mod config;

pub use abilities::Abilities;
pub use address::{ClientAddress, FoundAddress, parse_peer};
pub use call::{BodyError, CallId, CallReply, HttpCall, MOST_CALLS, NoReply};
pub use control::{Answer, CallerNames, Command, Control, Controlled, Failed, KeyNamed, Turn};
pub use edits::{HeaderEdit, RequestEdits, ResponseEdits, Splice, clear_spellings};
pub use failure::{
    Failure, FailureBy, FailureLines, FailureSettings, Failures, Fate, SpecialFailure,
};
pub use headers::{Duplicated, Headers};
pub use host::{AmbiguousHost, parse as parse_host};
pub use node::UNIX_PEER;
pub use origin::Origin;
pub use parameters::{
    cookie_pairs, cookie_value, form_decoded, percent_decoded, query_pairs, query_value, unquoted,
};
pub use path::{AmbiguousPath, CanonicalPath};
pub use policy::{
    BodyEnd, Clock, ClockUnavailable, Ending, Entropy, EntropyUnavailable, Environment,
    HostFailure, Policy, Ports, Setup, Verdict,
};
pub use reply::{GrpcStatus, LocalReply, Problem};
pub use request::{PeerAddress, Request, Response, Sent};
pub use slot::{
    Fixed, Layout, Reader, Seen, SeenBytes, SlotError, SlotInPlace, SlotKey, Step, Writer,
    colliding, create, look, read, update, update_from,
};
pub use spelling::{is_folded, spelled_like};
pub use store::{
    CasStatus, CountedConflicts, Expected, RawSharedData, SharedData, SharedStore, StoreError,
    Stored, Version,
};
pub use telemetry::{Counter, Gauge, Histogram, LogLine, MetricKind, MetricRegistry, Telemetry};
pub use time::{Span, Timestamp};
