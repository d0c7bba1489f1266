//! The pages as a site: none is left out, what they link to is there, and figures are those of the bench.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::docs;
use xtask::history;
use xtask::workspace::Workspace;

fn root() -> PathBuf {
    Workspace::here().root().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn each_page_stands_in_the_summary_once_and_is_there() {
    let listed = docs::pages(&Workspace::here()).unwrap();
    let known: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(known.len(), listed.len(), "a page is listed twice");
    for page in &listed {
        assert!(
            root().join(page).is_file(),
            "{} is not there",
            page.display()
        );
    }
    let pages = fs::read_dir(root().join("docs")).unwrap();
    for page in pages.map(|entry| entry.unwrap().path()) {
        let name = Path::new("docs").join(page.file_name().unwrap());
        let is_page =
            page.extension().is_some_and(|ext| ext == "md") && !name.ends_with("SUMMARY.md");
        assert!(
            !is_page || known.contains(&name),
            "{}: not in docs/SUMMARY.md",
            name.display()
        );
    }
    assert_eq!(
        listed[0],
        Path::new("docs/start.md"),
        "the site begins with it"
    );
}

/// Every page is rendered, and every link of the site leads to a file and a heading of it.
#[test]
fn the_site_is_built_and_its_links_lead_somewhere() {
    let workspace = Workspace::here();
    let home = tempfile::tempdir().unwrap();
    docs::stage(&workspace, home.path()).unwrap();
    let mdbook = workspace.tools().join("bin/mdbook");
    if !mdbook.exists() {
        // Not by a macro: what those write is shown of failed tests only. Compiling mdBook takes minutes.
        let why =
            "the site was not built (SKIPPED): `cargo xtask docs` fetches mdBook, and builds it";
        writeln!(io::stderr(), "{why}").unwrap();
        return;
    }
    let built = Command::new(mdbook)
        .arg("build")
        .arg(home.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    assert!(!said.contains("WARN"), "{said}");
    let site = home.path().join("site");
    assert_eq!(docs::broken(&site).unwrap(), Vec::<String>::new());
    for wanted in [
        "index.html",
        "docs/edge.html",
        "README.html",
        "envoy/edge.yaml",
    ] {
        assert!(site.join(wanted).is_file(), "{wanted}");
    }
    let index = fs::read_dir(&site)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut index = index.filter_map(|name| name.into_string().ok());
    assert!(
        index.any(|name| name.starts_with("searchindex")),
        "no search"
    );
}

/// The second figure of the row of `docs/performance.md` with this name for `--only`: what it adds.
fn added(row: &str) -> String {
    let page = read("docs/performance.md");
    let mark = format!("| `{row}` |");
    let line = page.lines().find(|line| line.contains(&mark));
    let line = line.unwrap_or_else(|| panic!("docs/performance.md has no {row}"));
    let (_, figures) = line.split_once(&mark).unwrap();
    let added = figures.split('|').nth(1).unwrap().trim();
    added.split(' ').next().unwrap().to_owned()
}

#[test]
fn this_version_has_its_row_among_the_releases() {
    let row = history::row(env!("CARGO_PKG_VERSION"), &read("docs/performance.md")).unwrap();
    let page = read(history::PAGE);
    assert!(
        page.lines().any(|line| line == row),
        "no row {row}; see `cargo xtask bench --write`"
    );
    let head = page
        .lines()
        .find(|line| line.starts_with("| version |"))
        .unwrap();
    let names = head
        .split('|')
        .filter_map(|cell| cell.trim().strip_prefix('`'));
    let names = names.map(|name| name.trim_end_matches('`'));
    assert!(names.eq(history::ROWS), "{head}");
}

#[test]
fn the_comparison_has_the_figures_of_the_bench() {
    let page = read("docs/compare.md");
    let rows = ["native", "module", "module_like", "edge", "four", "nothing"];
    let (_, table) = page.split_once("| | added |\n| --- | --- |\n").unwrap();
    let table = table.lines().take_while(|line| line.starts_with('|'));
    let shown: Vec<&str> = table
        .map(|line| line.split('|').nth(2).unwrap().trim())
        .collect();
    assert_eq!(shown, rows.map(added), "see `cargo xtask bench --write`");
}
