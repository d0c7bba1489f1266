//! The driver on proxy-wasm: callbacks in, host calls out. `hosts` has a folder for each host, and the line that tells
//! which of them is at hand.
//!
//! The SDK dispatches the host's callbacks. Its wrappers of host calls are not used: they panic on
//! statuses that they do not expect, and a panic here takes other people's requests down. Ours
//! ([`abi`]) turn every status into a value.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod abi;
mod answers;
mod build;
mod configuration;
mod context;
mod headers;
mod hosts;
mod store;
mod worker;

use portcullis_driver::Logger;
use portcullis_policy::Policy;

/// Two-level segregated fit (Masmano et al., 2004): a request allocates and frees some dozen times.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// Makes a filter of a policy: the one line of a filter crate.
#[macro_export]
macro_rules! filter {
    ($policy:ty) => {
        $crate::__main! {{ $crate::install::<$policy>(); }}
    };
}

#[doc(hidden)]
pub use answers::portcullis_on_http_call_response;
#[doc(hidden)]
pub use proxy_wasm::main as __main;

/// Registers a policy with the SDK. [`filter!`] calls it.
pub fn install<P: Policy + 'static>() {
    static LOGGER: Logger = Logger(abi::log);
    LOGGER.install();
    hosts::install::<P>();
}
