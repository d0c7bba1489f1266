//! Whether the links of a site lead somewhere: to a file of it, and to a place in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The links of a site's pages that lead nowhere, each with the page that has it. Links to other sites are not followed.
///
/// # Errors
/// A file can't be read.
pub fn broken(site: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    collect(site, &mut pages)?;
    let ids: BTreeMap<&PathBuf, BTreeSet<&str>> = pages
        .iter()
        .map(|(path, html)| (path, attributes(html, "id").collect()))
        .collect();
    let mut broken = Vec::new();
    for (page, html) in &pages {
        for link in attributes(html, "href").chain(attributes(html, "src")) {
            let elsewhere = ["http:", "https:", "mailto:", "data:", "javascript:"];
            if elsewhere.iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.parent().unwrap_or(site);
            let target = match path {
                "" => page.clone(),
                path => folder.join(path),
            };
            let target = target.canonicalize();
            let found = target.is_ok_and(|target| {
                let known = ids.get(&target);
                place.is_empty() || known.is_none_or(|ids| ids.contains(place))
            });
            if !found {
                let page = page.strip_prefix(site).unwrap_or(page);
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    Ok(broken)
}

/// The text of every page below a directory, by its whole path.
fn collect(folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, pages)?;
        } else if path.extension().is_some_and(|ext| ext == "html") {
            pages.insert(path.canonicalize()?, fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// The values of an attribute.
fn attributes<'a>(html: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let begin = format!(" {name}=\"");
    let values: Vec<&str> = html.split(&begin).skip(1).collect();
    values.into_iter().filter_map(|rest| rest.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_and_to_a_place_in_it() {
        let site = tempfile::tempdir().unwrap();
        let write = |name: &str, html: &str| fs::write(site.path().join(name), html).unwrap();
        write(
            "a.html",
            r##"<h1 id="top"></h1><a href="b.html#here">, <a href="#top">"##,
        );
        write("b.html", r#"<p id="here"><a href="https://example.com/x">"#);
        assert_eq!(broken(site.path()).unwrap(), Vec::<String>::new());
        write(
            "b.html",
            r##"<a href="c.html"> <a href="#nowhere"> <img src="d.png">"##,
        );
        let broken = broken(site.path()).unwrap();
        for wanted in ["b.html#here", "c.html", "#nowhere", "d.png"] {
            assert!(
                broken.iter().any(|line| line.ends_with(wanted)),
                "{broken:?}"
            );
        }
        assert_eq!(broken.len(), 4);
    }
}
