//! `cargo xtask release`: what a release hands out, in one directory. It publishes nothing.

mod layout;
mod notes;
mod sbom;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::command::capture;
use crate::filters::FILTERS;
use crate::workspace::{Workspace, write_whole};
use crate::{build, meta};

pub use layout::Layout;
pub use notes::notes;
pub use sbom::sbom;

/// The version that is released.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The sums of all files but the images, whose names are their sums.
const SUMS: &str = "SHA256SUMS";
/// Of each image: its digest, its layout's directory, its name and its tag.
const IMAGES: &str = "images.txt";

/// What to put together.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Also where the commit has no tag `v<version>`, or the changelog no heading of that version.
    #[arg(long)]
    dry_run: bool,
    /// Take the filters as they were built last.
    #[arg(long)]
    built: bool,
    /// Where to put it, in place of target/release-artifacts. What is there is replaced.
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
}

impl Args {
    /// A dry run with the filters as they were built last, into this directory.
    #[must_use]
    pub fn dry(output: PathBuf) -> Self {
        Self {
            dry_run: true,
            built: true,
            output: Some(output),
        }
    }
}

/// Puts everything together, and says what there is.
///
/// # Errors
/// This is not the commit of the version's tag, a filter does not build, or a file can't be written.
pub fn run(args: &Args, workspace: &Workspace) -> Result<()> {
    let notes = notes(workspace, args.dry_run)?;
    if !args.dry_run {
        is_tagged(workspace)?;
    }
    if !args.built {
        build::run(workspace)?;
    }
    let output = match &args.output {
        Some(output) => output.clone(),
        None => workspace.root().join("target/release-artifacts"),
    };
    if output.exists() && !output.join(SUMS).exists() && fs::read_dir(&output)?.next().is_some() {
        bail!("{} holds something else; remove it", output.display());
    }
    if output.exists() {
        fs::remove_dir_all(&output)?;
    }
    let mut files = modules(workspace)?;
    files.insert("sbom.cdx.json".to_owned(), sbom(workspace)?);
    files.insert("RELEASE_NOTES.md".to_owned(), notes.into_bytes());
    files.insert(IMAGES.to_owned(), images(&output, workspace)?);
    for (name, content) in &files {
        write_whole(&output.join(name), content)?;
    }
    let sums: String = files
        .iter()
        .map(|(name, content)| format!("{}  {name}\n", hex(content)))
        .collect();
    // Last: a directory that has it is whole.
    write_whole(&output.join(SUMS), sums.as_bytes())?;
    let shown = workspace.shown(&output);
    println!(
        "{shown}: {} files, {} images, {SUMS}",
        files.len(),
        layouts().count()
    );
    Ok(())
}

/// The filters, each with what describes it, the same without what only Kong needs, and the module of native code.
fn modules(workspace: &Workspace) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for filter in FILTERS {
        let name = filter.name;
        let described = meta::file_name(filter);
        for (from, to) in [
            (format!("{name}.wasm"), format!("{name}.wasm")),
            (described.clone(), described),
            (format!("envoy/{name}.wasm"), format!("{name}.envoy.wasm")),
        ] {
            files.insert(to, read(&workspace.filters().join(from))?);
        }
    }
    let native = workspace.filters().join(build::MODULE);
    if native.exists() {
        let name = format!("libportcullis.linux-{}.so", architecture());
        files.insert(name, read(&native)?);
    }
    Ok(files)
}

/// As registries of images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Which filters come as which image.
fn layouts() -> impl Iterator<Item = (&'static str, Layout)> {
    FILTERS
        .iter()
        .flat_map(|filter| Layout::ALL.map(|layout| (filter.name, layout)))
}

/// Writes the images, and lists them.
fn images(output: &Path, workspace: &Workspace) -> Result<Vec<u8>> {
    let mut list = String::new();
    for (filter, layout) in layouts() {
        let module = read(&workspace.filters().join(format!("{filter}.wasm")))?;
        let tag = layout.tag(VERSION);
        let directory = format!("images/{filter}.{}", layout.name());
        let digest = layout.write(&output.join(&directory), filter, VERSION, &module)?;
        list.push_str(&format!("{digest} {directory} {filter}-wasm:{tag}\n"));
    }
    Ok(list.into_bytes())
}

/// A release is what the tag of its version names, and nothing else.
fn is_tagged(workspace: &Workspace) -> Result<()> {
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(workspace.root()).args(arguments);
        capture(&mut git)
    };
    let tag = format!("v{VERSION}");
    let tags = git(&["tag", "--points-at", "HEAD"])?;
    if !tags.lines().any(|line| line == tag) {
        bail!("this commit has no tag {tag}; set it, or try with --dry-run");
    }
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    if !changed.is_empty() {
        bail!("files differ from those of {tag}:\n{changed}");
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .with_context(|| format!("can't read {}; run `cargo xtask build`", path.display()))
}

/// The SHA-256 of bytes, in hexadecimal digits.
#[must_use]
pub fn hex(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
