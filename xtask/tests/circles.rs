//! No circles among the files of a crate: of two, one can be read without the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which files a file names, each by its module's path: `quota/log`.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folders of sources of all crates, and of their tests that are several files.
fn sources() -> Vec<PathBuf> {
    let mut sources = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        if folder.join("Cargo.toml").exists() {
            let tests = folders_in(&folder.join("tests"));
            sources.extend(Some(folder.join("src")).filter(|src| src.exists()));
            sources.extend(
                tests
                    .into_iter()
                    .filter(|test| test.join("main.rs").exists()),
            );
        }
        let is_workspace = folder == root();
        let within = folders_in(&folder).into_iter().filter(|within| {
            within.join("Cargo.toml").exists()
                || is_workspace && ["plugins", "tests"].iter().any(|top| within.ends_with(top))
        });
        folders.extend(within);
    }
    sources
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_dir()).collect()
}

/// All modules of a crate that are a file, with what is no test of their text.
fn modules(source: &Path) -> BTreeMap<String, String> {
    let mut modules = BTreeMap::new();
    let mut folders = vec![source.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(source)
                .expect("below it")
                .with_extension("");
            let name = name.to_str().expect("a name").replace('\\', "/");
            let name = name.strip_suffix("/mod").unwrap_or(&name);
            let is_test = name.split('/').any(|part| part == "tests") || name.ends_with("_tests");
            if path.extension().is_some_and(|ext| ext == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a file");
                // Tests stand at a file's end.
                let end = ["#[cfg(test)]\nmod ", "#[cfg(all(test"]
                    .iter()
                    .filter_map(|at| text.find(at))
                    .min();
                let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
                modules.insert(name.to_owned(), text.to_owned());
            }
        }
    }
    modules
}

/// The paths that begin at `text`, such as `a::b` and `a::c` of `a::{b, c}`; returns what is behind them.
fn paths<'t>(mut text: &'t str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'t str {
    let depth = path.len();
    loop {
        text = text.trim_start();
        if let Some(group) = text.strip_prefix('{') {
            text = group;
            loop {
                text = paths(text, path, found).trim_start();
                match text.strip_prefix(',') {
                    Some(next) => text = next,
                    None => break,
                }
            }
            text = text.strip_prefix('}').unwrap_or(text);
            break;
        }
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if !word.is_empty() {
            path.push(word.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(next) if !word.is_empty() => text = next,
            _ => {
                found.push(path.clone());
                text = rest;
                break;
            }
        }
    }
    path.truncate(depth);
    text
}

fn uses(modules: &BTreeMap<String, String>) -> Uses {
    let used_by = |name: &str, text: &str| {
        let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let mut found = Vec::new();
        for (word, base) in [("crate::", ""), ("super::", parent)] {
            for rest in text.split(word).skip(1) {
                let mut path = base
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect();
                paths(rest, &mut path, &mut found);
            }
        }
        let module = |path: Vec<String>| {
            let longest = (1..=path.len())
                .rev()
                .map(|length| path[..length].join("/"));
            longest.into_iter().find(|path| modules.contains_key(path))
        };
        found
            .into_iter()
            .filter_map(module)
            .filter(|used| used != name)
            .collect()
    };
    let uses = modules
        .iter()
        .map(|(name, text)| (name.clone(), used_by(name, text)));
    uses.collect()
}

/// A circle, if there is one: what nothing uses that is left, and what uses nothing, is taken away until nothing is.
fn circle(mut uses: Uses) -> Vec<String> {
    loop {
        let free = uses
            .iter()
            .find(|(_, used)| used.iter().all(|used| !uses.contains_key(used)));
        let used = |name: &String| uses.values().any(|by| by.contains(name));
        let free = free
            .map(|(name, _)| name)
            .or_else(|| uses.keys().find(|name| !used(name)));
        match free.cloned() {
            Some(name) => uses.remove(&name),
            None => return uses.into_keys().collect(),
        };
    }
}

#[test]
fn the_files_of_no_crate_use_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    let sources = sources();
    for known in [
        "xtask/src",
        "tests/sim/src",
        "plugins/edge/src",
        "tests/e2e/tests/gateway",
    ] {
        let found = sources.iter().any(|source| source.ends_with(known));
        assert!(found, "{known} is not looked at");
    }
    for source in sources {
        let circle = circle(uses(&modules(&source)));
        if !circle.is_empty() {
            wrong.push(format!("{}: {}", source.display(), circle.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found_through_groups_and_folders() {
    let of = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        circle(uses(&files.collect()))
    };
    let straight = [
        ("a", "use crate::{b, c::d::X};"),
        ("b", "fn f() -> crate::c::Y"),
        ("c", ""),
        ("c/d", ""),
    ];
    assert!(of(&straight).is_empty());
    let circled = [
        straight[0],
        straight[1],
        ("c", "use crate::b::Z;"),
        ("c/d", "use super::super::x;"),
    ];
    assert_eq!(of(&circled), ["b", "c"]);
    let nested = [
        ("a", "use crate::b::{self, c::{X, Y}};"),
        ("b", ""),
        ("b/c", "use crate::a;"),
    ];
    assert_eq!(of(&nested), ["a", "b/c"]);
}
