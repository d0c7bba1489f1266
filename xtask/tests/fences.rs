//! The fences of the architecture: who may depend on whom, and how little a filter crate holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use xtask::build::NATIVE;
use xtask::command::{capture, cargo};
use xtask::filters::FILTERS;
use xtask::packages::Packages;
use xtask::workspace::Workspace;

const HOST: &str = "proxy-wasm";
const ADAPTER: &str = "portcullis-adapter";

/// For backends: it checks what the plugin writes by code of its own.
const VERIFIER: &str = "portcullis-service-token-verifier";

/// The packages that are built into each package, by name: not what only its tests use.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut command = cargo(&Workspace::here());
    // Not `--offline`: on a new machine nothing may have needed some of it yet.
    command.args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
    ]);
    let metadata = capture(command.arg("wasm32-wasip1")).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["id"]), text(&p["name"])))
        .collect();
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let built_in = list(&node["deps"])
            .into_iter()
            .filter(|dep| {
                list(&dep["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"] != "dev")
            })
            .map(|dep| names[&text(&dep["pkg"])].clone());
        dependencies
            .entry(names[&text(&node["id"])].clone())
            .or_default()
            .extend(built_in);
    }
    dependencies
}

/// A package and all that is built into it.
fn reached(package: &str, dependencies: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![package.to_owned()];
    while let Some(package) = next.pop() {
        next.extend(
            dependencies[&package]
                .iter()
                .filter(|d| !reached.contains(*d))
                .cloned(),
        );
        reached.insert(package);
    }
    reached
}

#[test]
fn plugins_know_no_host() {
    let dependencies = dependencies();
    let packages = Packages::read(&Workspace::here()).unwrap();
    assert!(reached(ADAPTER, &dependencies).contains(HOST));
    for package in packages.product().filter(|name| *name != ADAPTER) {
        let reached = reached(package, &dependencies);
        assert!(
            !reached.contains(HOST),
            "{package} depends on {HOST}; only {ADAPTER} may"
        );
    }
}

#[test]
fn a_backend_gets_none_of_the_gateway_with_the_verifier() {
    let ours = reached(VERIFIER, &dependencies());
    let ours: Vec<_> = ours
        .iter()
        .filter(|name| name.starts_with("portcullis-"))
        .collect();
    assert_eq!(ours, ["portcullis-message-signature", VERIFIER]);
}

#[test]
fn only_the_adapter_depends_on_the_host_itself() {
    let dependencies = dependencies();
    let users: Vec<_> = dependencies
        .iter()
        .filter(|(_, d)| d.contains(HOST))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(users, [ADAPTER]);
}

#[test]
fn a_filter_crate_is_one_macro_line() {
    let workspace = Workspace::here();
    let packages = Packages::read(&workspace).unwrap();
    let mut filters: BTreeSet<&str> = packages.filters().collect();
    // All of them in one, as native code.
    assert!(filters.remove(NATIVE));
    let known = FILTERS.iter().map(|filter| filter.name).collect();
    assert_eq!(filters, known, "see xtask/src/filters.rs");
    for filter in filters {
        let plugin = workspace
            .root()
            .join("plugins")
            .join(filter.replace('_', "-"));
        let path = plugin.join("filter/src/lib.rs");
        let source = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = source
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("//"))
            .collect();
        let is_macro = |line: &str| line.contains("!(") && line.ends_with(");");
        assert!(
            matches!(lines.as_slice(), [line] if is_macro(line)),
            "{} holds more, or less, than the adapter's macro: {lines:?}",
            path.display()
        );
    }
}
