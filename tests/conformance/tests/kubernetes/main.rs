//! The files of `envoy/kubernetes` and `kong/kubernetes`: each resource by the model of its kind, and the filter
//! in each configured as in `envoy/edge.yaml`.

mod models;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Helm's values are no resources.
const NO_RESOURCES: &str = "kong/kubernetes/values.yaml";

/// Kinds that no registry of packages has a model of.
const WITHOUT_MODEL: [&str; 1] = ["configuration.konghq.com/v1 KongPlugin"];

const VARIABLES: [&str; 2] = ["INTER_SERVICE_SECRET", "JWT_SECRET_KEY"];

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
    let named = |resource: Value| {
        let name = resource["metadata"]["name"].as_str().expect("a name");
        (format!("{path}: {} {name}", kind(&resource)), resource)
    };
    documents(path).into_iter().map(named).collect()
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
    let mut files: Vec<String> = ["envoy/kubernetes", "kong/kubernetes"]
        .into_iter()
        .flat_map(|folder| {
            let entries = fs::read_dir(root().join(folder)).expect(folder);
            entries.map(move |entry| {
                let name = entry.expect("an entry").file_name();
                format!("{folder}/{}", name.to_str().expect("text"))
            })
        })
        .filter(|file| file.ends_with(".yaml") && file != NO_RESOURCES)
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

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The filter's configuration in `envoy/edge.yaml`.
fn shown() -> Value {
    let filter = "http_filters/2/typed_config/config/configuration/value";
    at(&document("envoy/edge.yaml"), &format!("{MANAGER}/{filter}")).clone()
}

const WASM: &str = "/spec/wasm/0";

