//! The pages' links: each leads to a file that is there, and to a heading of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).expect("docs");
    let docs = docs.map(|entry| entry.expect("a page").path());
    let roots = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name));
    let pages = docs.chain(roots);
    pages
        .filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .collect()
}

/// The text without what stands between fences.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// What GitHub calls a heading.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link its words.
    while let Some((before, link)) = rest.split_once('[') {
        let (words, behind) = link.split_once(']').unwrap_or((link, ""));
        text.push_str(before);
        text.push_str(words);
        rest = match behind
            .strip_prefix('(')
            .and_then(|link| link.split_once(')'))
        {
            Some((_, behind)) => behind,
            None => behind,
        };
    }
    text.push_str(rest);
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "_- ".contains(*c));
    kept.flat_map(char::to_lowercase)
        .collect::<String>()
        .replace(' ', "-")
}

fn anchors(page: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let prose = prose(&text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = prose(&fs::read_to_string(&page).expect("a page"));
        for link in text.split("](").skip(1) {
            let link = link.split([')', ' ']).next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a folder").join(path),
            };
            let known = target.exists()
                && (heading.is_empty()
                    || target.extension().is_none_or(|ext| ext != "md")
                    || anchors(&target).contains(heading));
            if !known {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_heading_is_called_as_github_calls_it() {
    for (heading, name) in [
        (
            "Why does this customer get 429?",
            "why-does-this-customer-get-429",
        ),
        ("`mode` and `on_error`", "mode-and-on_error"),
        ("From [Kong](x.md)'s own", "from-kongs-own"),
    ] {
        assert_eq!(anchor(heading), name);
    }
}
