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

fn object_of(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    value.as_object_mut().expect("an object")
}

const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";

#[test]
fn the_edge_of_the_stack_is_the_edge_that_the_documentation_shows() {
    let mut shown = yaml("envoy/edge.yaml");
    let mut stack = yaml("envoy/stack/edge/listeners.yaml")["resources"][0].take();
    let mut listener = take(&mut shown, "/static_resources/listeners/0");
    assert_eq!(
        object_of(&mut stack).remove("@type"),
        Some(json!(
            "type.googleapis.com/envoy.config.listener.v3.Listener"
        ))
    );
    assert_eq!(
        take(&mut stack, "/address/socket_address"),
        json!({ "address": "0.0.0.0", "port_value": 8000 })
    );
    take(&mut listener, "/address/socket_address");
    // What the file says once, at its head.
    object_of(&mut stack).remove("metadata");

    let filter = format!("{MANAGER}/http_filters/3/typed_config/config");
    let file = format!("{filter}/vm_config/code/local/filename");
    let file = (take(&mut stack, &file), take(&mut listener, &file));
    assert_eq!(
        file,
        (
            json!("/etc/portcullis/filters/edge.wasm"),
            json!("target/filters/edge.wasm")
        )
    );

    // Breakers and routes for services that are apart.
    for differs in [
        format!("{filter}/configuration/value/circuit_breaker/breakers"),
        format!("{MANAGER}/route_config/virtual_hosts/0/routes"),
    ] {
        assert_ne!(take(&mut stack, &differs), take(&mut listener, &differs));
    }
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
            assert_eq!(object_of(resource).remove("@type"), Some(kind));
            object_of(resource).remove("metadata");
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

/// The filter's configuration of a breaker's name, of the edge and of the egress.
fn breakers(gateway: &str, filter: usize) -> Vec<Value> {
    let mut stack = yaml(&format!("envoy/stack/{gateway}/listeners.yaml"))["resources"][0].take();
    let value = format!("{MANAGER}/http_filters/{filter}/typed_config/config/configuration/value");
    let value = take(&mut stack, &value);
    let breakers = &value.get("circuit_breaker").unwrap_or(&value)["breakers"];
    breakers.as_array().expect("breakers").clone()
}

#[test]
fn each_service_has_one_breaker_and_what_says_how_they_are_has_none() {
    let breakers = breakers("edge", 3);
    let guarded = breakers.iter().map(|breaker| {
        let paths = breaker["match"]["paths"].as_array().unwrap();
        assert_eq!(paths.len(), 1);
        (
            breaker["name"].as_str().unwrap(),
            paths[0]["prefix"].as_str().unwrap(),
        )
    });
    assert_eq!(
        guarded.collect::<Vec<_>>(),
        [
            ("rag_service", "/api/v1/rag/search"),
            ("rag_query", "/api/v1/rag/query"),
            ("rag_collections_service", "/api/v1/rag/collections"),
        ]
    );
}

fn seconds(value: &Value) -> u64 {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("no duration: {value}"));
    text.strip_suffix('s').unwrap().parse().unwrap()
}

/// How long a route lets an answer be silent, and how long all of it may take, where that has a bound.
fn bounds(route: &Value) -> (u64, Option<u64>) {
    let route = &route["route"];
    let whole = seconds(&route["timeout"]);
    match route["retry_policy"].get("per_try_idle_timeout") {
        Some(silence) => {
            assert_eq!(whole, 0, "a stream has no end: {route}");
            (seconds(silence), None)
        }
        None => (whole, Some(whole)),
    }
}

fn routes(listener: &Value) -> Vec<Value> {
    let routes = listener.pointer(&format!("{MANAGER}/route_config/virtual_hosts/0/routes"));
    routes.and_then(Value::as_array).expect("routes").clone()
}

