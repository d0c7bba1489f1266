//! What a release's page says: its part of the changelog.

use std::fs;

use anyhow::{Context as _, Result, bail};

use super::VERSION;
use crate::workspace::Workspace;

/// The changelog's part for this version; in a dry run what stands under *Unreleased*, where the version has no heading yet.
///
/// # Errors
/// There is no such part, or nothing in it.
pub fn notes(workspace: &Workspace, dry_run: bool) -> Result<String> {
    let path = workspace.root().join("CHANGELOG.md");
    let text = fs::read_to_string(&path).context("can't read CHANGELOG.md")?;
    let part = section(&text, VERSION);
    let part = part.or_else(|| dry_run.then(|| section(&text, "Unreleased")).flatten());
    let Some(part) = part else {
        bail!("CHANGELOG.md has no heading `## [{VERSION}] - DATE`");
    };
    if part.is_empty() {
        bail!("CHANGELOG.md says nothing of {VERSION}");
    }
    // Elsewhere than in the repository its links would lead nowhere.
    Ok(format!("{}\n", absolute(&part)))
}

/// The text below a version's heading, up to the next version's.
fn section(changelog: &str, version: &str) -> Option<String> {
    let heading = format!("## [{version}]");
    let mut lines = changelog.lines();
    lines.find(|line| line.starts_with(&heading))?;
    let lines: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    Some(lines.join("\n").trim().to_owned())
}

/// Links to files of the repository as links from a release's page, which is two levels below it.
fn absolute(text: &str) -> String {
    let tag = format!("](../../blob/v{VERSION}/");
    let mut parts = text.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let target = part.split(')').next().unwrap_or_default();
        let elsewhere = target.contains("://") || target.starts_with('#');
        text + if elsewhere { "](" } else { &tag } + part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n### Added\n\n- This. [docs](docs/edge.md)\n\n\
                             ## [0.1.0] - 2026-11-01\n\n- That.\n";

    #[test]
    fn a_versions_part_ends_where_the_next_begins() {
        let part = section(CHANGELOG, "0.2.0").unwrap();
        assert_eq!(part, "### Added\n\n- This. [docs](docs/edge.md)");
        assert_eq!(section(CHANGELOG, "0.1.0").unwrap(), "- That.");
        assert_eq!(section(CHANGELOG, "Unreleased").unwrap(), "");
        assert_eq!(section(CHANGELOG, "0.3.0"), None);
    }

    #[test]
    fn links_lead_to_the_tags_files() {
        let text = absolute("[a](docs/edge.md#x), [b](https://example.com)");
        assert_eq!(
            text,
            format!("[a](../../blob/v{VERSION}/docs/edge.md#x), [b](https://example.com)")
        );
    }
}
