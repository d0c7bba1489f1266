//! Configurations as users write them: the gateways' files, the reference pages' examples, and what
//! is refused.

use std::path::{Path, PathBuf};

use portcullis_conformance::{ENV, filters, module};
use portcullis_sim::Dialect;
use portcullis_testhost::{Host, Request, StartError};
use prost::Message as _;
use serde_json::{Value, json};

const FILTERS: [&str; 5] = [
    "jwt_auth",
    "rate_limit",
    "circuit_breaker",
    "service_token",
    "edge",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn start(filter: &str, dialect: Dialect, config: &[u8]) -> Result<Host, StartError> {
    let builder = ENV
        .iter()
        .fold(Host::builder(dialect), |builder, (name, value)| {
            builder.env(name, value)
        });
    let host = builder.build(&module(filter), config)?;
    assert_eq!(host.open_door(0), None, "{filter} on {dialect:?}");
    Ok(host)
}

/// Why a filter refuses its configuration, in the lines that it logs; `None` where it takes it. On Kong it starts all
/// the same, and lets nothing pass.
fn refusal(filter: &str, dialect: Dialect, config: &[u8]) -> Option<Vec<String>> {
    let (logs, refused) = match start(filter, dialect, config) {
        Ok(mut host) if dialect == Dialect::Kong => {
            let logs = host.logs().to_vec();
            let exchange = host.request(0, Request::get("/")).expect("no trap");
            let refused = exchange.outcome.local_status() == Some(503)
                && logs.iter().any(|line| line.text.contains("gets 503"));
            (logs, refused)
        }
        Ok(host) => (host.logs().to_vec(), false),
        Err(StartError::Rejected { logs }) => (logs, true),
        Err(other) => panic!("{filter}: {other}"),
    };
    let lines = logs.into_iter().filter(|line| !line.from_host);
    refused.then(|| lines.map(|line| line.text).collect())
}

/// Why native code refuses it.
fn refusal_of_module(filter: &str, config: &[u8]) -> Option<Vec<String>> {
    for (name, value) in ENV {
        portcullis_modulehost::set_variable(name, value);
    }
    portcullis_modulehost::take_log();
    let config = std::str::from_utf8(config).expect("JSON");
    portcullis_modulehost::Envoy::start(filter, config).err()
}

/// Every filter in a gateway's file, with its configuration: `(name, config)`.
fn configured(value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            // Envoy: config: { name, configuration: { value } }
            if let (Some(name), Some(value)) = (
                fields.get("root_id"),
                fields.get("configuration").and_then(|c| c.get("value")),
            ) {
                found.push((name.as_str().expect("a name").to_owned(), value.clone()));
            }
            // Envoy, as native code: filter_name, filter_config: { value }
            if let (Some(name), Some(value)) = (
                fields.get("filter_name"),
                fields.get("filter_config").and_then(|c| c.get("value")),
            ) {
                found.push((name.as_str().expect("a name").to_owned(), value.clone()));
            }
            // Kong: filters: [ { name, config } ]
            if let (Some(Value::String(name)), Some(config)) =
                (fields.get("name"), fields.get("config"))
                && FILTERS.contains(&name.as_str())
            {
                found.push((name.clone(), config.clone()));
            }
            fields.values().for_each(|value| configured(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| configured(value, found)),
        _ => {}
    }
}

fn in_file(path: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    configured(&yaml(path), &mut found);
    assert!(!found.is_empty(), "{path} configures no filter");
    found
}

fn files() -> Vec<String> {
    let mut files: Vec<String> = FILTERS
        .iter()
        .flat_map(|name| ["envoy", "envoy/native"].map(|folder| format!("{folder}/{name}.yaml")))
        .collect();
    let others = [
        "kong/kong.yml",
        "kong/separate.yml",
        "envoy/egress.yaml",
        "envoy/stack/edge/listeners.yaml",
        "envoy/stack/egress/listeners.yaml",
        "kong/stack/edge/kong.yml",
        "kong/stack/egress/kong.yml",
    ];
    files.extend(others.map(str::to_owned));
    files
}

/// What goes by bodies is for Envoy.
const FOR_ENVOY: &str = "envoy/models.yaml";

#[test]
fn every_configuration_in_a_gateways_file_is_accepted_by_the_filter_on_every_host() {
    for file in files().into_iter().chain([FOR_ENVOY.to_owned()]) {
        // What reads bodies, Kong refuses: its own egress has none of it.
        let is_egress = file.starts_with("envoy/") && file.contains("egress");
        let reads_bodies = is_egress || file == FOR_ENVOY;
        for (name, config) in in_file(&file) {
            let config = config.to_string();
            let on = |dialect| refusal(&name, dialect, config.as_bytes());
            assert_eq!(on(Dialect::Envoy), None, "{file}");
            assert_eq!(on(Dialect::Kong).is_some(), reads_bodies, "{file}: {name}");
            let refused = refusal_of_module(&name, config.as_bytes());
            assert_eq!(refused, None, "{file}, as native code");
        }
    }
}

#[test]
fn kong_and_envoy_are_configured_alike() {
    let edge = |path: &str| {
        in_file(path)
            .into_iter()
            .find(|(name, _)| name == "edge")
            .expect("edge")
            .1
    };
    assert_eq!(edge("kong/kong.yml"), edge("envoy/edge.yaml"));
}

#[test]
fn every_example_in_the_documentation_is_accepted() {
    let mut examples = 0;
    let pages = std::fs::read_dir(root().join("docs"))
        .expect("docs")
        .map(|page| page.expect("a page").path());
    for page in pages
        .chain([root().join("README.md")])
        .filter(|page| page.extension().is_some_and(|e| e == "md"))
    {
        let text = std::fs::read_to_string(&page).expect("a page");
        for block in text.split("<!-- config: ").skip(1) {
            let (name, rest) = block.split_once(" -->").expect("the marker's end");
            let body = rest
                .split("```")
                .nth(1)
                .and_then(|body| body.strip_prefix("yaml"))
                .expect("a yaml block");
            let config: Value = serde_saphyr::from_str(body)
                .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
            start(name, Dialect::Envoy, config.to_string().as_bytes())
                .unwrap_or_else(|error| panic!("{}: {body}\n{error}", page.display()));
            examples += 1;
        }
    }
    assert!(examples >= 10, "only {examples} examples found");
}

#[derive(Clone, PartialEq, prost::Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: std::collections::BTreeMap<String, ProtoValue>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoValue {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<ProtoValue>,
}
#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::Null(0),
        Value::Bool(flag) => Kind::Bool(*flag),
        Value::Number(number) => Kind::Number(number.as_f64().expect("a double")),
        Value::String(text) => Kind::String(text.clone()),
        Value::Array(list) => Kind::List(List {
            values: list.iter().map(proto).collect(),
        }),
        Value::Object(_) => Kind::Struct(proto_struct(value)),
    };
    ProtoValue { kind: Some(kind) }
}

