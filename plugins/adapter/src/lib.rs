//! Carries a policy's decisions out on a proxy-wasm host, and decides nothing itself.
//!
//! The SDK dispatches the host's callbacks. Its wrappers of host calls are not used: they panic on
//! statuses that they do not expect, and a panic here takes other people's requests down. Ours
//! ([`abi`]) turn every status into a value.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod abi;
mod calls;
mod configuration;
mod context;
mod head;
mod headers;
mod host;
mod ports;
mod reply;
mod telemetry;
mod view;

use portcullis_policy::Policy;

/// Makes a filter of a policy: the one line of a filter crate.
#[macro_export]
macro_rules! filter {
    ($policy:ty) => {
        $crate::__main! {{ $crate::install::<$policy>(); }}
    };
}

#[doc(hidden)]
pub use calls::portcullis_on_http_call_response;
#[doc(hidden)]
pub use proxy_wasm::main as __main;

/// Registers a policy with the SDK. [`filter!`] calls it.
pub fn install<P: Policy + 'static>() {
    telemetry::install_logger();
    proxy_wasm::set_root_context(|id| Box::new(context::Root::<P>::new(id)));
}
