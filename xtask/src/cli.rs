//! The commands and their arguments.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{
    bench, build, coverage, demo, docker, docs, fuzz, lds, load, mutants, qdrant, release, schema,
    spelling, test, token, tools,
};

/// Builds, tests and shows the filters.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the five filters into target/filters, each with its .meta.json.
    Build,
    /// Write the .meta.json files that are committed under kong/filters.
    Schema(schema::Args),
    /// Build, check and test everything; the last line is the count.
    Test(test::Args),
    /// Try inputs that nobody thought of on what reads tokens, key sets and descriptions.
    Fuzz(fuzz::Args),
    /// Change the code, one place after another, and see whether a test notices; it takes hours.
    Mutants(mutants::Args),
    /// Count which lines the tests reach, crate by crate.
    Coverage(coverage::Args),
    /// Look for misspelt words.
    Spelling(spelling::Args),
    /// Build the pages as a site with a search, and follow its links.
    Docs(docs::Args),
    /// Put together what a release hands out: modules, images, their sums, a list of components, notes.
    Release(release::Args),
    /// Measure what a request costs, beside what Envoy has itself.
    Bench(bench::Args),
    /// Load a gateway with fifty users, and show where its limits are.
    Load(load::Args),
    /// Print a demo token.
    Token(token::Args),
    /// Start the demo.
    Demo(demo::Args),
    /// Run Envoy with these arguments: the one of ENVOY_BIN, the one on PATH, or a fetched one.
    Envoy {
        /// What Envoy is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Make two files of an Envoy configuration, so that Envoy takes changes while it runs.
    Lds(lds::Args),
    /// Write new secrets into a stack's .env, unless it has one.
    Env(docker::SecretsArgs),
    /// Build a stack's Docker images.
    Images(docker::ImagesArgs),
    /// Start a stack on Docker: the gateways, the services behind them, and what these need.
    Up(docker::Up),
    /// Take a stack away.
    Down(docker::Down),
    /// Create a collection of a model's real dimension, or copy one to a cluster.
    #[command(subcommand)]
    Qdrant(qdrant::Command),
}

impl Cli {
    /// Carries out the command.
    ///
    /// # Errors
    /// What went wrong and what to do about it.
    pub fn run(self) -> Result<ExitCode> {
        let workspace = Workspace::here();
        match self.command {
            Command::Build => build::run(&workspace)?,
            Command::Schema(args) => schema::run(&args, &workspace)?,
            Command::Test(args) => return test::run(&args, &workspace),
            Command::Fuzz(args) => fuzz::run(&args, &workspace, &mut test::Tally::default())?,
            Command::Mutants(args) => mutants::run(&args, &workspace)?,
            Command::Coverage(args) => coverage::run(&args, &workspace)?,
            Command::Spelling(args) => spelling::run(args, &workspace)?,
            Command::Docs(args) => docs::run(args, &workspace)?,
            Command::Release(args) => release::run(&args, &workspace)?,
            Command::Bench(args) => bench::run(&args, &workspace)?,
            Command::Load(args) => load::run(&args, &workspace)?,
            Command::Token(args) => token::run(&args)?,
            Command::Demo(args) => demo::run(&args)?,
            Command::Envoy { arguments } => match envoy(&workspace, &arguments)? {},
            Command::Lds(args) => lds::run(&args)?,
            Command::Env(args) => docker::run_secrets(&args, &workspace)?,
            Command::Images(args) => docker::run_images(&args, &workspace)?,
            Command::Up(args) => args.run(&workspace)?,
            Command::Down(args) => args.run(&workspace)?,
            Command::Qdrant(command) => qdrant::run(&command)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Becomes Envoy, so that signals reach it.
fn envoy(workspace: &Workspace, arguments: &[OsString]) -> Result<Infallible> {
    let program = tools::envoy(workspace)?;
    let error = process::Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("can't start {}", program.display()))
}