#[test]
fn every_resource_is_one_of_its_kind() {
    let resources: Vec<_> = files().iter().flat_map(|file| resources(file)).collect();
    let Some(answers) = models::check(resources.iter().map(|(_, resource)| resource)) else {
        return;
    };
    let mut without_model = BTreeSet::new();
    for ((name, resource), answer) in resources.iter().zip(answers) {
        match answer {
            Some(wrong) => assert!(wrong.is_empty(), "{name}: {wrong:#?}"),
            None => {
                without_model.insert(kind(resource));
            }
        }
    }
    assert!(without_model.iter().eq(WITHOUT_MODEL), "{without_model:?}");
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

#[test]
fn the_filter_is_configured_as_in_the_file_for_envoy() {
    for (file, kind, pointer) in [
        (
            "envoy/kubernetes/envoy-gateway.yaml",
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/config",
        ),
        (
            "envoy/kubernetes/envoy-gateway-http.yaml",
            "EnvoyExtensionPolicy",
            "/spec/wasm/0/config",
        ),
        (
            "envoy/kubernetes/istio.yaml",
            "WasmPlugin",
            "/spec/pluginConfig",
        ),
        ("kong/kubernetes/ingress.yaml", "KongPlugin", "/config"),
    ] {
        assert_eq!(at(&resource(file, kind), pointer), &shown(), "{file}");
    }
}

#[test]
fn a_filter_from_a_web_server_is_the_filter_from_an_image_but_for_where_it_comes_from() {
    let mut image = resource(
        "envoy/kubernetes/envoy-gateway.yaml",
        "EnvoyExtensionPolicy",
    );
    let mut http = resource(
        "envoy/kubernetes/envoy-gateway-http.yaml",
        "EnvoyExtensionPolicy",
    );
    for policy in [&mut image, &mut http] {
        policy.pointer_mut(WASM).expect("a filter")["code"].take();
    }
    assert_eq!(image, http);
}

#[test]
fn a_filter_sees_the_variables_that_its_gateway_has_from_a_secret() {
    let of_deployment = |deployment: &Value, env: &str| {
        let variables = at(deployment, env).as_array().expect("variables").clone();
        let mut names = Vec::new();
        for variable in variables {
            let key = at(&variable, "/valueFrom/secretKeyRef/key").clone();
            assert_eq!(variable["name"], key);
            names.push(key);
        }
        names.sort_unstable_by_key(Value::to_string);
        names
    };
    let file = "envoy/kubernetes/envoy-gateway.yaml";
    let env = "/spec/provider/kubernetes/envoyDeployment/container/env";
    assert_eq!(of_deployment(&resource(file, "EnvoyProxy"), env), VARIABLES);
    let mut seen = at(&resource(file, "EnvoyExtensionPolicy"), WASM)["env"]["hostKeys"].clone();
    seen.as_array_mut()
        .expect("names")
        .sort_unstable_by_key(Value::to_string);
    assert_eq!(seen, json!(VARIABLES));

    let container = "/spec/template/spec/containers/0/env";
    let file = "envoy/kubernetes/istio.yaml";
    assert_eq!(
        of_deployment(&resource(file, "Deployment"), container),
        VARIABLES
    );
    let plugin = resource(file, "WasmPlugin");
    let seen = at(&plugin, "/spec/vmConfig/env")
        .as_array()
        .expect("variables");
    for name in VARIABLES {
        assert!(
            seen.contains(&json!({ "name": name, "valueFrom": "HOST" })),
            "{name}"
        );
    }

    let alone = resource("envoy/kubernetes/deployment.yaml", "Deployment");
    assert_eq!(of_deployment(&alone, container), VARIABLES);

    let values = document(NO_RESOURCES);
    for name in VARIABLES {
        let variable = &values["gateway"]["customEnv"][name.to_lowercase()];
        assert_eq!(at(variable, "/valueFrom/secretKeyRef/key"), name);
        let shown_to_workers = values["gateway"]["env"]["nginx_main_env"].as_str();
        assert!(shown_to_workers.expect("text").contains(name));
    }
}

#[test]
fn pages_read_the_same_headers_behind_every_gateway() {
    let edge = document("envoy/edge.yaml");
    let host = format!("{MANAGER}/route_config/virtual_hosts/0/typed_per_filter_config");
    let policy = &at(&edge, &host)["envoy.filters.http.cors"];
    let shown = policy["expose_headers"].as_str().expect("text");
    let shown: Vec<&str> = shown
        .split([',', ' ', '\n'])
        .filter(|h| !h.is_empty())
        .collect();
    assert!(shown.contains(&"Retry-After"));
    for (file, kind, pointer) in [
        (
            "envoy/kubernetes/envoy-gateway.yaml",
            "SecurityPolicy",
            "/spec/cors/exposeHeaders",
        ),
        (
            "envoy/kubernetes/istio.yaml",
            "VirtualService",
            "/spec/http/0/corsPolicy/exposeHeaders",
        ),
        (
            "envoy/kubernetes/istio.yaml",
            "VirtualService",
            "/spec/http/1/corsPolicy/exposeHeaders",
        ),
    ] {
        assert_eq!(at(&resource(file, kind), pointer), &json!(shown), "{file}");
    }
    let cors = documents("kong/kubernetes/ingress.yaml").remove(1);
    assert_eq!(cors["config"]["exposed_headers"], json!(shown));
}

#[test]
fn metrics_have_the_same_labels_in_envoy_gateway() {
    let proxy = resource("envoy/kubernetes/envoy-gateway.yaml", "EnvoyProxy");
    let bootstrap = at(&proxy, "/spec/bootstrap/value").as_str().expect("text");
    let bootstrap: Value = serde_saphyr::from_str(bootstrap).expect("a bootstrap");
    let pointer = "/stats_config/stats_tags";
    assert_eq!(
        at(&bootstrap, pointer),
        at(&document("envoy/edge.yaml"), pointer)
    );
}

#[test]
fn a_deployment_alone_has_the_configuration_of_the_stack_and_goes_without_a_lost_request() {
    let kustomization = document("envoy/kustomization.yaml");
    assert_eq!(
        kustomization["resources"],
        json!(["kubernetes/deployment.yaml"])
    );
    let map = &kustomization["configMapGenerator"][0];
    let files: Vec<&str> = map["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| file.as_str().expect("text"))
        .collect();
    let there: BTreeSet<String> = fs::read_dir(root().join("envoy/stack/edge"))
        .expect("the stack")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("stack/edge/{}", name.to_str().expect("text")))
        .collect();
    assert!(there.iter().eq(&files), "{there:?}");

    let deployment = resource("envoy/kubernetes/deployment.yaml", "Deployment");
    assert_eq!(
        at(&deployment, "/spec/strategy/rollingUpdate/maxUnavailable"),
        0
    );
    let pod = at(&deployment, "/spec/template/spec");
    assert_eq!(at(pod, "/volumes/0/configMap/name"), &map["name"]);
    assert_eq!(at(pod, "/securityContext/runAsNonRoot"), true);
    let container = at(pod, "/containers/0");
    assert_eq!(
        at(container, "/securityContext/readOnlyRootFilesystem"),
        true
    );
    assert_eq!(at(container, "/readinessProbe/httpGet/path"), "/ready");
    let hook = at(container, "/lifecycle/preStop/exec/command/2");
    let slept = hook
        .as_str()
        .expect("text")
        .trim_end()
        .rsplit_once("sleep ");
    let slept: u64 = slept.expect("a pause").1.parse().expect("seconds");
    let grace = at(pod, "/terminationGracePeriodSeconds")
        .as_u64()
        .expect("seconds");
    // What the routes allow, and what Kubernetes allows.
    assert!((31..grace).contains(&slept));
}
