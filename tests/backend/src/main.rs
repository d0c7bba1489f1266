//! The RAG backend as a program. It prints one JSON line with its addresses when it is ready, and stops in good order
//! on Ctrl-C or SIGTERM.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use portcullis_backend::Backend;
use tokio::signal::unix::{SignalKind, signal};

/// A small RAG service: search, streamed answers, and faults on demand.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to serve at, as host:port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: String,

    /// Address of the control listener, which exists only with --test-routes.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    control: String,

    /// Environment variable that holds the secret expected in X-Service-Token. Without this option nothing is checked.
    #[arg(long, value_name = "NAME")]
    service_token_env: Option<String>,

    /// Open the control listener, /_test/echo and the request header x-demo-fault. Never where strangers can reach it.
    #[arg(long)]
    test_routes: bool,

    /// Pause between two events of a streamed answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 25)]
    event_delay_ms: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let secret = match &args.service_token_env {
        // The error would show a value that is not UTF-8, so it is not passed on.
        Some(name) => match std::env::var(name) {
            Ok(secret) => Some(secret),
            Err(_) => anyhow::bail!("environment variable {name} is not set, or not UTF-8"),
        },
        None => None,
    };
    // Before anything is served, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let backend = Backend::builder()
        .bind(&args.listen)
        .control(&args.control)
        .service_token(secret)
        .test_routes(args.test_routes)
        .event_delay(Duration::from_millis(args.event_delay_ms))
        .start()
        .await?;
    let ready =
        serde_json::json!({ "listening": backend.addr(), "control": backend.control_addr() });
    writeln!(std::io::stdout(), "{ready}").context("standard output")?;

    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    backend.stop().await;
    Ok(())
}
