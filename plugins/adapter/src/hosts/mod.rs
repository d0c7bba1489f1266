//! The hosts that differ, a folder each, and what both do alike.

mod common;
mod envoy;
mod kong;

use portcullis_policy::Policy;

use crate::abi;
use crate::context::Root;

/// Registers a policy on the host at hand. WASI tells which it is at any time, also while a filter is configured: Envoy
/// knows the standard output, ngx_wasm_module no descriptor at all. (Properties don't tell: outside of a request reading
/// one ends Kong's worker.)
pub(crate) fn install<P: Policy + 'static>() {
    proxy_wasm::set_root_context(|id| match abi::knows_stdout() {
        true => Box::new(Root::<P, _>::new(id, envoy::Envoy)),
        false => Box::new(Root::<P, _>::new(id, kong::Kong)),
    });
}
