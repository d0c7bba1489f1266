//! Configurations of the kinds that people publish, each with what is found in it at its head: `# expected: P016:24 P017:25`, by
//! code and line, or `# expected: none`. JSON knows no comments: nothing is found in it. What stands in a folder belongs together.

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_cli::check::{Options, check_all};
use portcullis_cli::filter::{Filter, Host};
use portcullis_cli::source::Source;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// What the head of a file says, as `P016:24`.
fn expected(source: &Source) -> Vec<String> {
    let line = source.text.lines().next().unwrap_or_default();
    match line.strip_prefix("# expected: ") {
        Some("none") => Vec::new(),
        Some(codes) => codes.split(' ').map(str::to_owned).collect(),
        None => {
            assert!(source.name.ends_with(".json"), "{}: {line}", source.name);
            Vec::new()
        }
    }
}

#[test]
fn nothing_else_is_found_in_what_people_publish() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/published");
    let mut configurations = 0;
    for path in entries(&root).iter().flat_map(|kind| entries(kind)) {
        let files = if path.is_dir() {
            entries(&path)
        } else {
            vec![path.clone()]
        };
        let sources: Vec<Source> = files
            .iter()
            .map(|file| Source {
                name: file.display().to_string(),
                text: fs::read_to_string(file).expect("text"),
            })
            .collect();
        // A filter's own configuration has the filter's name.
        let is_bare = path.parent().is_some_and(|kind| kind.ends_with("bare"));
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let filter = is_bare.then(|| Filter::named(name).expect("a filter"));
        let options = Options {
            filter: filter.map(|filter| (filter, Host::Envoy)),
            ..Options::default()
        };
        let checked = check_all(&sources, options);
        let filters: usize = checked.iter().map(|checked| checked.filters).sum();
        assert!(filters > 0, "{}: no filter is found", path.display());
        for (source, checked) in sources.iter().zip(checked) {
            let found = checked.findings.iter();
            let found: Vec<String> = found
                .map(|finding| format!("{}:{}", finding.code.id(), source.line_of(finding.place)))
                .collect();
            assert_eq!(
                found,
                expected(source),
                "{}: {:#?}",
                source.name,
                checked.findings
            );
        }
        configurations += 1;
    }
    assert!(configurations >= 40, "there are {configurations}");
}
