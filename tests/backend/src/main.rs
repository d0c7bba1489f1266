//! The RAG backend as a program, or what it depends on. It prints one JSON line with its addresses when it is ready, and
//! stops in good order on Ctrl-C or SIGTERM.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use portcullis_backend::{Backend, Role, UpstreamSettings, probe};
use tokio::signal::unix::{SignalKind, signal};

/// A small RAG service: search, streamed answers, and faults on demand. Or a stand-in for Ollama or Qdrant.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Whom it speaks as.
    #[arg(long, value_enum, default_value_t, env = "DEMO_ROLE")]
    role: Role,

    /// Address to serve at, as host:port; port 0 takes a free one.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:3000",
        env = "DEMO_LISTEN"
    )]
    listen: String,

    /// Address of the control listener, which exists only with --test-routes.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:0",
        env = "DEMO_CONTROL"
    )]
    control: String,

    /// Environment variable that holds the secret expected in X-Service-Token. Without this option nothing is checked.
    #[arg(long, value_name = "NAME", env = "DEMO_SERVICE_TOKEN_ENV")]
    service_token_env: Option<String>,

    /// Open the control listener, /_test/echo and the request header x-demo-fault. Never where strangers can reach it.
    #[arg(long, env = "DEMO_TEST_ROUTES")]
    test_routes: bool,

    /// Pause between two events, or two tokens, of a streamed answer, in milliseconds.
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 25,
        env = "DEMO_EVENT_DELAY_MS"
    )]
    event_delay_ms: u64,

    #[command(flatten)]
    upstreams: Upstreams,

    /// The nodes of the cluster, for --role qdrant; this one may be among them.
    #[arg(
        long,
        value_name = "URL",
        value_delimiter = ',',
        env = "DEMO_QDRANT_PEERS"
    )]
    peers: Vec<String>,
}

/// What a RAG service embeds, searches and writes by. Without Ollama and Qdrant it does so itself.
#[derive(clap::Args)]
struct Upstreams {
    /// Ollama, or the gateway before it.
    #[arg(long, value_name = "URL", env = "OLLAMA_BASE_URL")]
    ollama_url: Option<String>,

    /// Qdrant, or the gateway before it.
    #[arg(long, value_name = "URL", env = "QDRANT_URL")]
    qdrant_url: Option<String>,

    /// The collection that is searched.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "docs_index_mxbai",
        env = "QDRANT_COLLECTION"
    )]
    collection: String,

    /// The model that makes vectors of texts.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "mxbai-embed-large",
        env = "EMBEDDING_MODEL"
    )]
    embedding_model: String,

    /// The model that writes.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "llama3.2:3b",
        env = "GENERATION_MODEL"
    )]
    generation_model: String,

    /// Where the gateway before them shows the states of its breakers, for the health route.
    #[arg(long, value_name = "URL", env = "DEMO_BREAKERS_URL")]
    breakers_url: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Exit with success if the service at --listen, or URL, answers 2xx within two seconds.
    Health {
        /// What to ask instead.
        url: Option<String>,
    },
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
    if let Some(Command::Health { url }) = &args.command {
        let url = url.clone().unwrap_or_else(|| args.own_health());
        return Ok(probe(&url, secret.as_deref()).await?);
    }
    // Before anything is served, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let backend = Backend::builder()
        .bind(&args.listen)
        .control(&args.control)
        .service_token(secret)
        .test_routes(args.test_routes)
        .event_delay(Duration::from_millis(args.event_delay_ms))
        .role(args.role)
        .upstreams(args.upstreams.settings())
        .peers(args.peers)
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

impl Args {
    /// The health of a service that was started with the same arguments.
    fn own_health(&self) -> String {
        let (host, port) = self.listen.rsplit_once(':').unwrap_or((&self.listen, "80"));
        // A service that listens at every address is asked at this machine's.
        let host = match host {
            "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            host => host,
        };
        format!("http://{host}:{port}{}", self.role.health_path())
    }
}

impl Upstreams {
    /// A variable that is set to nothing is none.
    fn settings(self) -> Option<UpstreamSettings> {
        let given = |url: Option<String>| url.filter(|url| !url.is_empty());
        let (ollama, qdrant) = (given(self.ollama_url)?, given(self.qdrant_url)?);
        Some(UpstreamSettings {
            collection: self.collection,
            embedding_model: self.embedding_model,
            generation_model: self.generation_model,
            breakers: given(self.breakers_url),
            ..UpstreamSettings::new(ollama, qdrant)
        })
    }
}
