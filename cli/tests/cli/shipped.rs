//! The files of this repository.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_cli::check::{Options, check, check_all};
use portcullis_cli::source::Source;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_yaml = path
            .extension()
            .is_some_and(|ext| ext == "yaml" || ext == "yml");
        match path.is_dir() {
            true => files(&path, found),
            false if is_yaml => found.push(path),
            false => {}
        }
    }
}

#[test]
fn nothing_is_found_in_the_files_that_are_shipped() {
    let mut paths = Vec::new();
    for folder in ["envoy", "kong"] {
        files(&root().join(folder), &mut paths);
    }
    let mut filters = 0;
    for path in &paths {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).expect("text");
        let checked = check(&Source { name, text }, Options::default());
        assert!(
            checked.findings.is_empty(),
            "{}: {:#?}",
            path.display(),
            checked.findings
        );
        filters += checked.filters;
    }
    assert!(filters >= 34, "only {filters} filters are found");
}

#[test]
fn nothing_is_found_in_kongs_files_together() {
    let kong = root().join("kong");
    let mut paths = vec![kong.join("kong.conf"), kong.join("env.conf")];
    files(&kong, &mut paths);
    let source = |path: &PathBuf| Source {
        name: path.display().to_string(),
        text: fs::read_to_string(path).expect("text"),
    };
    let sources: Vec<Source> = paths.iter().map(source).collect();
    for (source, checked) in sources.iter().zip(check_all(&sources, Options::default())) {
        assert!(
            checked.findings.is_empty(),
            "{}: {:#?}",
            source.name,
            checked.findings
        );
    }
}
