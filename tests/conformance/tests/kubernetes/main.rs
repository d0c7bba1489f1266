//! The files of `envoy/kubernetes`, `kong/kubernetes` and `kubernetes`: each resource by the model of its kind, and the filter
//! in each configured as in `envoy/edge.yaml`.

mod alike;
mod kustomize;
mod models;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Helm's values are no resources.
const NO_RESOURCES: &str = "kong/kubernetes/values.yaml";

/// Kinds that no registry of packages has a model of.
const WITHOUT_MODEL: [&str; 1] = ["configuration.konghq.com/v1 KongPlugin"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn documents(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> Value {
    documents(path).remove(0)
}

/// The resources in a file, by what they are called in a message.
fn resources(path: &str) -> Vec<(String, Value)> {
    named(path, documents(path))
}

fn named(from: &str, resources: Vec<Value>) -> Vec<(String, Value)> {
    let named = |resource: Value| {
        let name = resource["metadata"]["name"].as_str().expect("a name");
        (format!("{from}: {} {name}", kind(&resource)), resource)
    };
    resources.into_iter().map(named).collect()
}

fn kind(resource: &Value) -> String {
    let part = |key: &str| resource[key].as_str().expect("text").to_owned();
    format!("{} {}", part("apiVersion"), part("kind"))
}

/// The first resource of a kind in a file.
fn resource(path: &str, kind: &str) -> Value {
    let mut documents = documents(path).into_iter();
    let found = documents.find(|resource| resource["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path}: no {kind}"))
}

/// Every file with resources.
fn files() -> Vec<String> {
    let mut files: Vec<String> = ["envoy/kubernetes", "kong/kubernetes", "kubernetes/egress"]
        .into_iter()
        .flat_map(|folder| {
            let entries = fs::read_dir(root().join(folder)).expect(folder);
            entries.map(move |entry| {
                let name = entry.expect("an entry").file_name();
                format!("{folder}/{}", name.to_str().expect("text"))
            })
        })
        .filter(|file| file.ends_with(".yaml") && file != NO_RESOURCES)
        // What puts them together.
        .filter(|file| !file.ends_with("/kustomization.yaml"))
        .collect();
    files.sort_unstable();
    assert!(files.len() >= 5, "{files:?}");
    files
}

/// A value somewhere within another one, by its keys.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"))
}

#[test]
fn every_resource_is_one_of_its_kind() {
    let resources: Vec<_> = files().iter().flat_map(|file| resources(file)).collect();
    let without_model = assert_valid(&resources);
    assert!(without_model.is_none_or(|kinds| kinds.iter().eq(WITHOUT_MODEL)));
}

/// Each is one of its kind. Comes back with the kinds that have no model, or with nothing where nothing could be checked.
fn assert_valid(resources: &[(String, Value)]) -> Option<BTreeSet<String>> {
    let answers = models::check(resources.iter().map(|(_, resource)| resource))?;
    let mut without_model = BTreeSet::new();
    for ((name, resource), answer) in resources.iter().zip(answers) {
        match answer {
            Some(wrong) => assert!(wrong.is_empty(), "{name}: {wrong:#?}"),
            None => {
                without_model.insert(kind(resource));
            }
        }
    }
    Some(without_model)
}

#[test]
fn a_resource_with_a_wrong_key_or_value_is_not_one_of_its_kind() {
    const GATEWAY: &str = "envoy/kubernetes/envoy-gateway.yaml";
    const ISTIO: &str = "envoy/kubernetes/istio.yaml";
    const ALONE: &str = "envoy/kubernetes/deployment.yaml";
    let wrong = [
        (
            GATEWAY,
            "EnvoyExtensionPolicy",
            "/spec/wasm/0",
            "hostKeys",
            json!([]),
            "hostKeys",
        ),
        (
            GATEWAY,
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/env",
            "hostKey",
            json!([]),
            "hostKey",
        ),
        (
            GATEWAY,
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/code",
            "type",
            json!("image"),
            "image",
        ),
        (
            GATEWAY,
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/code",
            "image",
            json!({}),
            "url",
        ),
        (
            GATEWAY,
            "EnvoyProxy",
            "/spec/provider/kubernetes",
            "deployment",
            json!({}),
            "deployment",
        ),
        (
            GATEWAY,
            "SecurityPolicy",
            "/spec/cors",
            "exposedHeaders",
            json!([]),
            "exposedHeaders",
        ),
        (
            GATEWAY,
            "ClientTrafficPolicy",
            "/spec/path",
            "escapedSlashesAction",
            json!("Keep"),
            "Keep",
        ),
        (
            GATEWAY,
            "BackendTrafficPolicy",
            "/spec/retry",
            "numRetries",
            json!("0"),
            "number",
        ),
        (
            GATEWAY,
            "Gateway",
            "/spec/listeners/0",
            "port",
            json!(99999),
            "65535",
        ),
        (
            GATEWAY,
            "HTTPRoute",
            "/spec/rules/0/timeouts",
            "request",
            json!("1 minute"),
            "pattern",
        ),
        (
            ISTIO,
            "WasmPlugin",
            "/spec",
            "failStrategy",
            json!("FAIL_SHUT"),
            "FAIL_SHUT",
        ),
        (ISTIO, "WasmPlugin", "/spec", "config", json!({}), "config"),
        (
            ISTIO,
            "WasmPlugin",
            "/spec/vmConfig/env/0",
            "valueFrm",
            json!("HOST"),
            "valueFrm",
        ),
        (
            ISTIO,
            "VirtualService",
            "/spec/http/0/corsPolicy",
            "origins",
            json!([]),
            "origins",
        ),
        (
            ISTIO,
            "EnvoyFilter",
            "/spec/configPatches/0",
            "applyTo",
            json!("HTTP"),
            "HTTP",
        ),
        (
            ALONE,
            "Deployment",
            "/spec/template/spec",
            "restart",
            json!("Always"),
            "restart",
        ),
        (
            ALONE,
            "Service",
            "/spec",
            "sessionAffinity",
            json!(true),
            "string",
        ),
        (
            ALONE,
            "PodDisruptionBudget",
            "/spec",
            "minimum",
            json!(1),
            "minimum",
        ),
    ];
    let changed: Vec<Value> = wrong
        .iter()
        .map(|(file, kind, pointer, key, value, _)| {
            let mut resource = resource(file, kind);
            at(&resource, pointer);
            resource.pointer_mut(pointer).expect("an object")[*key] = value.clone();
            resource
        })
        .collect();
    let Some(answers) = models::check(&changed) else {
        return;
    };
    for (wrong, answer) in wrong.iter().zip(answers) {
        let answer = answer.expect("a model");
        let named = answer.iter().any(|line| line.contains(wrong.5));
        assert!(named, "{wrong:?}: {answer:#?}");
    }
}
