//! What a release hands out: each image as Istio's and Envoy Gateway's fetcher reads it, the sums, the list of components.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;
use xtask::filters::FILTERS;
use xtask::release::{self, Args, VERSION, hex};
use xtask::workspace::Workspace;

/// One dry run for all tests.
static RELEASE: LazyLock<TempDir> = LazyLock::new(release);

fn release() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("release");
    release::run(&Args::dry(output), &Workspace::here()).unwrap();
    directory
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = RELEASE.path().join("release").join(path);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(path: &str) -> String {
    String::from_utf8(read(path)).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// An image layout, read as a registry's client reads it: each blob is of the size and the digest by which it is named.
struct Image {
    directory: String,
    digest: String,
    manifest: Value,
}

impl Image {
    fn open(directory: &str) -> Self {
        let marker = json(&read(format!("{directory}/oci-layout")));
        assert_eq!(marker["imageLayoutVersion"], "1.0.0");
        let index = json(&read(format!("{directory}/index.json")));
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 1);
        let manifest = blob(directory, &manifests[0]);
        Self {
            directory: directory.to_owned(),
            digest: manifests[0]["digest"].as_str().unwrap().to_owned(),
            manifest: json(&manifest),
        }
    }

    fn layers(&self) -> &Vec<Value> {
        self.manifest["layers"].as_array().unwrap()
    }

    /// What `extractOCIStandardImage` of `pkg/wasm/imagefetcher.go` does.
    fn as_plugin(&self) -> Option<Vec<u8>> {
        let last = self.layers().last()?;
        if last["mediaType"] != "application/vnd.oci.image.layer.v1.tar+gzip" {
            return None;
        }
        let mut tar = Vec::new();
        let layer = blob(&self.directory, last);
        GzDecoder::new(&*layer).read_to_end(&mut tar).unwrap();
        let config = json(&blob(&self.directory, &self.manifest["config"]));
        let whole = format!("sha256:{}", hex(&tar));
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([whole]));
        let mut archive = tar::Archive::new(&*tar);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().file_name()? == "plugin.wasm" {
                let mut module = Vec::new();
                entry.read_to_end(&mut module).unwrap();
                return Some(module);
            }
        }
        None
    }

    /// What `extractOCIArtifactImage` does, which the fetcher tries next.
    fn as_module(&self) -> Option<Vec<u8>> {
        if self.layers().len() != 2 {
            return None;
        }
        let kind = "application/vnd.module.wasm.content.layer.v1+wasm";
        let layer = self
            .layers()
            .iter()
            .find(|layer| layer["mediaType"] == kind)?;
        Some(blob(&self.directory, layer))
    }
}

/// What a descriptor names.
fn blob(directory: &str, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let digest = digest.strip_prefix("sha256:").unwrap();
    let content = read(format!("{directory}/blobs/sha256/{digest}"));
    assert_eq!(hex(&content), digest);
    assert_eq!(descriptor["size"], content.len());
    content
}

fn built(filter: &str) -> Vec<u8> {
    fs::read(Workspace::here().filters().join(format!("{filter}.wasm"))).unwrap()
}

#[test]
fn each_filter_comes_out_of_either_image_byte_for_byte_as_it_was_built() {
    for filter in FILTERS {
        let name = filter.name;
        let plugin = Image::open(&format!("images/{name}.plugin"));
        assert!(plugin.as_plugin().unwrap() == built(name), "{name}");
        let config = &plugin.manifest["config"]["mediaType"];
        assert_eq!(config, "application/vnd.oci.image.config.v1+json");

        let module = Image::open(&format!("images/{name}.module"));
        assert_eq!(module.as_plugin(), None);
        assert!(module.as_module().unwrap() == built(name), "{name}");
        let config = &module.manifest["config"]["mediaType"];
        assert_eq!(config, "application/vnd.module.wasm.config.v1+json");
        for image in [plugin, module] {
            let kind = &image.manifest["mediaType"];
            assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
        }
    }
}

#[test]
fn the_list_of_images_has_each_with_its_digest_and_a_tag_of_its_own() {
    let list = text("images.txt");
    let mut names = BTreeSet::new();
    for line in list.lines() {
        let [digest, directory, name] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert_eq!(Image::open(directory).digest, digest);
        assert!(name.contains(&format!("-wasm:{VERSION}")), "{name}");
        assert!(names.insert(name), "{name} is there twice");
    }
    assert_eq!(names.len(), 2 * FILTERS.len());
}

/// Everything below a directory, by its path there.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut next = vec![directory.to_owned()];
    while let Some(folder) = next.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                next.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), content);
            }
        }
    }
    found
}

#[test]
fn a_second_run_makes_the_same_bytes() {
    let again = release();
    let (first, second) = (tree(RELEASE.path()), tree(again.path()));
    assert!(first.keys().eq(second.keys()));
    for (path, content) in &first {
        assert!(second[path] == *content, "{}", path.display());
    }
}

#[test]
fn every_file_has_its_sum() {
    let sums = text("SHA256SUMS");
    let mut named = BTreeSet::new();
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        assert_eq!(hex(&read(name)), sum, "{name}");
        named.insert(name.to_owned());
    }
    let files = fs::read_dir(RELEASE.path().join("release")).unwrap();
    let files = files.map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.path().is_file());
    let mut files: BTreeSet<_> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(files.remove("SHA256SUMS"));
    assert_eq!(named, files);
    for wanted in ["edge.wasm", "edge.meta.json", "edge.envoy.wasm"] {
        assert!(named.contains(wanted), "{wanted}");
    }
}

#[test]
fn the_list_of_components_has_what_is_built_in_and_nothing_of_the_tests() {
    let list = json(&read("sbom.cdx.json"));
    assert_eq!(
        (&list["bomFormat"], &list["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let components = list["components"].as_array().unwrap();
    let names: BTreeSet<_> = components
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    for wanted in [
        "edge",
        "portcullis",
        "proxy-wasm",
        "jwt-compact",
        "ring",
        "clap",
    ] {
        assert!(names.contains(wanted), "{wanted}");
    }
    for foreign in ["proptest", "portcullis-sim", "tantivy", "xtask", "loom"] {
        assert!(!names.contains(foreign), "{foreign}");
    }
    let mut references =
        BTreeSet::from([list["metadata"]["component"]["bom-ref"].clone().to_string()]);
    for component in components {
        assert!(
            references.insert(component["bom-ref"].to_string()),
            "{component}"
        );
        let is_ours = component["purl"]
            .as_str()
            .unwrap()
            .starts_with("pkg:generic/portcullis/");
        assert!(
            is_ours || component["hashes"][0]["content"].is_string(),
            "{component}"
        );
        assert!(
            component["licenses"][0]["expression"].is_string(),
            "{component}"
        );
    }
    let dependencies = list["dependencies"].as_array().unwrap();
    assert_eq!(dependencies.len(), references.len());
    let on = dependencies
        .iter()
        .flat_map(|d| d["dependsOn"].as_array().unwrap());
    for reference in on.chain(dependencies.iter().map(|d| &d["ref"])) {
        assert!(references.contains(&reference.to_string()), "{reference}");
    }
    // Who reads it learns nothing of the machine.
    let root = Workspace::here().root().display().to_string();
    assert!(!list.to_string().contains(&root));
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mine"), "").unwrap();
    let output = directory.path().to_owned();
    let error = release::run(&Args::dry(output), &Workspace::here()).unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
    assert!(directory.path().join("mine").exists());
}
