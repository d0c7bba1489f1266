//! Filters that do nothing: what is left is what any filter costs.

use std::fmt::Write as _;

use anyhow::Result;

/// Which callbacks a filter exports. Envoy calls each for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callbacks {
    /// All that ours have in a build for both gateways.
    All,
    /// The heads of request and response.
    Heads,
}

/// The parameters and what is returned: 0 lets a stream go on, 1 agrees.
const HEADS: &[(&str, u32, Option<u32>)] = &[
    ("proxy_on_context_create", 2, None),
    ("proxy_on_vm_start", 2, Some(1)),
    ("proxy_on_configure", 2, Some(1)),
    ("proxy_on_request_headers", 3, Some(0)),
    ("proxy_on_response_headers", 3, Some(0)),
];

const OTHERS: &[(&str, u32, Option<u32>)] = &[
    ("proxy_on_request_body", 3, Some(0)),
    ("proxy_on_response_body", 3, Some(0)),
    ("proxy_on_response_trailers", 2, Some(0)),
    ("proxy_on_done", 1, Some(1)),
    ("proxy_on_log", 1, None),
    ("proxy_on_delete", 1, None),
    ("proxy_on_tick", 1, None),
];

/// The module of such a filter.
pub(crate) fn module(callbacks: Callbacks) -> Result<Vec<u8>> {
    let others = match callbacks {
        Callbacks::All => OTHERS,
        Callbacks::Heads => &[],
    };
    let mut text = String::from(
        r#"(module (memory (export "memory") 2)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))"#,
    );
    for (name, parameters, returned) in HEADS.iter().chain(others) {
        let parameters = "i32 ".repeat(*parameters as usize);
        let returned = returned.map(|value| format!("(result i32) (i32.const {value})"));
        let returned = returned.unwrap_or_default();
        // Writing into a String does not fail.
        let _ = write!(
            text,
            "(func (export \"{name}\") (param {parameters}) {returned})"
        );
    }
    text.push(')');
    Ok(wat::parse_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_modules() -> Result<()> {
        let (all, heads) = (module(Callbacks::All)?, module(Callbacks::Heads)?);
        assert!(all.starts_with(b"\0asm") && heads.starts_with(b"\0asm"));
        assert!(all.len() > heads.len());
        Ok(())
    }
}
