//! `cargo xtask lds`: an Envoy configuration of one file as two, of which Envoy takes the second while it runs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Where from and where to.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A file like envoy/edge.yaml: what is yours at its head, then listeners, then clusters.
    file: PathBuf,
    /// The folder that the two are written to: `envoy.yaml`, and `listeners/listeners.yaml`.
    folder: PathBuf,
}

/// Writes both files. What is there stays.
///
/// # Errors
/// The file has another shape, or one of the two is there.
pub fn run(args: &Args) -> Result<()> {
    let text = fs::read_to_string(&args.file).with_context(|| args.file.display().to_string())?;
    let folder = args.folder.join("listeners");
    let files = split(&text, &folder).with_context(|| args.file.display().to_string())?;
    let bootstrap = args.folder.join("envoy.yaml");
    let listeners = folder.join(LISTENERS);
    for file in [&bootstrap, &listeners] {
        if file.exists() {
            bail!("{} is there; expected a folder without it", file.display());
        }
    }
    fs::create_dir_all(&folder)?;
    fs::write(&listeners, files.listeners)?;
    fs::write(&bootstrap, files.bootstrap)?;
    println!("envoy -c {}", bootstrap.display());
    Ok(())
}

const LISTENERS: &str = "listeners.yaml";

struct Files {
    bootstrap: String,
    listeners: String,
}

/// Line by line, so that comments stay. A YAML anchor does not reach from one file into another, so that each has what
/// it uses of the head, and nothing that would have no effect there.
fn split(text: &str, folder: &Path) -> Result<Files> {
    const STATIC: &str = "\nstatic_resources:\n  listeners:\n";
    let (head, rest) = text
        .split_once(STATIC)
        .context("it has no `static_resources` that begin with `listeners`")?;
    let (listeners, clusters) = rest
        .split_once("\n  clusters:\n")
        .context("no `clusters` follow its `listeners`")?;
    let folder = folder.display();
    let bootstrap = without_unused(head.lines(), &[head, clusters]);
    let bootstrap = format!(
        "{}\n\n# Envoy takes the listeners while it runs: change a copy of the file, and move it there (`mv`).\n\
         dynamic_resources:\n  lds_config:\n    path_config_source:\n      path: {folder}/{LISTENERS}\n      \
         watched_directory: {{ path: {folder} }}\n\nstatic_resources:\n  clusters:\n{clusters}",
        bootstrap.join("\n").trim_end()
    );
    let mut yours = Some(yours(head, listeners));
    let mut resources = "# Changed by a copy of it that is moved here (`mv`): Envoy reads it as a whole, and keeps what it has where the\n\
                         # new one is wrong.\n\nresources:\n"
        .to_owned();
    for line in listeners.lines() {
        // One level less than in the bootstrap.
        let line = line.strip_prefix("  ").unwrap_or(line);
        let Some(name) = line.strip_prefix("  - name: ") else {
            writeln!(resources, "{line}")?;
            continue;
        };
        const TYPE: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
        writeln!(resources, "  - \"@type\": {TYPE}\n    name: {name}")?;
        if let Some(yours) = yours.take().flatten() {
            write!(
                resources,
                "    metadata:\n      filter_metadata:\n{yours}\n"
            )?;
        }
    }
    if yours.is_some() {
        bail!("its listeners do not begin with `- name:`");
    }
    let listeners = resources;
    Ok(Files {
        bootstrap,
        listeners,
    })
}

/// The lines without the entries that nothing uses, each with all that lies deeper behind it.
fn without_unused<'l>(lines: impl Iterator<Item = &'l str>, parts: &[&str]) -> Vec<&'l str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut unused = None;
    let kept = |line: &&str| {
        if unused.is_some_and(|at| !line.is_empty() && depth(line) > at) {
            return false;
        }
        unused = is_unused(line, parts).then(|| depth(line));
        unused.is_none()
    };
    lines.filter(kept).collect()
}

/// Whether a line of the head gives a name to a value that no part of a file uses.
fn is_unused(line: &str, parts: &[&str]) -> bool {
    let anchor = line.split_once(": &").map(|(_, rest)| rest);
    let Some(name) = anchor.and_then(|rest| rest.split_whitespace().next()) else {
        return false;
    };
    let alias = format!("*{name}");
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let uses = |part: &&str| part.split(&alias).skip(1).any(ends);
    !parts.iter().any(uses)
}

/// What the listeners use of the block `yours` of the head's metadata, as deep as a listener's.
fn yours(head: &str, listeners: &str) -> Option<String> {
    let (_, block) = head.split_once("\n    yours:\n")?;
    let deeper = |line: &&str| line.is_empty() || line.starts_with("      ");
    let lines = block.lines().take_while(deeper);
    let lines = without_unused(lines, &[listeners]).into_iter();
    let lines = lines.map(|line| match line {
        "" => String::new(),
        line => format!("    {line}"),
    });
    let lines: Vec<String> = lines.collect();
    Some(format!("        yours:\n{}", lines.join("\n").trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# head\nnode:\n  id: edge\n  metadata:\n    yours:\n      # Where.\n      port: &port\n        - 8000\n\n      \
                        admin: &admin 9901\n\nadmin: *admin\n\nstatic_resources:\n  listeners:\n    - name: gateway\n      \
                        # It listens.\n      port: *port\n    - name: other\n      port: 1\n\n  clusters:\n    - name: rag\n";

    #[test]
    fn both_files_have_what_is_at_the_head_and_their_own_part_with_its_comments() {
        let files = split(FILE, Path::new("run/listeners")).unwrap();
        let (_, listeners) = files.listeners.split_once("\nresources:\n").unwrap();
        assert_eq!(
            listeners,
            "  - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n    name: gateway\n    metadata:\n      \
             filter_metadata:\n        yours:\n          # Where.\n          port: &port\n            - 8000\n    \
             # It listens.\n    port: *port\n  \
             - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n    name: other\n    port: 1\n"
        );
        let head = "# head\nnode:\n  id: edge\n  metadata:\n    yours:\n      # Where.\n\n      admin: &admin 9901\n";
        assert!(files.bootstrap.starts_with(head), "{}", files.bootstrap);
        assert!(
            files
                .bootstrap
                .contains("path: run/listeners/listeners.yaml\n")
        );
        assert!(
            files
                .bootstrap
                .ends_with("\nstatic_resources:\n  clusters:\n    - name: rag\n")
        );
        assert!(!files.bootstrap.contains("It listens"));
    }

    #[test]
    fn a_file_of_another_shape_is_named_as_such() {
        for (text, expected) in [
            ("", "it has no `static_resources`"),
            (
                "a:\n\nstatic_resources:\n  listeners:\n    - name: a\n",
                "no `clusters` follow",
            ),
            (
                "a:\n\nstatic_resources:\n  listeners:\n    - address: a\n\n  clusters:\n",
                "its listeners do not begin",
            ),
        ] {
            let error = split(text, Path::new("x")).err().unwrap().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
