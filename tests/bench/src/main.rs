//! The bench as a program: `cargo xtask bench` builds what it needs and runs it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use portcullis_bench::envoy::{self, Envoy};
use portcullis_bench::measure::{Plan, measure};
use portcullis_bench::native;
use portcullis_bench::report::{InEnvoy, Report};
use portcullis_bench::scene::Scene;

/// Measures what it costs to check a token, and to write a credential.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// An Envoy, and the filters to load into it; without them, only the policies themselves are
    /// measured.
    #[arg(long, requires = "filters")]
    envoy: Option<PathBuf>,
    /// The folder of the built filters.
    #[arg(long, requires = "envoy")]
    filters: Option<PathBuf>,
    /// A file that all figures are written to, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let scene = Scene::now();
    let plan = if args.quick { NATIVE_QUICK } else { NATIVE };
    let native = measure(native::subjects(&scene)?, &plan, progress("native"))?;
    let report = Report {
        quick: args.quick,
        native,
        envoy: in_envoy(&args, &scene)?,
    };
    println!("\n{report}");
    if let Some(path) = args.json {
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, format!("{:#}\n", report.to_json()))
        };
        write().with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

fn in_envoy(args: &Args, scene: &Scene) -> Result<Option<InEnvoy>> {
    let (Some(program), Some(filters)) = (&args.envoy, &args.filters) else {
        return Ok(None);
    };
    println!("Starting Envoy");
    let envoy = Envoy::start(program, filters)?;
    let plan = if args.quick { ENVOY_QUICK } else { ENVOY };
    Ok(Some(InEnvoy {
        version: envoy::version(program)?,
        filter_bytes: fs::metadata(filters.join("jwt_auth.wasm"))?.len(),
        figures: measure(envoy.subjects(scene)?, &plan, progress("Envoy"))?,
    }))
}

/// Says every few seconds how far it is.
fn progress(part: &str) -> impl FnMut(u32, u32) {
    let mut said: Option<Instant> = None;
    move |round, rounds| {
        if said.is_none_or(|said| said.elapsed() > Duration::from_secs(5)) {
            println!("{part}: round {round} of {rounds}");
            said = Some(Instant::now());
        }
    }
}

// A busy machine gets through fewer rounds: what begins before `at_most` still ends in time.

const NATIVE: Plan = Plan {
    slice: Duration::from_millis(20),
    rounds: 51,
    at_most: Duration::from_secs(30),
};

const NATIVE_QUICK: Plan = Plan {
    slice: Duration::from_millis(5),
    rounds: 15,
    at_most: Duration::from_secs(6),
};

const ENVOY: Plan = Plan {
    slice: Duration::from_millis(100),
    rounds: 61,
    at_most: Duration::from_secs(240),
};

const ENVOY_QUICK: Plan = Plan {
    slice: Duration::from_millis(60),
    rounds: 11,
    at_most: Duration::from_secs(30),
};
