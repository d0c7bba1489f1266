//! The stack of `kong/compose.yaml`: its gateways are configured like those of `envoy/compose.yaml`, and its services
//! can be reached through them alone.

use std::path::{Path, PathBuf};

use portcullis_conformance::filters;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The filters of the first Envoy listener, as Kong takes them.
fn of_envoy(gateway: &str) -> Vec<Value> {
    let listeners = yaml(&format!("envoy/stack/{gateway}/listeners.yaml"));
    let manager = &listeners["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let ours = list(&manager["http_filters"]).iter().filter_map(|filter| {
        let mut config = filter
            .pointer("/typed_config/config/configuration/value")?
            .clone();
        leave_out_what_goes_by_bodies(&mut config);
        Some(json!({ "name": filter["name"], "config": config }))
    });
    ours.collect()
}

/// Kong shows no body before its request goes on, and none of an answer that a filter could read as it comes.
fn leave_out_what_goes_by_bodies(config: &mut Value) {
    if let Some(limits) = config.get_mut("limits").and_then(Value::as_array_mut) {
        limits.retain(|limit| limit["cost"]["tokens"].is_null());
        let fields = config.as_object_mut().expect("fields");
        for of_tokens in ["log", "usage"] {
            fields.remove(of_tokens);
        }
    }
    let breakers = config.get_mut("breakers").and_then(Value::as_array_mut);
    for breaker in breakers.into_iter().flatten() {
        for (part, by_bodies) in [("trip", "slow_first_token"), ("failures", "stall")] {
            let fields = breaker.get_mut(part).and_then(Value::as_object_mut);
            let nothing_else = fields.is_some_and(|fields| {
                fields.remove(by_bodies);
                fields.is_empty()
            });
            if nothing_else {
                breaker.as_object_mut().expect("fields").remove(part);
            }
        }
    }
}

#[test]
fn every_service_has_the_filters_as_envoy_configures_them_and_kong_accepts_them() {
    // `rate_limit` is for generation, which is the first service's.
    for (gateway, of_all, services) in [("edge", "edge", 2), ("egress", "circuit_breaker", 4)] {
        let file = yaml(&format!("kong/stack/{gateway}/kong.yml"));
        assert_eq!(list(&file["services"]).len(), services);
        for (place, service) in list(&file["services"]).iter().enumerate() {
            let mut expected = of_envoy(gateway);
            expected.retain(|filter| place == 0 || filter["name"] == of_all);
            let chain = &service["filter_chains"];
            assert_eq!(chain.as_array().map(Vec::len), Some(1));
            assert_eq!(chain[0]["filters"], json!(expected), "{}", service["name"]);
            for filter in expected {
                let name = filter["name"].as_str().expect("a name");
                let meta = filters().join(format!("{name}.meta.json"));
                let meta = std::fs::read_to_string(meta).expect("a built filter");
                let meta: Value = serde_json::from_str(&meta).expect("JSON");
                let schema = jsonschema::draft4::new(&meta["config_schema"]).expect("a schema");
                assert!(schema.is_valid(&filter["config"]), "{}", service["name"]);
            }
        }
    }
}

#[test]
fn every_node_of_the_cluster_is_asked_whether_it_is_ready() {
    let upstream = yaml("kong/stack/egress/kong.yml")["upstreams"][0].take();
    let checks = &upstream["healthchecks"]["active"];
    assert_eq!(checks["http_path"], "/readyz");
    for of_health in ["healthy", "unhealthy"] {
        assert!(
            checks[of_health]["interval"].as_u64() > Some(0),
            "no checks of the {of_health}"
        );
    }
    let targets: Vec<&str> = list(&upstream["targets"])
        .iter()
        .map(|target| target["target"].as_str().expect("an address"))
        .collect();
    let nodes = [1, 2, 3].map(|node| format!("data-qdrant-node{node}:6333"));
    assert_eq!(targets, nodes);
}

#[test]
fn the_image_is_pinned_and_runs_as_a_user_of_its_own() {
    let image = text("kong/Dockerfile");
    let instructions = |name: &str| -> Vec<String> {
        let of_it = |line: &str| line.strip_prefix(name).map(|rest| rest.trim().to_owned());
        image.lines().filter_map(of_it).collect()
    };
    assert_eq!(instructions("FROM "), ["kong:3.9"]);
    assert_eq!(instructions("USER ").pop().as_deref(), Some("kong"));
    assert_eq!(instructions("HEALTHCHECK ").len(), 1);
    for copied in instructions("COPY ") {
        let mut files: Vec<&str> = copied.split(' ').collect();
        files.pop();
        for file in files.into_iter().filter(|file| file.starts_with("kong/")) {
            assert!(root().join(file).exists(), "{file}");
        }
    }
}

#[test]
fn both_stacks_have_the_same_services_behind_the_same_gateways() {
    let (mut kong, mut envoy) = (yaml("kong/compose.yaml"), yaml("envoy/compose.yaml"));
    let names = |stack: &Value| -> Vec<String> {
        stack["services"]
            .as_object()
            .expect("services")
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(names(&kong), names(&envoy));
    for name in names(&envoy) {
        let [of_kong, of_envoy] =
            [&mut kong, &mut envoy].map(|stack| stack["services"][&name].take());
        for key in ["extends", "depends_on", "profiles", "ports"] {
            assert_eq!(of_kong[key], of_envoy[key], "{name}: {key}");
        }
    }
}

#[test]
fn only_the_gateway_has_a_port_and_every_container_says_whether_it_is_well() {
    let stack = yaml("kong/compose.yaml");
    let services = yaml("tests/backend/compose.yaml");
    for (name, service) in stack["services"].as_object().expect("services") {
        let extended = service["extends"]["service"].as_str();
        let whole = extended.map_or(service, |extended| &services["services"][extended]);
        let of_ours = ["gateway", "egress"].contains(&name.as_str());
        assert!(
            of_ours || !whole["healthcheck"]["test"].is_null(),
            "{name}: no health check"
        );
        let published: Vec<&Value> = list(&service["ports"])
            .iter()
            .chain(list(&whole["ports"]))
            .collect();
        match name.as_str() {
            "gateway" | "grafana" => assert!(
                published.iter().all(|port| port
                    .as_str()
                    .is_some_and(|port| port.starts_with("127.0.0.1:"))),
                "{published:?}"
            ),
            _ => assert!(published.is_empty(), "{name}: {published:?}"),
        }
        let image = whole["image"]
            .as_str()
            .expect("an image")
            .trim_end_matches('}');
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(
            tag.is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v')),
            "{name}: {image}"
        );
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            if variable.contains("SECRET") {
                let value = value.as_str().unwrap_or_default();
                assert!(
                    value.starts_with(&format!("${{{variable}:?")),
                    "{name}: {value}"
                );
            }
        }
    }
}