fn proto_struct(value: &Value) -> Struct {
    let fields = value.as_object().expect("an object");
    Struct {
        fields: fields
            .iter()
            .map(|(name, value)| (name.clone(), proto(value)))
            .collect(),
    }
}

#[test]
fn a_struct_as_envoy_sends_it_configures_like_json() {
    for name in FILTERS {
        let (_, config) = in_file(&format!("envoy/{name}.yaml")).remove(0);
        start(name, Dialect::Envoy, &proto_struct(&config).encode_to_vec())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut wrong = config;
        wrong["no_such_key"] = json!(1);
        let error = start(name, Dialect::Envoy, &proto_struct(&wrong).encode_to_vec())
            .expect_err("refused");
        assert!(
            error.to_string().contains("no_such_key: unknown field"),
            "{error}"
        );
    }
}

/// What is wrong with a configuration, and the line that says so.
fn rejected() -> Vec<(&'static str, Value, &'static str)> {
    let edge = in_file("envoy/edge.yaml").remove(0).1;
    let (jwt_auth, rate_limit) = (&edge["jwt_auth"], &edge["rate_limit"]);
    let (circuit_breaker, service_token) = (&edge["circuit_breaker"], &edge["service_token"]);
    let change = |config: &Value, pointer: &str, value: Value| {
        let mut config = config.clone();
        if let Some(fields) = config.as_object_mut() {
            // A limit alone has no such thing.
            fields.remove("before_auth");
        }
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        config.pointer_mut(parent).expect("the parent")[field] = value;
        config
    };
    vec![
        (
            "jwt_auth",
            change(
                jwt_auth,
                "/providers/dashboard/algorithms",
                json!(["HS256", "HS257"]),
            ),
            "jwt_auth: providers.dashboard.algorithms[1]: \"HS257\" is not an algorithm; expected one of HS256",
        ),
        (
            "jwt_auth",
            change(jwt_auth, "/providers/dashboard/leeway", json!("30")),
            "jwt_auth: providers.dashboard.leeway: \"30\" is not a duration",
        ),
        (
            "jwt_auth",
            change(jwt_auth, "/providers/dashboard/token_query", json!("x")),
            "jwt_auth: providers.dashboard.token_query: unknown field",
        ),
        (
            "jwt_auth",
            change(
                jwt_auth,
                "/providers/dashboard/keys/0/secret",
                json!({"value": "too-short"}),
            ),
            "jwt_auth: providers.dashboard.keys[0].secret",
        ),
        (
            "jwt_auth",
            change(
                jwt_auth,
                "/providers/dashboard/keys/0/secret",
                json!({"env": "NOT_SET"}),
            ),
            "jwt_auth: providers.dashboard.keys[0].secret",
        ),
        (
            "jwt_auth",
            change(jwt_auth, "/rules/1/require/any_of", json!(["nobody"])),
            "jwt_auth: rules[1].require.any_of[0]: \"nobody\"",
        ),
        (
            "jwt_auth",
            change(jwt_auth, "/rules/0/allow", json!("everyone")),
            "jwt_auth: rules[0].allow: unknown variant `everyone`",
        ),
        (
            "jwt_auth",
            change(jwt_auth, "/mode", json!("on")),
            "jwt_auth: mode: unknown variant `on`",
        ),
        (
            "rate_limit",
            change(
                rate_limit,
                "/limits",
                json!([{"name": "a-b", "key": ["client_address"], "quota": 1, "window": "1m"}]),
            ),
            "rate_limit: limits[0].name: \"a-b\" is not a name",
        ),
        (
            "rate_limit",
            change(rate_limit, "/capacity", json!(0)),
            "rate_limit: capacity: 0 is out of range",
        ),
        (
            "rate_limit",
            change(rate_limit, "/limits/0/window", json!("5")),
            "rate_limit: limits[0].window: \"5\" is not a duration; expected",
        ),
        (
            "rate_limit",
            change(rate_limit, "/limits/0/quota", json!(0)),
            "rate_limit: limits[0].quota: 0 is out of range; expected 1 to 1000000000",
        ),
        (
            "rate_limit",
            change(rate_limit, "/limits/0/quota", json!(1.5)),
            "rate_limit: limits[0].quota: ",
        ),
        (
            "rate_limit",
            change(rate_limit, "/limits/0/qouta", json!(5)),
            "rate_limit: limits[0].qouta: unknown field `qouta`, expected one of",
        ),
        (
            "rate_limit",
            change(rate_limit, "/limits", json!([])),
            "rate_limit: limits: the list is empty",
        ),
        (
            "rate_limit",
            change(rate_limit, "/before_auth", json!(["per_ip"])),
            "rate_limit: before_auth: unknown field",
        ),
        (
            "circuit_breaker",
            change(circuit_breaker, "/status/path", json!("/a/../b")),
            "circuit_breaker: status.path: \"/a/../b\" is not a path",
        ),
        (
            "circuit_breaker",
            change(
                circuit_breaker,
                "/breakers/0/trip/consecutive_failures",
                json!(0),
            ),
            "circuit_breaker: breakers[0].trip.consecutive_failures: 0 is out of range; expected 1 to 10000",
        ),
        (
            "circuit_breaker",
            change(circuit_breaker, "/breakers/0/name", json!("rag-service")),
            "circuit_breaker: breakers[0].name: \"rag-service\" is not a name",
        ),
        (
            "circuit_breaker",
            change(
                circuit_breaker,
                "/breakers/0/open_for/initial",
                json!("soon"),
            ),
            "circuit_breaker: breakers[0].open_for.initial: \"soon\" is not a duration",
        ),
        (
            "service_token",
            change(service_token, "/credential/kind", json!("mtls")),
            "service_token: credential.kind: unknown variant `mtls`",
        ),
        (
            "service_token",
            change(service_token, "/credential/header", json!("content-length")),
            "service_token: credential.header: \"content-length\" frames",
        ),
        (
            "service_token",
            change(
                service_token,
                "/credential/secrets",
                json!([{"id": "a", "value": "too-short"}]),
            ),
            "service_token: credential.secrets[0]",
        ),
        (
            "service_token",
            change(
                service_token,
                "/credential/secrets",
                json!([{"id": "a", "env": "NOT_SET"}]),
            ),
            "service_token: credential.secrets[0]",
        ),
        (
            "edge",
            json!({ "rate_limit": change(rate_limit, "/before_auth", json!(["nobody"])) }),
            "edge: rate_limit.before_auth[0]: \"nobody\" is not the name of a limit",
        ),
        (
            "edge",
            change(
                &edge,
                "/jwt_auth/providers/dashboard/algorithms",
                json!(["none"]),
            ),
            "edge: jwt_auth.providers.dashboard.algorithms[0]: \"none\" is not an algorithm",
        ),
        (
            "edge",
            change(&edge, "/circuit_braker", json!({})),
            "edge: circuit_braker: unknown field `circuit_braker`",
        ),
    ]
}

