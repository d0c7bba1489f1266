//! What every host does alike: when a policy is asked what, that each request ends once, and how its answers are carried
//! out. A host is what implements [`Host`] and [`Exchange`]; nothing here knows one.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod body;
mod calls;
mod ending;
mod filter;
mod host;
mod logger;
mod number;
mod phase;
mod reading;
mod root;
mod stream;
mod telemetry;

pub use body::RequestBody;
pub use filter::Filter;
pub use host::{Exchange, Failed, Host, MetricId, StreamId};
pub use logger::{Logger, Severity};
pub use number::number;
pub use phase::Step;
pub use root::{Accepted, Root};
pub use stream::Stream;
