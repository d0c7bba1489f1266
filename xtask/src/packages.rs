//! The packages of the workspace, and what each is for: by what Cargo knows of them, so that no list has to be kept.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::command::{capture, cargo};
use crate::workspace::Workspace;

/// The packages of the workspace.
#[derive(Clone, Debug)]
pub struct Packages(Vec<Package>);

/// A package, as `cargo metadata` shows it.
#[derive(Clone, Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
    /// What the manifest has under `package.metadata`.
    metadata: Option<Metadata>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dependency {
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Metadata {
    portcullis: Option<Ours>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    mutants: bool,
}

impl Packages {
    /// Asks Cargo.
    ///
    /// # Errors
    /// Cargo can't be run, or answers with something else.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            packages: Vec<Package>,
        }
        let mut command = cargo(workspace);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let answer: Answer = serde_json::from_str(&capture(&mut command)?)
            .context("what `cargo metadata` says can't be read")?;
        let mut packages = answer.packages;
        let product = ["plugins", "cli"].map(|folder| workspace.root().join(folder));
        packages.retain(|package| {
            let manifest = Path::new(&package.manifest_path);
            product.iter().any(|folder| manifest.starts_with(folder))
        });
        Ok(Self(packages))
    }

    /// What runs in a gateway or with a backend, or is run by a person, and is held to the strictest lints; not the filters, which are a line.
    pub fn product(&self) -> impl Iterator<Item = &str> {
        self.named(|package| !package.is_filter())
    }

    /// What is built into a module for a gateway.
    pub fn filters(&self) -> impl Iterator<Item = &str> {
        self.named(Package::is_filter)
    }

    /// What is tested as Wasm too: its tests have a runner there.
    pub fn tested_as_wasm(&self) -> impl Iterator<Item = &str> {
        self.named(|package| {
            let mut dependencies = package.dependencies.iter();
            dependencies.any(|dependency| dependency.name == "wasm-bindgen-test")
        })
    }

    /// What decides on requests by itself, so that each change of it should be noticed by a test: it says so under
    /// `package.metadata.portcullis`.
    pub fn with_mutants(&self) -> impl Iterator<Item = &str> {
        self.named(|package| {
            let ours = package.metadata.as_ref();
            ours.and_then(|metadata| metadata.portcullis.as_ref())
                .is_some_and(|ours| ours.mutants)
        })
    }

    fn named(&self, fits: impl Fn(&Package) -> bool) -> impl Iterator<Item = &str> {
        let fitting = self.0.iter().filter(move |package| fits(package));
        fitting.map(|package| package.name.as_str())
    }
}

impl Package {
    fn is_filter(&self) -> bool {
        let mut kinds = self.targets.iter().flat_map(|target| &target.kind);
        kinds.any(|kind| kind == "cdylib")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_told_by_its_manifest() {
        let packages = Packages::read(&Workspace::here()).unwrap();
        let product: Vec<_> = packages.product().collect();
        let has = |name: &str| product.contains(&name);
        assert!(has("portcullis-policy") && has("portcullis-service-token-verifier"));
        assert!(has("portcullis-cli"));
        assert!(!has("edge") && !has("portcullis-sim"), "{product:?}");
        assert!(packages.filters().any(|name| name == "edge"));
        for (tested, least) in [
            (packages.tested_as_wasm().collect::<Vec<_>>(), 5),
            (packages.with_mutants().collect(), 3),
        ] {
            assert!(tested.len() >= least, "{tested:?}");
            assert!(tested.iter().all(|name| has(name)), "{tested:?}");
        }
    }
}
