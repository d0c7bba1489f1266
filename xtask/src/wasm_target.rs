//! Rust's standard library for a Wasm target: there, or added.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{capture, run};

/// What the filters are built for: the gateways' ABI needs WASI's imports, preview 1.
pub const FILTERS: &str = "wasm32-wasip1";
/// What the pure crates are tested on, under Node.
pub const NODE: &str = "wasm32-unknown-unknown";

/// Makes sure that `target` can be built for.
///
/// # Errors
/// It is missing and can't be added; the message holds the command.
pub fn ensure(target: &str) -> Result<()> {
    if is_present(target)? {
        return Ok(());
    }
    eprintln!("Adding Rust's standard library for {target}");
    run(Command::new("rustup").args(["target", "add", target])).with_context(|| {
        format!(
            "Rust's standard library for {target} is missing; install rustup and run \
             `rustup target add {target}`, or install it with your system's packages"
        )
    })
}

/// What the compiler compiles for when it is not told: this machine.
///
/// # Errors
/// The compiler can't be asked, or does not say.
pub fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let says = capture(Command::new(rustc).arg("-vV"))?;
    let host = says.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it compiles for")?
        .to_owned())
}

/// Asks the compiler rather than rustup, which not every installation has.
fn is_present(target: &str) -> Result<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libdir =
        capture(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))?;
    Ok(Path::new(libdir.trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_target_is_seen_to_be_absent() {
        assert!(!is_present("thumbv6m-none-eabi").unwrap());
        assert!(is_present("no-such-target").is_err());
    }
}