#[test]
fn a_wrong_configuration_is_refused_with_one_line_of_path_value_and_rule_on_every_host() {
    for (name, config, message) in rejected() {
        let config = config.to_string();
        let on_hosts = Dialect::BOTH.map(|dialect| refusal(name, dialect, config.as_bytes()));
        for lines in on_hosts
            .into_iter()
            .chain([refusal_of_module(name, config.as_bytes())])
        {
            let lines = lines.expect("refused");
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].starts_with(message), "{}\n{message}", lines[0]);
            assert!(!lines[0].contains("too-short"), "a secret in {}", lines[0]);
        }
    }
}

/// The schema that Kong checks a configuration with.
fn validator(name: &str) -> jsonschema::Validator {
    let path = filters().join(format!("{name}.meta.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let meta: Value = serde_json::from_str(&text).expect("JSON");
    assert!(meta["metrics"]["label_patterns"].is_array());
    let schema = &meta["config_schema"];
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-04/schema#");
    jsonschema::draft4::meta::validate(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    jsonschema::draft4::new(schema).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_draft_4_schemas_accept_every_file_and_refuse_what_they_can_see_is_wrong() {
    for file in files() {
        for (name, config) in in_file(&file) {
            let validator = validator(&name);
            let errors: Vec<_> = validator
                .iter_errors(&config)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{file}: {name}: {errors:?}");
            let mut unknown = config.clone();
            unknown["no_such_key"] = json!(1);
            assert!(!validator.is_valid(&unknown), "{name}: an unknown key");
        }
    }
    for (name, config, message) in rejected() {
        // A secret's length, a name that stands elsewhere and what a header means are beyond a schema.
        let beyond = [
            "secret",
            "edge: rate_limit.before_auth",
            "any_of",
            "status.path",
            "credential.header",
        ];
        let beyond = beyond.iter().any(|rule| message.contains(rule));
        assert_eq!(
            validator(name).is_valid(&config),
            beyond,
            "{name}: {message}"
        );
    }
}
