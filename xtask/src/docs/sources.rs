//! What the site is built from: the pages as they lie in the repository, and the files that they link to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, write_whole};

/// The list of pages, in their order.
const SUMMARY: &str = "docs/SUMMARY.md";

/// The first page. mdBook shows it as the site's index, too.
const START: &str = "docs/start.md";

/// Pages keep their names: a README is no directory's index, since the first page of the summary is.
const BOOK: &str = r#"[book]
title = "Portcullis"
language = "en"
src = "src"

[build]
build-dir = "site"
use-default-preprocessors = false

[output.html]
no-section-label = true

[output.html.playground]
runnable = false

[output.html.search]
limit-results = 20
heading-split-level = 3
"#;

/// The pages that the summary names, from the repository's root, in its order.
///
/// # Errors
/// The summary can't be read.
pub fn pages(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let summary = read(&workspace.root().join(SUMMARY))?;
    let links = links(&summary);
    Ok(links.filter_map(|link| inside("docs", link)).collect())
}

/// Writes what mdBook builds the site from into a directory: `book.toml`, the pages, and each file that one of them links to.
///
/// # Errors
/// A page names a file that is not there, or a file can't be written.
pub fn stage(workspace: &Workspace, home: &Path) -> Result<()> {
    write_whole(&home.join("book.toml"), BOOK.as_bytes())?;
    let root = workspace.root();
    let source = home.join("src");
    let summary = read(&root.join(SUMMARY))?;
    // In the repository it lies beside the pages; mdBook wants it above all of them.
    let summary = to_start(&above(&summary));
    write_whole(&source.join("SUMMARY.md"), summary.as_bytes())?;
    let pages = pages(workspace)?;
    let known: BTreeSet<&PathBuf> = pages.iter().collect();
    for page in &pages {
        let text = read(&root.join(page))?;
        let (name, staged) = match page == Path::new(START) {
            true => (Path::new("start.md"), above(&text)),
            false => (&**page, to_start(&text)),
        };
        write_whole(&source.join(name), staged.as_bytes())?;
        let folder = page.parent().unwrap_or(Path::new(""));
        for link in links(&text) {
            let Some(target) = inside(folder, link) else {
                continue;
            };
            if !known.contains(&target) {
                copy(root, &target, &source)
                    .with_context(|| format!("{}: {link}", page.display()))?;
            }
        }
    }
    Ok(())
}

/// A page of `docs` as one of the folder above it.
fn above(text: &str) -> String {
    let text = text.replace("](", "](docs/").replace("](docs/../", "](");
    // Headings of its own, and other sites.
    text.replace("](docs/#", "](#")
        .replace("](docs/http", "](http")
}

/// Links to the first page, which is the site's first and so lies above all others.
fn to_start(text: &str) -> String {
    text.replace("](start.md", "](../start.md")
        .replace("](docs/start.md", "](start.md")
}

/// A file as it is; of a folder a list of its files, and these.
fn copy(root: &Path, path: &Path, source: &Path) -> Result<()> {
    let from = root.join(path);
    if from.is_file() {
        write_whole(&source.join(path), &fs::read(&from)?)?;
        return Ok(());
    }
    if !from.is_dir() {
        bail!("{} is not there", path.display());
    }
    let entries = fs::read_dir(&from)?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    // What is hidden is somebody's own: secrets, for one.
    names.retain(|name| !name.starts_with('.'));
    names.sort_unstable();
    let mut list = format!(
        "<!doctype html><title>{0}</title><h1>{0}</h1><ul>",
        path.display()
    );
    for name in names {
        let below = path.join(&name);
        let is_folder = root.join(&below).is_dir();
        copy(root, &below, source)?;
        let end = if is_folder { "/index.html" } else { "" };
        list.push_str(&format!("<li><a href=\"{name}{end}\">{name}</a></li>"));
    }
    list.push_str("</ul>");
    write_whole(&source.join(path).join("index.html"), list.as_bytes())?;
    Ok(())
}

/// Where the links of a text lead, but for what stands in blocks of code.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```").step_by(2);
    let links = blocks.flat_map(|prose| prose.split("](").skip(1));
    links.filter_map(|link| link.split([')', ' ']).next())
}

/// The file in the repository that a link of a page in this folder names; none for a heading of the same page, or another site.
fn inside(folder: impl AsRef<Path>, link: &str) -> Option<PathBuf> {
    let path = link.split('#').next().unwrap_or_default();
    if path.is_empty() || path.contains("://") {
        return None;
    }
    let mut resolved = PathBuf::new();
    for part in folder.as_ref().join(path).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    Some(resolved)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_file_of_the_repository_or_none() {
        let file = |link| inside("docs", link);
        assert_eq!(file("edge.md#keys"), Some("docs/edge.md".into()));
        assert_eq!(file("../envoy/edge.yaml"), Some("envoy/edge.yaml".into()));
        assert_eq!(file("#keys"), None);
        assert_eq!(file("https://example.com/a.md"), None);
    }

    #[test]
    fn a_page_that_is_moved_up_links_to_the_same() {
        let text = above("[a](a.md#x) [b](../b.md) [c](#c) [d](https://example.com)");
        assert_eq!(
            text,
            "[a](docs/a.md#x) [b](b.md) [c](#c) [d](https://example.com)"
        );
    }

    #[test]
    fn what_stands_in_code_is_no_link() {
        let text = "[a](a.md)\n```text\n[b](b.md)\n```\n[c](c.md#x)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["a.md", "c.md#x"]);
    }
}
