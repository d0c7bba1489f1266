//! The commands and their arguments.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{build, demo, schema, test, token};

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
            Command::Token(args) => token::run(&args)?,
            Command::Demo(args) => demo::run(&args)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
