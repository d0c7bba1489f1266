//! The bench as a program: `cargo xtask bench` builds what it needs and runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use portcullis_bench::gateway::{self, Program};
use portcullis_bench::machine::{self, Cores};
use portcullis_bench::native::measure::{self, Figure};
use portcullis_bench::parts::{self, Inputs};
use portcullis_bench::report::{self, Report};
use portcullis_bench::run::{Bench, Plan};
use portcullis_bench::scene::Scene;
use portcullis_bench::traffic::Traffic;
use portcullis_bench::{launch, native};

/// Measures what a request costs.
#[derive(Debug, Parser)]
struct Args {
    /// Fewer and shorter rounds.
    #[arg(long)]
    quick: bool,
    /// These parts and subjects alone, such as `edge,refusals`, with what they are compared with.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// How often each gateway is started.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    starts: Option<u32>,
    /// Rounds for each start.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// An Envoy.
    #[arg(long)]
    envoy: PathBuf,
    /// The folder of the built filters.
    #[arg(long)]
    filters: PathBuf,
    /// A file that all figures are written to, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A file that the tables are written to, as Markdown.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// End when whoever started it does.
    #[arg(long)]
    end_with_parent: bool,
}

fn main() -> Result<()> {
    if let Some(launch) = launch::asked() {
        match launch.run()? {}
    }
    let args = Args::parse();
    if args.end_with_parent {
        machine::end_with_parent();
    }
    let begun = Instant::now();
    let cores = Cores::of_this_process();
    if cores.count() < 2 {
        println!("There is one core alone, which gateways and load share: the figures stray.");
    }
    let traffic = Traffic::start()?;
    let scene = Scene::now();
    let inputs = Inputs::new(&args.filters, scene, traffic.upstream(), args.quick)?;
    let parts = parts::all(&inputs);
    let parts = if args.only.is_empty() {
        parts
    } else {
        parts::only(parts, &args.only)?
    };
    let native = if parts.iter().any(|part| part.name == parts::TOKENS) {
        native(&args, &scene)?
    } else {
        Vec::new()
    };
    let plan = plan(&args);
    machine::stay_on(cores.of_load())?;
    let bench = Bench {
        program: Program {
            envoy: &args.envoy,
            filters: &args.filters,
        },
        traffic,
        cores,
        plan,
    };
    let measured = bench.run(parts)?;
    let report = Report {
        run: report::Run {
            date: report::today(),
            processor: machine::processor(),
            cores: bench.cores.count(),
            envoy: gateway::version(&args.envoy)?,
            plan,
            took: begun.elapsed(),
        },
        parts: measured,
        native,
    };
    println!("\n{report}");
    write(args.json.as_deref(), || format!("{:#}\n", report.to_json()))?;
    write(args.markdown.as_deref(), || report.to_string())
}

fn plan(args: &Args) -> Plan {
    let plan = if args.quick { Plan::QUICK } else { Plan::FULL };
    Plan {
        starts: args.starts.unwrap_or(plan.starts),
        rounds: args.rounds.unwrap_or(plan.rounds),
        ..plan
    }
}

fn native(args: &Args, scene: &Scene) -> Result<Vec<Figure>> {
    let mut said: Option<Instant> = None;
    let progress = |round, rounds| {
        if said.is_none_or(|said| said.elapsed() > Duration::from_secs(10)) {
            println!("as native code: round {round} of {rounds}");
            said = Some(Instant::now());
        }
    };
    let plan = if args.quick { NATIVE_QUICK } else { NATIVE };
    measure::measure(native::subjects(scene)?, &plan, progress)
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let folder = path.parent().unwrap_or(path);
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    fs::write(path, text()).with_context(|| format!("can't write {}", path.display()))
}

// A busy machine gets through fewer rounds: what begins before `at_most` still ends in time.

const NATIVE: measure::Plan = measure::Plan {
    slice: Duration::from_millis(20),
    rounds: 51,
    at_most: Duration::from_secs(30),
};

const NATIVE_QUICK: measure::Plan = measure::Plan {
    slice: Duration::from_millis(5),
    rounds: 15,
    at_most: Duration::from_secs(6),
};
