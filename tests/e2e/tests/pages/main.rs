//! The pages that lead from nothing to a guarded request: their commands, as they are printed.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use portcullis_e2e::{page, repository};

#[test]
fn the_ten_minutes_with_envoy_end_with_a_guarded_request() -> Result<()> {
    // The ports that the page names.
    for port in [3402, 8000, 9901] {
        if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
            let why = format!("port {port} of docs/ten-minutes-envoy.md can't be had: {error}");
            if env::var_os("CI").is_some() {
                bail!(why);
            }
            writeln!(std::io::stderr(), "the page's commands were not run: {why}")?;
            return Ok(());
        }
    }
    // What the page runs beside the rest is waited for, and compiling it may take longer than that.
    let mut build = Command::new(env::var_os("CARGO").context("no CARGO")?);
    let build = build.args(["build", "--quiet", "--package", "portcullis-backend"]);
    assert!(build.current_dir(repository()).status()?.success());
    let page = fs::read_to_string(repository().join("docs/ten-minutes-envoy.md"))?;
    let script = page::script(&page)?;
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(repository())
        .stdin(Stdio::null())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{script}\n{said}");
    Ok(())
}
