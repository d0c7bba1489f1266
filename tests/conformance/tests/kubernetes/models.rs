//! Resources and the models of their kinds, which packages of npm hold.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What is wrong with each resource; `None` for one without a model. Where there is nothing to check with, nothing
/// comes back, and it is said aloud.
pub(super) fn check<'a>(
    resources: impl IntoIterator<Item = &'a Value>,
) -> Option<Vec<Option<Vec<String>>>> {
    let (node, modules) = prepared()?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/check.mjs");
    // It looks for libraries beside the source, and nowhere else.
    let folder = tempfile::tempdir().expect("a directory");
    let script = folder.path().join("check.mjs");
    fs::copy(source, &script).expect("check.mjs");
    symlink(modules, folder.path().join("node_modules")).expect("a link");
    let mut check = Command::new(node)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js");
    let resources: Vec<&Value> = resources.into_iter().collect();
    let text = serde_json::to_string(&resources).expect("JSON");
    // All of it, and then the end; it answers after that.
    let mut input = check.stdin.take().expect("its input");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = check.wait_with_output().expect("it ends");
    assert!(output.status.success(), "check.mjs: {}", output.status);
    let answers: Vec<_> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answers.len(), resources.len());
    Some(answers)
}

/// Node.js and the libraries, as `cargo xtask test --only native` has fetched them.
fn prepared() -> Option<(PathBuf, PathBuf)> {
    const VARIABLES: [&str; 2] = ["PORTCULLIS_NODE", "PORTCULLIS_KUBERNETES_MODELS"];
    if let [Some(node), Some(modules)] = VARIABLES.map(env::var_os) {
        return Some((node.into(), modules.into()));
    }
    let why = format!(
        "{} are not set: `cargo xtask test --only native` fetches what they are to name, and runs this test",
        VARIABLES.join(" and ")
    );
    assert!(env::var_os("CI").is_none(), "{why}");
    // Not by a macro: what those write is shown of failed tests only.
    writeln!(io::stderr(), "Kubernetes resources were not checked: {why}").expect("standard error");
    None
}
