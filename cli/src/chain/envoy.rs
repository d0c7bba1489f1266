//! Chains and routes in Envoy's files.

use super::{Chain, Cors, Kind, Link, Routes};
use crate::document::{Content, Node};
use crate::paths::Paths;
use crate::protobuf::{either, type_of};
use crate::routes::{Requests, Route};
use crate::waits::{Bound, Waits};

/// Envoy's own bounds where nothing is said, in milliseconds: for all of an answer, and for a stream in which nothing moves.
const WHOLE: u64 = 15_000;
const SILENCE: u64 = 300_000;

/// The chain of a connection manager, or of whatever has `http_filters`.
pub(crate) fn chain(manager: &Node) -> Option<Chain> {
    let filters = either(manager, "http_filters")?.items();
    let mut cors = Vec::new();
    gather_cors(manager, &mut cors);
    let mut links: Vec<Link> = filters.iter().map(link).collect();
    // What a route switches on again is not off.
    let names = filters.iter().map(|filter| filter.get("name")?.text());
    for (link, name) in links.iter_mut().zip(names) {
        link.off = link.off.filter(|_| {
            either(manager, "route_config").is_some()
                && name.is_some_and(|name| !has_field(manager, name))
        });
    }
    Some(Chain {
        links,
        routes: routes_of(manager),
        cors,
        strips_paths: false,
    })
}

/// The routes of a `RouteConfiguration` that stands for itself, and its name.
pub(crate) fn named_routes(node: &Node) -> Option<(String, Routes)> {
    let is_one = type_of(node).is_some_and(|name| name.ends_with(".RouteConfiguration"));
    let has_hosts = either(node, "virtual_hosts").is_some();
    (is_one && has_hosts).then_some(())?;
    let name = node.get("name")?.text()?.to_owned();
    Some((name, routes(node, None)))
}

fn link(filter: &Node) -> Link {
    let config = either(filter, "typed_config");
    let named = config.and_then(|config| match type_of(config) {
        Some(name) if name.ends_with(".TypedStruct") => either(config, "type_url")?.text(),
        name => name,
    });
    let named = named.or_else(|| filter.get("name")?.text());
    let off = filter.get("disabled").filter(|flag| flag.is_true());
    Link {
        place: filter
            .get("name")
            .map_or_else(|| filter.place(), Node::place),
        kind: named.map_or(Kind::Any, |name| kind(name, filter)),
        off: off.map(|flag| flag.written),
    }
}

/// What a filter is by its message's name, or its own.
fn kind(name: &str, filter: &Node) -> Kind {
    /// Those that change no path, and write no header but for the client.
    const HARMLESS: [&str; 18] = [
        "adaptive_concurrency",
        "admission_control",
        "alternate_protocols_cache",
        "bandwidth_limit",
        "buffer",
        "compressor",
        "connect_grpc_bridge",
        "csrf",
        "decompressor",
        "fault",
        "file_system_buffer",
        "grpc_http1_bridge",
        "grpc_stats",
        "grpc_web",
        "local_ratelimit",
        "ratelimit",
        "rbac",
        "tap",
    ];
    let Some((_, kind)) = name.split_once("filters.http.") else {
        return Kind::Any;
    };
    match kind.split('.').next().unwrap_or_default() {
        "router" | "upstream_codec" => Kind::Terminal,
        "cache" | "cache_v2" => Kind::Cache,
        "cors" => Kind::Cors,
        kind if HARMLESS.contains(&kind) => Kind::Harmless,
        "header_mutation" if !has_request_mutations(filter) => Kind::Harmless,
        // Else it answers for paths that need no route.
        "health_check" if passes_through(filter) => Kind::Harmless,
        _ => Kind::Any,
    }
}

fn passes_through(filter: &Node) -> bool {
    let config = either(filter, "typed_config");
    config.is_some_and(|config| either(config, "pass_through_mode").is_some_and(Node::is_true))
}

fn has_request_mutations(filter: &Node) -> bool {
    let config = either(filter, "typed_config");
    let mutations = config.and_then(|config| config.get("mutations"));
    mutations.is_none_or(|mutations| {
        either(mutations, "request_mutations").is_some()
            || either(mutations, "query_parameter_mutations").is_some()
    })
}

/// Whether there is such a field anywhere below.
fn has_field(node: &Node, name: &str) -> bool {
    let in_fields =
        |field: &crate::document::Field| field.name == name || has_field(&field.value, name);
    node.fields().iter().any(in_fields) || node.items().iter().any(|item| has_field(item, name))
}

fn gather_cors(node: &Node, cors: &mut Vec<Cors>) {
    if type_of(node).is_some_and(|name| name.ends_with(".CorsPolicy")) {
        let exposed = either(node, "expose_headers");
        let list = exposed.and_then(Node::text).unwrap_or_default();
        let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
        // Who may read anything at all.
        if either(node, "allow_origin_string_match").is_some() {
            cors.push(Cors {
                place: exposed.map_or_else(|| node.place(), Node::place),
                exposed: names.filter(|name| !name.is_empty()).collect(),
            });
        }
    }
    for field in node.fields() {
        gather_cors(&field.value, cors);
    }
    for item in node.items() {
        gather_cors(item, cors);
    }
}

fn routes_of(manager: &Node) -> Routes {
    if either(manager, "early_header_mutation_extensions").is_some() {
        // It may change the path.
        return Routes::Unknown;
    }
    if let Some(config) = either(manager, "route_config") {
        return routes(config, Some(manager));
    }
    let name = manager
        .get("rds")
        .and_then(|rds| either(rds, "route_config_name"));
    match name.and_then(Node::text) {
        Some(name) => Routes::Named(name.to_owned()),
        None => Routes::Unknown,
    }
}

