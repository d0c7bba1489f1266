//! The commands of the stack's page, as they are printed.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portcullis_e2e::{page, repository};
use tokio::process::Command;
use tokio::time::timeout;

use crate::stack::stack;

/// For images that are there, and a stack that starts.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_pages_commands_start_a_stack_ask_it_and_take_it_away() -> Result<()> {
    let stack = stack().await?;
    let kind = stack.kind;
    let secrets = repository().join(kind.directory()).join(".env");
    if secrets.exists() {
        let shown = secrets.display();
        let why = format!("{shown} is there: the stack of whoever works here may be up");
        assert!(env::var_os("CI").is_none(), "{why}");
        writeln!(std::io::stderr(), "the page's commands were not run: {why}")?;
        return Ok(());
    }
    let page = fs::read_to_string(repository().join(kind.page()))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let script = page::script(&page)?.replace(":8000", &format!(":{port}"));
    let mut run = Command::new("bash");
    run.args(["-c", &script]).current_dir(repository());
    // Not those of the stack that the other tests have.
    for name in [
        "COMPOSE_PROJECT_NAME",
        "JWT_SECRET_KEY",
        "INTER_SERVICE_SECRET",
        "PORTCULLIS_EDGE_CONFIG",
        "PORTCULLIS_EGRESS_CONFIG",
    ] {
        run.env_remove(name);
    }
    run.env("PORTCULLIS_PORT", port.to_string())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, run.output()).await;
    // Also where a command has failed.
    let mut down = Command::new(env::var_os("CARGO").context("no CARGO")?);
    let down = down
        .args(["xtask", "down", kind.directory()])
        .current_dir(repository());
    for name in [
        "COMPOSE_PROJECT_NAME",
        "PORTCULLIS_EDGE_CONFIG",
        "PORTCULLIS_EGRESS_CONFIG",
    ] {
        down.env_remove(name);
    }
    let down = down.output().await;
    // It is not there where the first command has failed.
    let _ = fs::remove_file(&secrets);
    let output = output.context("the page's commands do not end")??;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{script}\n{said}");
    assert!(down?.status.success());
    Ok(())
}
