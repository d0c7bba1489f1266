//! The commands and their arguments.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{bench, build, demo, fuzz, schema, test, token};

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
    /// Measure what it costs to check a token, native and in Envoy.
    Bench(bench::Args),
    /// Print a demo token.
    Token(token::Args),
    /// Start the demo.
    Demo(demo::Args),
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
            Command::Bench(args) => bench::run(&args, &workspace)?,
            Command::Token(args) => token::run(&args)?,
            Command::Demo(args) => demo::run(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
