//! `cargo xtask demo`: gateways in front of a backend and a model, on this machine, and a tour of what they do.
//!
//! The tour checks what it shows: where an answer is not as it says, it ends with an error.

mod curl;
mod faults;
mod page;
mod stage;
mod streams;
mod tour;

use std::cell::Cell;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::workspace::Workspace;
use crate::{build, port, tools};

use stage::Stage;

/// How to run the demo.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Leave everything running until interrupted.
    #[arg(long)]
    pub keep: bool,
    /// A backend of your own, as http://host:port, instead of the one that comes with the demo. It is
    /// shown INTER_SERVICE_SECRET from the environment.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The filters as native code instead of as Wasm.
    #[arg(long)]
    pub native: bool,
    /// The gateway's port on this machine; without it, a free one.
    #[arg(long)]
    pub port: Option<u16>,
}

/// Runs the demo.
///
/// # Errors
/// What can't be started, or what was not as the tour says.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::here();
    // What a person may have typed wrong comes before what takes minutes.
    let upstream = args.upstream.as_deref().map(resolve).transpose()?;
    if let Some(port) = args.port {
        port::check(
            port,
            "name another with --port, or leave it out and a free one is chosen",
        )?;
    }
    println!("Building the filters and finding an Envoy");
    build::run(&workspace)?;
    let envoy = tools::envoy(&workspace)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let toured = Cell::new(false);
        // Whatever comes first, all that was started ends with the future that started it.
        tokio::select! {
            outcome = show(args, envoy, upstream, &toured) => outcome,
            interrupt = tokio::signal::ctrl_c() => interrupt.map_err(Into::into).and_then(|()| ended(&toured)),
            _ = terminate.recv() => ended(&toured),
            _ = hang_up.recv() => ended(&toured),
        }
    })
}

async fn show(
    args: &Args,
    envoy: PathBuf,
    upstream: Option<SocketAddr>,
    toured: &Cell<bool>,
) -> Result<()> {
    let stage = Stage::set(envoy, upstream, args.port.unwrap_or(0), args.native).await?;
    if let Err(error) = tour::walk(&stage).await {
        return Err(error.context(format!("the gateways' last lines:\n{}", stage.last_lines())));
    }
    toured.set(true);
    if args.keep {
        println!("\nEverything keeps running; ctrl-C ends it. To go on by hand:\n");
        println!("export TOKEN={}", stage.token());
        println!("export FOREIGN_TOKEN={}", stage.foreign_token());
        println!(
            "curl -i '{}' -H \"Authorization: Bearer $TOKEN\"",
            stage.url(tour::SEARCH)
        );
        if let Some(models) = stage.models() {
            let chat = streams::chat(models, stage.token());
            println!("\n{}\n{chat}", chat.sets_body().unwrap_or_default());
        }
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// What an interruption means: after the tour it is how `--keep` ends.
fn ended(toured: &Cell<bool>) -> Result<()> {
    println!();
    if !toured.get() {
        bail!("interrupted before the end of the tour");
    }
    Ok(())
}

fn resolve(url: &str) -> Result<SocketAddr> {
    let rest = url.strip_prefix("http://").with_context(|| {
        format!("--upstream {url:?} is not one; expected http://host:port (the demo speaks no TLS)")
    })?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '@']) {
        bail!("--upstream {url:?} has more than a host and a port; expected http://host:port");
    }
    let with_port = if authority
        .rsplit(']')
        .next()
        .is_some_and(|end| end.contains(':'))
    {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let found = with_port
        .to_socket_addrs()
        .with_context(|| format!("can't resolve --upstream {url:?}"))?;
    let mut found: Vec<SocketAddr> = found.collect();
    // A name that has both is, on this machine, mostly served at the old one.
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .with_context(|| format!("--upstream {url:?} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        assert_eq!(
            resolve("http://127.0.0.1:3402").unwrap(),
            "127.0.0.1:3402".parse().unwrap()
        );
        assert_eq!(
            resolve("http://127.0.0.1/").unwrap(),
            "127.0.0.1:80".parse().unwrap()
        );
        assert_eq!(
            resolve("http://[::1]:3402").unwrap(),
            "[::1]:3402".parse().unwrap()
        );
        for wrong in [
            "https://127.0.0.1",
            "127.0.0.1:3402",
            "http://127.0.0.1/api",
            "http://a@127.0.0.1",
        ] {
            assert!(
                resolve(wrong)
                    .unwrap_err()
                    .to_string()
                    .contains("expected http://host:port"),
                "{wrong}"
            );
        }
    }
}
