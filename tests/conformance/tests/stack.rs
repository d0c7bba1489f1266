//! The stack of `envoy/compose.yaml`: its gateways do what the files in `envoy/` say, and its services can be
//! reached through them alone.

use std::path::Path;

use serde_json::{Value, json};

fn yaml(path: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Takes out what is at a pointer, so that the rest can be compared.
fn take(value: &mut Value, pointer: &str) -> Value {
    value
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("no {pointer}"))
        .take()
}

const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";

#[test]
fn the_edge_of_the_stack_is_the_edge_that_the_documentation_shows() {
    let mut shown = yaml("envoy/edge.yaml");
    let mut stack = yaml("envoy/stack/edge/listeners.yaml")["resources"][0].take();
    let mut listener = take(&mut shown, "/static_resources/listeners/0");
    let object = stack.as_object_mut().expect("a listener");
    assert_eq!(
        object.remove("@type"),
        Some(json!(
            "type.googleapis.com/envoy.config.listener.v3.Listener"
        ))
    );
    assert_eq!(
        take(&mut stack, "/address/socket_address"),
        json!({ "address": "0.0.0.0", "port_value": 8000 })
    );
    take(&mut listener, "/address/socket_address");

    let filter = format!("{MANAGER}/http_filters/2/typed_config/config");
    let file = format!("{filter}/vm_config/code/local/filename");
    let file = (take(&mut stack, &file), take(&mut listener, &file));
    assert_eq!(
        file,
        (
            json!("/etc/portcullis/filters/edge.wasm"),
            json!("target/filters/edge.wasm")
        )
    );

    // A breaker and a route more: rag-collections-service is a service of its own.
    let breakers = format!("{filter}/configuration/value/circuit_breaker/breakers");
    let mut breakers = (take(&mut stack, &breakers), take(&mut listener, &breakers));
    for breakers in [&mut breakers.0, &mut breakers.1] {
        for breaker in breakers.as_array_mut().expect("breakers") {
            take(breaker, "/match");
        }
    }
    let mut second = breakers.1[0].clone();
    assert_eq!(breakers.0[0], second);
    second["name"] = json!("rag_collections_service");
    assert_eq!(breakers.0[1], second);

    let routes = format!("{MANAGER}/route_config/virtual_hosts/0/routes");
    let routes = (take(&mut stack, &routes), take(&mut listener, &routes));
    let (of_stack, of_file) = (routes.0.as_array().unwrap(), routes.1.as_array().unwrap());
    let without = of_stack
        .iter()
        .filter(|route| route["route"]["cluster"] != "rag_collections");
    assert!(without.eq(of_file), "{of_stack:?}");
    assert_eq!(of_stack.len(), of_file.len() + 1);

    assert_eq!(stack, listener);
}

#[test]
fn the_egress_of_the_stack_is_the_egress_that_the_documentation_shows() {
    let shown = yaml("envoy/egress.yaml");
    for (what, kind) in [
        ("listeners", "listener.v3.Listener"),
        ("clusters", "cluster.v3.Cluster"),
    ] {
        let mut stack = yaml(&format!("envoy/stack/egress/{what}.yaml"))["resources"].take();
        for resource in stack.as_array_mut().expect("resources") {
            let kind = json!(format!("type.googleapis.com/envoy.config.{kind}"));
            assert_eq!(
                resource
                    .as_object_mut()
                    .expect("a resource")
                    .remove("@type"),
                Some(kind)
            );
        }
        // In a container it has to be reached from others, and the filters are elsewhere.
        let shown = shown["static_resources"][what].to_string();
        let shown = match what {
            "listeners" => shown
                .replace("\"address\":\"127.0.0.1\"", "\"address\":\"0.0.0.0\"")
                .replace("target/filters", "/etc/portcullis/filters"),
            _ => shown,
        };
        assert_eq!(stack.to_string(), shown, "{what}");
    }
}

#[test]
fn every_path_behind_the_edge_is_guarded_by_one_breaker() {
    let mut stack = yaml("envoy/stack/edge/listeners.yaml")["resources"][0].take();
    let value = format!("{MANAGER}/http_filters/2/typed_config/config/configuration/value");
    let value = take(&mut stack, &value);
    let mut paths: Vec<&str> = value["circuit_breaker"]["breakers"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|breaker| breaker["match"]["paths"].as_array().unwrap())
        .map(|path| path["prefix"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    // The API of the services.
    let api =
        ["collections", "query", "search", "status"].map(|name| format!("/api/v1/rag/{name}"));
    assert_eq!(paths, api);
}

#[test]
fn metrics_have_the_same_labels_everywhere() {
    let stats = |path: &str| yaml(path)["stats_config"].take();
    assert_eq!(
        stats("envoy/stack/bootstrap.yaml"),
        stats("envoy/edge.yaml")
    );
}

#[test]
fn only_the_gateway_has_a_port_and_every_container_says_whether_it_is_well() {
    let stack = yaml("envoy/compose.yaml");
    let services = yaml("tests/backend/compose.yaml");
    let image = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/Dockerfile"),
    )
    .expect("a Dockerfile");
    assert!(image.contains("\nHEALTHCHECK "));
    for (name, service) in stack["services"].as_object().expect("services") {
        let extended = &service["extends"]["service"];
        let whole = match extended.as_str() {
            Some(extended) => {
                assert_eq!(extended, name);
                &services["services"][extended]
            }
            None => service,
        };
        let of_ours = ["gateway", "egress"].contains(&name.as_str());
        assert!(
            of_ours || !whole["healthcheck"]["test"].is_null(),
            "{name} does not say whether it is well"
        );
        let ports = service["ports"].as_array().or(whole["ports"].as_array());
        match name.as_str() {
            "gateway" => assert_eq!(
                ports,
                Some(&vec![json!("127.0.0.1:${PORTCULLIS_PORT:-8000}:8000")])
            ),
            "grafana" => assert_eq!(
                ports,
                Some(&vec![json!("127.0.0.1:${GRAFANA_PORT:-3000}:3000")])
            ),
            _ => assert_eq!(ports, None, "{name}"),
        }
        if let Some(image) = whole["image"].as_str() {
            let tag = image
                .trim_end_matches('}')
                .rsplit_once(':')
                .map(|(_, tag)| tag);
            assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image}");
        }
    }
}

#[test]
fn no_secret_stands_in_a_file_of_the_stack() {
    for file in ["envoy/compose.yaml", "tests/backend/compose.yaml"] {
        for (name, service) in yaml(file)["services"].as_object().expect("services") {
            let variables = service["environment"].as_object();
            for (variable, value) in variables.into_iter().flatten() {
                if variable.ends_with("_SECRET") || variable.ends_with("_SECRET_KEY") {
                    let value = value.as_str().unwrap_or_default();
                    assert!(
                        value.starts_with(&format!("${{{variable}:?")),
                        "{name}: {value}"
                    );
                }
            }
        }
    }
}
