//! `cargo xtask bench`: what a request costs, and the tables of `docs/performance.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::command::{cargo, run as run_command};
use crate::workspace::{Workspace, write_whole};
use crate::{build, history, tools};

/// Where the tables go.
const PAGE: &str = "docs/performance.md";

/// Between these lines the page holds what a run wrote.
const BEGIN: &str = "<!-- cargo xtask bench --write: begin -->";
const END: &str = "<!-- cargo xtask bench --write: end -->";

/// How to measure.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// In about three minutes instead of under half an hour; the figures stray more.
    #[arg(long)]
    pub quick: bool,
    /// These parts and rows alone, such as `edge,refusals`, with what they are compared with; an unknown name shows all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How often each gateway is started.
    #[arg(long, value_name = "N")]
    pub starts: Option<u32>,
    /// Rounds for each start.
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// Measure the filters that are built already.
    #[arg(long)]
    pub no_build: bool,
    /// Put the tables into docs/performance.md, and a row of this version into docs/performance-history.md.
    #[arg(long, conflicts_with = "only")]
    pub write: bool,
}

/// Builds what is measured and measures it.
///
/// # Errors
/// Something does not build, there is no Envoy, or a request was not answered as it must be.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    println!("Building the filters and finding an Envoy");
    if !args.no_build {
        build::run(workspace)?;
    }
    let envoy = tools::envoy(workspace)?;
    let folder = workspace.root().join("target/bench");
    fs::create_dir_all(&folder)?;
    let (json, tables) = (folder.join("figures.json"), folder.join("performance.md"));
    println!("Building the bench, as the filters are built");
    let mut bench = cargo(workspace);
    bench.args(["run", "--release", "-p", "portcullis-bench", "--"]);
    bench.arg("--end-with-parent");
    bench.arg("--envoy").arg(envoy);
    bench.arg("--filters").arg(workspace.filters());
    bench
        .arg("--json")
        .arg(&json)
        .arg("--markdown")
        .arg(&tables);
    if args.quick {
        bench.arg("--quick");
    }
    for (option, value) in [("--starts", args.starts), ("--rounds", args.rounds)] {
        bench.args(value.map(|value| format!("{option}={value}")));
    }
    if !args.only.is_empty() {
        bench.arg("--only").arg(args.only.join(","));
    }
    run_command(&mut bench)?;
    if args.only.is_empty() {
        counts(workspace, &tables)?;
    }
    println!(
        "The tables are in {}, all figures in {}",
        workspace.shown(&tables),
        workspace.shown(&json)
    );
    if args.write {
        let page = workspace.root().join(PAGE);
        let text = fs::read_to_string(&page).with_context(|| format!("can't read {PAGE}"))?;
        let tables = fs::read_to_string(&tables)?;
        let text = with_tables(&text, &tables)?;
        write_whole(&page, text.as_bytes())?;
        println!("{PAGE} holds them");
        remember(workspace, &tables)?;
    }
    Ok(())
}

/// Keeps what this version costs beside what earlier ones did.
fn remember(workspace: &Workspace, tables: &str) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let page = workspace.root().join(history::PAGE);
    let text =
        fs::read_to_string(&page).with_context(|| format!("can't read {}", history::PAGE))?;
    let text = history::with_row(&text, version, &history::row(version, tables)?)?;
    write_whole(&page, text.as_bytes())?;
    println!("{} has a row of {version}", history::PAGE);
    Ok(())
}

/// What is counted, beside what is timed: the tests that hold it to its budgets also write it down.
fn counts(workspace: &Workspace, tables: &Path) -> Result<()> {
    println!("Counting what does not depend on the machine");
    let counts = tables.with_file_name("counts");
    // What an earlier run left there is not this one's.
    if counts.exists() {
        fs::remove_dir_all(&counts)?;
    }
    fs::create_dir_all(&counts)?;
    let mut tests = cargo(workspace);
    tests.args(["test", "--quiet", "-p", "portcullis-conformance"]);
    tests.args(["--test", "cost", "--test", "allocations"]);
    tests.env("PORTCULLIS_COUNTS", &counts);
    run_command(&mut tests)?;
    let mut text = fs::read_to_string(tables)?;
    for table in ["cost.md", "allocations.md"] {
        text.push('\n');
        let path = counts.join(table);
        let table = fs::read_to_string(&path);
        text.push_str(&table.with_context(|| format!("can't read {}", path.display()))?);
    }
    write_whole(tables, text.as_bytes())?;
    Ok(())
}

/// The page with these tables in the place of those before.
fn with_tables(page: &str, tables: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, foot) = rest.split_once(END)?;
        Some((head, foot))
    });
    let Some((head, foot)) = parts else {
        bail!("{PAGE} has no lines `{BEGIN}` and `{END}`");
    };
    Ok(format!("{head}{BEGIN}\n\n{}\n\n{END}{foot}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_take_the_place_of_those_before_and_nothing_else() {
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\n## More\n");
        let written = with_tables(&page, "new\n").unwrap();
        assert_eq!(
            written,
            format!("# Page\n\n{BEGIN}\n\nnew\n\n{END}\n\n## More\n")
        );
        assert_eq!(with_tables(&written, "new").unwrap(), written);
    }

    #[test]
    fn a_page_without_a_place_for_them_is_an_error() {
        let error = with_tables("# Page\n", "new").unwrap_err().to_string();
        assert!(error.contains("has no lines"), "{error}");
    }
}