/// Else a model that is late would be a failure of the service that asks it, and none of the model.
#[test]
fn the_edge_waits_longer_than_the_egress_behind_it() {
    let listeners = |path: &str, at: &str| {
        let file = yaml(path);
        let listeners = file.pointer(at).and_then(Value::as_array);
        listeners.expect("listeners").clone()
    };
    let alone = "/static_resources/listeners";
    let pairs = [
        (
            listeners("envoy/edge.yaml", alone),
            listeners("envoy/egress.yaml", alone),
        ),
        (
            listeners("envoy/stack/edge/listeners.yaml", "/resources"),
            listeners("envoy/stack/egress/listeners.yaml", "/resources"),
        ),
    ];
    for (edge, egress) in pairs {
        let idle = |listener: &Value| {
            seconds(
                &listener
                    .pointer(&format!("{MANAGER}/stream_idle_timeout"))
                    .unwrap(),
            )
        };
        let of_models = routes(&egress[0]).iter().map(|route| bounds(route).0).max();
        let of_searches = routes(&egress[0])
            .iter()
            .filter_map(|route| bounds(route).1)
            .max();
        let (edge, mut silences) = (&edge[0], Vec::new());
        for route in routes(edge) {
            match bounds(&route) {
                (silence, None) => silences.push(silence),
                // A search asks for an embedding, and then reads.
                (_, whole) => assert!(
                    whole > of_searches.map(|embedding| embedding + 5),
                    "{route}"
                ),
            }
        }
        assert_eq!(silences.len(), 1, "what is not told apart may stream");
        assert!(Some(silences[0]) > of_models);
        // Silence is the upstream's failure, before it is the stream's.
        assert!(idle(edge) > silences[0]);
        for listener in &egress {
            let longest = routes(listener).iter().map(|route| bounds(route).0).max();
            assert!(Some(idle(listener)) > longest);
        }
    }
}

/// On Kong the bounds are milliseconds between two reads.
#[test]
fn so_it_is_on_kong() {
    let longest = |path: &str| {
        let services = yaml(path)["services"].take();
        let services = services.as_array().expect("services").clone();
        services
            .iter()
            .map(|service| service["read_timeout"].as_u64().unwrap())
            .max()
            .unwrap()
    };
    let egress = longest("kong/stack/egress/kong.yml");
    for edge in [
        "kong/stack/edge/kong.yml",
        "kong/kong.yml",
        "kong/separate.yml",
    ] {
        assert!(longest(edge) > egress, "{edge}");
    }
}

#[test]
fn the_real_cluster_has_a_first_node_and_others_that_join_it() {
    let stack = yaml("tests/backend/compose.real.yaml");
    let demo = yaml("tests/backend/compose.yaml");
    for (name, service) in stack["services"].as_object().expect("services") {
        assert!(
            demo["services"][name].is_object(),
            "{name} is no service of the stack"
        );
        assert!(service["ports"].is_null(), "{name}");
        assert!(!service["volumes"].is_null(), "{name} would forget");
        assert!(!service["healthcheck"]["test"].is_null(), "{name}");
        let image = service["image"].as_str().expect("an image");
        assert!(image.contains(":v1.") || image.contains(":0."), "{image}");
    }
    let first = "http://data-qdrant-node1:6335";
    for node in 1..=3 {
        let name = format!("data-qdrant-node{node}");
        let service = &stack["services"][&name];
        assert_eq!(service["environment"]["QDRANT__CLUSTER__ENABLED"], "true");
        let own = format!("http://{name}:6335");
        let command = match node {
            1 => json!(["./qdrant", "--uri", own]),
            _ => json!(["./qdrant", "--bootstrap", first, "--uri", own]),
        };
        assert_eq!(service["command"], command);
        let waits = &service["depends_on"]["data-qdrant-node1"]["condition"];
        assert_eq!(waits == "service_healthy", node != 1, "{name}");
        // A node that waits for others to be ready must not have others wait for it.
        let check = service["healthcheck"]["test"].to_string();
        assert!(check.contains("GET /healthz "), "{check}");
    }
}

#[test]
fn the_egress_gets_ports_on_this_machine_only() {
    let ports = yaml("tests/backend/compose.ports.yaml");
    let ports = ports["services"]["egress"]["ports"]
        .as_array()
        .expect("ports")
        .clone();
    assert_eq!(ports.len(), 2);
    assert!(
        ports
            .iter()
            .all(|port| port.as_str().unwrap().starts_with("127.0.0.1:${EGRESS_"))
    );
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
