//! The list of what is built into the filters, the module and the command line tool: CycloneDX 1.5, as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::VERSION;
use crate::build::NATIVE;
use crate::command::{capture, cargo};
use crate::filters::FILTERS;
use crate::workspace::Workspace;

/// The package of the command line tool.
const CLI: &str = "portcullis-cli";

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// None of the workspace's own.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The list, as bytes of a file. It has no serial number and no time, so that the same sources have the same list.
///
/// # Errors
/// Cargo can't be asked, or `Cargo.lock` can't be read.
pub fn sbom(workspace: &Workspace) -> Result<Vec<u8>> {
    let mut command = cargo(workspace);
    command.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Metadata = serde_json::from_str(&capture(&mut command)?)
        .context("what `cargo metadata` says can't be read")?;
    let lock = fs::read_to_string(workspace.root().join("Cargo.lock"))?;
    let sums = sums(&lock);

    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (&*n.id, n)).collect();
    let is_root = |package: &&Package| {
        let built = FILTERS
            .iter()
            .map(|filter| filter.name)
            .chain([NATIVE, CLI]);
        package.source.is_none() && built.into_iter().any(|name| name == package.name)
    };
    let roots = metadata.packages.iter().filter(is_root);
    let mut next: Vec<&str> = roots.map(|package| &*package.id).collect();
    let direct: BTreeSet<&str> = next.iter().copied().collect();
    let mut reached: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    while let Some(id) = next.pop() {
        if reached.contains_key(id) {
            continue;
        }
        let node = nodes
            .get(id)
            .context("a package of which Cargo says no more")?;
        let built_in = node.deps.iter().filter(|dep| is_built_in(dep));
        let built_in: Vec<&str> = built_in.map(|dep| &*dep.pkg).collect();
        next.extend(&built_in);
        reached.insert(id, built_in);
    }

    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|p| (&*p.id, p)).collect();
    // What Cargo calls a package has the path of this machine in it.
    let reference = |id: &&str| packages.get(*id).map(|package| purl(package));
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for (id, built_in) in &reached {
        let package = packages.get(id).context("a package without a name")?;
        components.insert(purl(package), component(package, &sums));
        let on: BTreeSet<String> = built_in.iter().filter_map(reference).collect();
        dependencies.insert(purl(package), on);
    }
    let whole = format!("pkg:generic/portcullis@{VERSION}");
    dependencies.insert(whole.clone(), direct.iter().filter_map(reference).collect());
    let dependencies = dependencies
        .into_iter()
        .map(|(package, on)| json!({ "ref": package, "dependsOn": on }));
    let list = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": whole,
                "name": "portcullis",
                "version": VERSION,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            },
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    Ok(format!("{list:#}\n").into_bytes())
}

/// What only tests use is not handed out. What a build needs can end up in what is built.
fn is_built_in(dependency: &Dependency) -> bool {
    let mut kinds = dependency.dep_kinds.iter();
    kinds.any(|kind| kind.kind.as_deref() != Some("dev"))
}

fn component(package: &Package, sums: &BTreeMap<(&str, &str), &str>) -> Value {
    let purl = purl(package);
    let mut component = json!({
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    });
    if let Some(license) = &package.license {
        // An old way to write it.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(sum) = sums.get(&(&*package.name, &*package.version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

/// A package by the name that every list of this kind has for it.
fn purl(package: &Package) -> String {
    let kind = match package.source {
        Some(_) => "cargo",
        // Ours are in no registry.
        None => "generic/portcullis",
    };
    format!("pkg:{kind}/{}@{}", package.name, package.version)
}

/// The sums that `Cargo.lock` has, by name and version.
fn sums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    lock.split("[[package]]")
        .skip(1)
        .filter_map(|package| {
            let value = |key: &str| {
                let mut lines = package.lines();
                lines.find_map(|line| {
                    line.strip_prefix(key)?
                        .strip_prefix(" = \"")?
                        .strip_suffix('"')
                })
            };
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}
