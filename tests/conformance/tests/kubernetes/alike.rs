//! What stands in several files, and has to be the same in each.

use serde_json::{Value, json};

use super::{NO_RESOURCES, at, document, documents, resource};

const VARIABLES: [&str; 2] = ["INTER_SERVICE_SECRET", "JWT_SECRET_KEY"];

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The filter's configuration in `envoy/edge.yaml`.
fn shown() -> Value {
    let filter = "http_filters/3/typed_config/config/configuration/value";
    at(&document("envoy/edge.yaml"), &format!("{MANAGER}/{filter}")).clone()
}

const WASM: &str = "/spec/wasm/0";

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
fn a_deployment_alone_goes_without_a_lost_request() {
    let deployment = resource("envoy/kubernetes/deployment.yaml", "Deployment");
    assert_eq!(
        at(&deployment, "/spec/strategy/rollingUpdate/maxUnavailable"),
        0
    );
    let pod = at(&deployment, "/spec/template/spec");
    assert_eq!(at(pod, "/securityContext/runAsNonRoot"), true);
    let container = at(pod, "/containers/0");
    assert_eq!(
        at(container, "/securityContext/readOnlyRootFilesystem"),
        true
    );
    assert_eq!(
        at(container, "/readinessProbe/httpGet/path"),
        "/api/v1/rag/status/ready"
    );
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
