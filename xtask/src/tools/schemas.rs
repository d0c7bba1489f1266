//! What the resources for Kubernetes are checked with: models of their kinds, and Node.js, which they are written for.

use std::fs;

use anyhow::{Context as _, Result};

use super::backends::{Variables, fetched, npm, read};
use super::node;
use crate::command::run;
use crate::workspace::Workspace;

/// The oldest Node.js that the models are for.
const OLDEST_NODE: u32 = 20;

/// The variables by which the tests find Node.js and the models.
///
/// # Errors
/// Node.js or npm is missing, or the models can't be fetched.
pub fn kubernetes_models(workspace: &Workspace) -> Result<Variables> {
    let node = node::at_least(OLDEST_NODE, workspace)?;
    let source = workspace.root().join("tests/conformance/kubernetes");
    let lock = read(&source.join("package-lock.json"))?;
    let models = fetched(workspace, "kubernetes-models", &lock, |home| {
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), home.join(file))?;
        }
        // Exactly what the lock file says, and nothing of it run.
        let mut npm = npm(&node)?;
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        npm.args(["--loglevel", "error"]).current_dir(home);
        run(&mut npm).context("can't fetch the models; it takes a way to the npm registry")
    })?;
    Ok(vec![
        ("PORTCULLIS_NODE", node.into()),
        (
            "PORTCULLIS_KUBERNETES_MODELS",
            models.join("node_modules").into(),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_pinned_by_a_hash_and_named_by_no_address() {
        let source = Workspace::here()
            .root()
            .join("tests/conformance/kubernetes");
        let lock = read(&source.join("package-lock.json")).unwrap();
        let count = |what: &str| lock.matches(what).count();
        assert_eq!(count("\"node_modules/"), count("\"integrity\": \"sha512-"));
        assert!(count("\"node_modules/") >= 5);
        assert_eq!(count("\"resolved\""), 0);
    }
}
