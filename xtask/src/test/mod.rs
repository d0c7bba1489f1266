//! `cargo xtask test`: everything that must hold, step by step, and one count at the end.

mod steps;
mod tally;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::Result;

use crate::docker;
use crate::workspace::Workspace;

pub use steps::{Step, cargo_test};
pub use tally::Tally;

/// What to test.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// One step alone, with the filters as they were built last.
    #[arg(long, value_name = "STEP")]
    only: Option<Step>,
    /// Without the steps that fetch tools and take minutes: wasm, fuzz, e2e and demo.
    #[arg(long)]
    quick: bool,
    /// With the stack on Docker, which is started, driven from outside, and taken away.
    #[arg(long)]
    docker: bool,
}

impl Args {
    /// Why a step is left out.
    fn leaves_out(&self, step: Step) -> Option<&'static str> {
        if self.only == Some(step) {
            return None;
        }
        if step == Step::Docker && !self.docker {
            return Some("it takes Docker; run it with --docker");
        }
        (self.quick && step.is_slow() && step != Step::Docker)
            .then_some("--quick leaves it out; run it without, or with --only")
    }
}

/// Runs the steps. Tests go on after a failure, so that the count is whole; a build that fails
/// ends it, since nothing after it would test what is written.
///
/// # Errors
/// The output can't be written.
pub fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    // Beside the first steps, which leave the network alone. What is wrong, the step itself will say.
    let bases = args.leaves_out(Step::Docker).is_none() && args.only.is_none();
    let mut bases = bases.then(|| {
        let workspace = workspace.clone();
        thread::spawn(move || docker::fetch_bases(&workspace))
    });
    for step in Step::ALL
        .into_iter()
        .filter(|step| args.only.is_none_or(|only| only == *step))
    {
        println!("\n== {step}: {}", step.about());
        if let Some(why) = args.leaves_out(step) {
            println!("== {step}: SKIPPED: {why}");
            total.skipped = total.skipped.saturating_add(1);
            continue;
        }
        if step == Step::Docker
            && let Some(bases) = bases.take()
        {
            drop(bases.join());
        }
        let begun = Instant::now();
        let mut tally = Tally::default();
        let outcome = step.run(workspace, &mut tally);
        let elapsed = begun.elapsed().as_secs_f32();
        match &outcome {
            Ok(()) => println!("== {step}: ok, {elapsed:.1} s"),
            Err(error) => println!("{error:#}\n== {step}: FAILED, {elapsed:.1} s"),
        }
        if outcome.is_err() || tally.failed > 0 {
            failed.push(step.to_string());
            // A step without tests, and tests that do not compile, are a failure to be counted.
            tally.failed = tally.failed.max(1);
        }
        total += tally;
        if outcome.is_err() && matches!(step, Step::Fetch | Step::Build) {
            println!("nothing else is tested until the filters build");
            break;
        }
    }
    if !failed.is_empty() {
        println!(
            "\nfailed: {}; repeat with `cargo xtask test --only STEP`",
            failed.join(", ")
        );
    }
    println!("\n{total}");
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_leaves_out_what_is_slow_unless_it_is_asked_for() {
        let quick = Args {
            only: None,
            quick: true,
            docker: false,
        };
        let out: Vec<_> = Step::ALL
            .into_iter()
            .filter(|s| quick.leaves_out(*s).is_some())
            .collect();
        assert_eq!(
            out,
            [
                Step::Wasm,
                Step::Fuzz,
                Step::E2e,
                Step::Module,
                Step::Demo,
                Step::Load,
                Step::Docker
            ]
        );
        let with_docker = Args {
            only: None,
            quick: true,
            docker: true,
        };
        assert_eq!(with_docker.leaves_out(Step::Docker), None);
        let asked = Args {
            only: Some(Step::E2e),
            quick: true,
            docker: false,
        };
        assert!(asked.leaves_out(Step::E2e).is_none());
    }
}
