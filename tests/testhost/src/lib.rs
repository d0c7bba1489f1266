//! An in-process proxy-wasm 0.2.1 host: runs a real `.wasm` filter as Envoy would, or as Kong's data plane would.
//!
//! Both gateways call themselves proxy-wasm hosts, and yet one filter meets two machines: shared data has two
//! compare-and-swap dialects, removing a header works on one and not on the other, and a connect failure is a response
//! on one and silence on the other. Tests against the real gateways are slow and can't place a fault where it hurts.
//! This host does what each gateway was measured to do (Envoy 1.40.0 with V8; nginx 1.25.3 with the ngx_wasm_module
//! of Kong 3.9.3), fails any host call on demand, and counts what a request costs.
//!
//! - [`Host`] is one gateway process: workers, shared data, clock, metrics, log. There is no global state.
//! - [`Host::request`], [`Host::respond`] and [`Host::finish`] drive one exchange through the filter's callbacks, in the
//!   order and with the omissions of the gateway in question. Exchanges may be interleaved, and cross workers and
//!   reloads.
//! - [`Zone`] is the shared data: torn reads, eviction, keys that alias, writes by somebody else in between.
//! - [`FailRule`] makes host calls fail; [`Calls`] counts them.
//!
//! What is not modelled: bodies and trailers, gRPC calls, shared queues, Envoy's back-off after a trap (the next request
//! simply finds a new VM), and the extra instance that Envoy keeps on its main thread.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod call_answers;
mod callout;
mod calls;
mod end;
mod exchange;
mod failures;
mod flow;
mod guest;
mod headers;
mod host;
mod hostcalls;
mod instance;
mod local_reply;
mod log;
mod metrics;
mod module;
mod peer;
mod properties;
mod request;
mod response;
mod start;
mod start_error;
mod state;
mod stream;
mod trap;
mod wasi;

#[cfg(test)]
mod tests;

pub use callout::{CallFailure, CallReply, PendingCall};
pub use calls::{CallCount, Calls};
pub use end::End;
pub use exchange::{Exchange, Finished, Outcome, ResponseHead};
pub use failures::FailRule;
pub use host::Host;
pub use log::{LogLevel, LogLine};
pub use module::Module;
pub use portcullis_sim::{Dialect, SetResult, Zone};
pub use request::Request;
pub use response::{Response, ResponseOrigin};
pub use start::HostBuilder;
pub use start_error::StartError;
pub use trap::Trap;