/// `manager`: the connection manager, where it is known.
fn routes(config: &Node, manager: Option<&Node>) -> Routes {
    let hosts = either(config, "virtual_hosts").map_or(&[][..], Node::items);
    let said_elsewhere = |host: &Node| host.get("matcher").is_some();
    if config.get("vhds").is_some() || hosts.iter().any(said_elsewhere) {
        return Routes::Unknown;
    }
    let idle = manager.map(|manager| {
        let said = either(manager, "stream_idle_timeout");
        said.map_or_else(
            || Some(default("stream_idle_timeout", SILENCE, manager)),
            |said| Bound::written("stream_idle_timeout", said),
        )
    });
    let options = manager.and_then(|manager| either(manager, "common_http_protocol_options"));
    let longest = options.and_then(|options| either(options, "max_stream_duration"));
    let longest = longest.and_then(|longest| Bound::written("max_stream_duration", longest));
    let routes = hosts.iter().flat_map(|host| {
        let domains = host.get("domains").map_or(&[][..], Node::items).iter();
        let domains: Vec<String> = domains.filter_map(Node::text).map(str::to_owned).collect();
        let retries = either(host, "retry_policy");
        let routes = host.get("routes").map_or(&[][..], Node::items).iter();
        let idle = idle.clone();
        let longest = longest.clone();
        routes.map(move |node| {
            let action = node.get("route");
            Route {
                place: node.place(),
                name: node.get("name").and_then(Node::text).map(str::to_owned),
                goes_on: action.is_some(),
                waits: action.map_or_else(Waits::default, |action| {
                    waits(action, retries, idle.clone(), longest.clone())
                }),
                requests: Requests {
                    paths: node.get("match").map(paths).unwrap_or_default(),
                    methods: node.get("match").map(methods).unwrap_or_default(),
                    hosts: domains.clone(),
                },
            }
        })
    });
    Routes::Known(routes.collect())
}

fn default(name: &'static str, millis: u64, node: &Node) -> Bound {
    Bound {
        millis,
        place: node.place(),
        name,
        is_default: true,
    }
}

/// `idle`: what the connection manager has; `None` where that is not known.
fn waits(
    action: &Node,
    retries: Option<&Node>,
    idle: Option<Option<Bound>>,
    longest: Option<Bound>,
) -> Waits {
    let are_unknown = ["max_stream_duration", "max_grpc_timeout"]
        .iter()
        .any(|name| either(action, name).is_some());
    let whole = match action.get("timeout") {
        Some(said) => Bound::written("timeout", said),
        None => Some(default("timeout", WHOLE, action)),
    };
    let idle = match either(action, "idle_timeout") {
        Some(said) => Bound::written("idle_timeout", said),
        None => idle.flatten(),
    };
    let retries = either(action, "retry_policy").or(retries);
    let number = retries.and_then(|retries| either(retries, "num_retries"));
    // How long one attempt may take is how long all of them may where there is one.
    let once = retries.filter(|_| number.is_some_and(|number| number.to_json() == 0));
    let silence = once.and_then(|once| {
        Bound::written(
            "per_try_idle_timeout",
            either(once, "per_try_idle_timeout")?,
        )
    });
    Waits {
        are_unknown,
        whole: Bound::shortest([whole, longest]),
        silence: Bound::shortest([idle, silence]),
    }
}

fn paths(matches: &Node) -> Vec<Paths> {
    let text = |name: &str| either(matches, name)?.text();
    let lower = |text: &str| text.to_ascii_lowercase();
    let regex = either(matches, "safe_regex").and_then(|regex| regex.get("regex")?.text());
    let template = either(matches, "path_match_policy").map(|policy| {
        let config = either(policy, "typed_config");
        let template = config.and_then(|config| either(config, "path_template")?.text());
        let end = |letter| letter == '{' || letter == '*';
        let begin = template.unwrap_or_default().split(end).next();
        Paths::Begin(begin.unwrap_or_default().to_ascii_lowercase())
    });
    let found = text("prefix").map(|prefix| Paths::Begin(lower(prefix)));
    let found = found.or_else(|| text("path").map(|path| Paths::One(lower(path))));
    let found = found.or_else(|| text("path_separated_prefix").map(Paths::below));
    let found = found.or_else(|| regex.map(Paths::of_regex));
    found.or(template).into_iter().collect()
}

/// What `:method` has to be.
fn methods(matches: &Node) -> Vec<String> {
    let headers = matches.get("headers").map_or(&[][..], Node::items).iter();
    let of_method = |header: &&Node| header.get("name").and_then(Node::text) == Some(":method");
    let exact = |header: &Node| {
        let is_inverted = either(header, "invert_match").is_some();
        let exact = either(header, "string_match").and_then(|matcher| matcher.get("exact"));
        let exact = exact.or_else(|| either(header, "exact_match"));
        let text = exact?.text()?.to_owned();
        (!is_inverted).then_some(text)
    };
    let mut found: Vec<Option<String>> = headers.filter(of_method).map(exact).collect();
    match found.len() {
        // Of several, none or all may hold.
        1 => found.pop().flatten().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether a client's certificate is never told to filters, since Envoy takes its header away.
pub(crate) fn hides_certificates(manager: &Node) -> bool {
    let said = either(manager, "forward_client_cert_details");
    match said.map(|said| &said.content) {
        None => true,
        Some(Content::Text(word)) => word == "SANITIZE",
        Some(Content::Number(number)) => number.as_u64() == Some(0),
        Some(_) => false,
    }
}

/// Whether no client is one of the network's own, which may send Envoy's headers.
pub(crate) fn hides_own_headers(manager: &Node) -> bool {
    either(manager, "use_remote_address").is_some_and(Node::is_true)
        && either(manager, "internal_address_config").is_none()
}
