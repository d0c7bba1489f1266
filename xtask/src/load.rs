//! `cargo xtask load`: many users at a time, for as long as it takes to see what a gateway does then.
//!
//! Against a gateway of one's own, or one that it starts itself. Of that one it shows also where its
//! limits are: the limiter's and the breaker's.

mod profile;
mod scenes;
mod stage;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command::{cargo, run as run_command};
use crate::workspace::Workspace;
use crate::{build, tools};

use profile::Profile;
use stage::Stage;

/// Where the users' crate is.
pub const DIR: &str = "tests/load";

/// How to load what.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A gateway of your own, such as http://127.0.0.1:8000, instead of one that is started here.
    #[arg(long)]
    pub url: Option<String>,
    /// The environment variable that holds the users' token, for a gateway of your own.
    #[arg(long, default_value = "TOKEN", value_name = "NAME")]
    pub token_env: String,
    /// In half a minute instead of five.
    #[arg(long)]
    pub short: bool,
    /// Where the report goes.
    #[arg(
        long,
        default_value = "target/load/report.html",
        value_name = "FILE.html"
    )]
    pub report: PathBuf,
}

impl Args {
    /// What a test run does.
    #[must_use]
    pub fn of_a_test_run() -> Self {
        Self {
            url: None,
            token_env: "TOKEN".to_owned(),
            short: true,
            report: "target/load/report.html".into(),
        }
    }
}

/// Loads a gateway.
///
/// # Errors
/// Something is missing, too many requests failed or took too long, or a limit is not where it should
/// be.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let profile = Profile::shipped()?;
    println!("Building the users");
    run_command(&mut users("build", workspace))?;
    if let Some(url) = &args.url {
        let token = env::var(&args.token_env).with_context(|| {
            format!(
                "{} holds the users' token and is not set; `cargo xtask token` prints one",
                args.token_env
            )
        })?;
        return load(&profile, url, &token, args, workspace);
    }
    println!("Building the filters and finding an Envoy");
    build::run(workspace)?;
    let envoy = tools::envoy(workspace)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let stage = runtime.block_on(Stage::set(envoy))?;
    println!(
        "A gateway listens at {}, with envoy/edge.yaml; it believes the addresses of the users.",
        stage.url("")
    );
    // The backend goes on meanwhile, on the runtime's threads.
    load(&profile, &stage.url(""), stage.token(), args, workspace)?;
    runtime.block_on(async {
        scenes::limit(&stage).await?;
        scenes::breaker(&stage).await
    })
}

/// Starts the users and waits for the last one.
fn load(
    profile: &Profile,
    url: &str,
    token: &str,
    args: &Args,
    workspace: &Workspace,
) -> Result<()> {
    let report = workspace.root().join(&args.report);
    let folder = report.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("can't write {}", folder.display()))?;
    let mut users = users("run", workspace);
    users.env("TOKEN", token);
    users.args(["--", "--host", url]);
    users.args(profile.options(args.short));
    users.arg("--report-file").arg(&report);
    // Its own lines are of each user.
    users.args(["--no-telnet", "--no-print-metrics", "--quiet"]);
    run_command(&mut users).with_context(|| {
        format!(
            "the gateway did not hold what {DIR}/profile.json asks for. If most answers were 429: to a \
             gateway that does not believe x-forwarded-for, all users are one client; see docs/load.md"
        )
    })?;
    println!("The report is in {}", workspace.shown(&report));
    Ok(())
}

/// Cargo, for the users' crate.
fn users(what: &str, workspace: &Workspace) -> Command {
    let mut command = cargo(workspace);
    command.args([what, "--quiet", "--locked", "--manifest-path"]);
    command.arg(format!("{DIR}/Cargo.toml"));
    command.arg("--target-dir").arg(workspace.cargo_target());
    command
}
