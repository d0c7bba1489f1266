//! Images with one filter, as OCI image layouts: directories that `oras` and `crane` push as they are.
//!
//! Istio and Envoy Gateway fetch a filter from a registry by the Wasm image specification, which has two variants. Nothing in
//! an image depends on when or where it was made: the same module has the same digest.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::hex;
use crate::workspace::write_whole;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";

/// A variant of the Wasm image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// An ordinary image, whose last layer is a tar with `plugin.wasm` (`spec-compat.md`).
    Plugin,
    /// An artifact, one of whose layers is the module itself (`spec.md`).
    Module,
}

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plugin, Self::Module];

    /// What its directory's name ends with.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Module => "module",
        }
    }

    /// The tag of a version's image.
    #[must_use]
    pub fn tag(self, version: &str) -> String {
        match self {
            Self::Plugin => version.to_owned(),
            Self::Module => format!("{version}-module"),
        }
    }

    /// Writes a module's image into a directory, and returns its digest: `sha256:` and 64 digits.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn write(
        self,
        directory: &Path,
        filter: &str,
        version: &str,
        module: &[u8],
    ) -> Result<String> {
        let blobs = Blobs(directory);
        let (config, layers) = match self {
            Self::Plugin => plugin(&blobs, module)?,
            Self::Module => artifact(&blobs, filter, module)?,
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": {
                "org.opencontainers.image.title": filter,
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        });
        let mut described = blobs.json(MANIFEST, &manifest)?;
        let digest = described["digest"].as_str().unwrap_or_default().to_owned();
        described["annotations"] =
            json!({ "org.opencontainers.image.ref.name": self.tag(version) });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [described],
        });
        write_whole(&directory.join("index.json"), index.to_string().as_bytes())?;
        let marker = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        write_whole(&directory.join("oci-layout"), marker.as_bytes())?;
        Ok(digest)
    }
}

/// The configuration and the layer of an ordinary image.
fn plugin(blobs: &Blobs<'_>, module: &[u8]) -> Result<(Value, Vec<Value>)> {
    let tar = tar("plugin.wasm", module)?;
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&tar))] },
    });
    let mut layer = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    layer.write_all(&tar)?;
    let layer = blobs.put(
        "application/vnd.oci.image.layer.v1.tar+gzip",
        &layer.finish()?,
    )?;
    let config = blobs.json("application/vnd.oci.image.config.v1+json", &config)?;
    Ok((config, vec![layer]))
}

/// The configuration and the layers of an artifact. Istio and Envoy Gateway want two layers: what the module is, and the module.
fn artifact(blobs: &Blobs<'_>, filter: &str, module: &[u8]) -> Result<(Value, Vec<Value>)> {
    let config = json!({
        "type": "envoy_proxy",
        "abiVersions": ["v0.2.1"],
        "config": { "rootIds": [filter] },
    });
    let config = blobs.json(WASM_CONFIG, &config)?;
    let module = blobs.put("application/vnd.module.wasm.content.layer.v1+wasm", module)?;
    Ok((config.clone(), vec![config, module]))
}

/// The directory in which each file is called by its own digest.
struct Blobs<'a>(&'a Path);

impl Blobs<'_> {
    /// Puts a file there, and describes it as a manifest does.
    fn put(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest = hex(content);
        write_whole(&self.0.join("blobs/sha256").join(&digest), content)?;
        Ok(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": content.len(),
        }))
    }

    fn json(&self, media_type: &str, content: &Value) -> Result<Value> {
        self.put(media_type, content.to_string().as_bytes())
    }
}

/// An archive with one file, of nobody and no time.
fn tar(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(content.len())?);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content)?;
    Ok(archive.into_inner()?)
}
