//! What is native code's own: panics, what outlives a configuration, ticks without a timer, routes with a configuration of
//! their own, and labels.

use portcullis_conformance::{CONTROL_TOKEN, ENV, START_UNIX_SECS, token};
use portcullis_issuer::{Key, jwks};
use portcullis_modulehost::{
    Envoy, Header, Outcome, RouteConfig, Stream, advance_millis, have_clock_panic, set_clock,
    set_variable, take_log,
};
use serde_json::json;

const PEER: &str = "192.0.2.1:50000";

fn begin() {
    set_clock(START_UNIX_SECS * 1_000_000_000);
    for (name, value) in ENV {
        set_variable(name, value);
    }
    take_log();
}

fn get(path: &str) -> Vec<Header> {
    let headers = [
        (":method", "GET"),
        (":path", path),
        (":authority", "rag"),
        (":scheme", "http"),
    ];
    headers
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .into()
}

fn answered(envoy: &mut Envoy, stream: Stream, status: u16) {
    let mut stream = stream;
    let head = vec![(":status".to_owned(), status.to_string().into_bytes())];
    stream.respond(head, "via_upstream", true);
    stream.respond_whole(Vec::new());
    stream.end(None);
    envoy.settle();
}

/// The status of a refusal; 0 where the upstream was asked, which answers with this.
fn ask(envoy: &mut Envoy, path: &str, answer: u16) -> u16 {
    let (stream, outcome) = envoy.request(PEER, get(path), true);
    match outcome {
        Outcome::Continue => {
            answered(envoy, stream, answer);
            0
        }
        Outcome::Replied(reply) => {
            stream.end(None);
            reply.status
        }
        Outcome::Held => u16::MAX,
    }
}

fn limit(quota: u32) -> String {
    json!({ "limits": [{ "name": "per_ip", "key": ["client_address"], "quota": quota, "window": "1h", "algorithm": "fixed_window" }] })
        .to_string()
}

#[test]
fn a_panic_refuses_that_request_whatever_on_error_says_and_the_next_one_is_served() {
    begin();
    let config = limit(2).replacen('{', r#"{"on_error":"allow","#, 1);
    let mut envoy = Envoy::start("rate_limit", &config).unwrap();
    assert_eq!(ask(&mut envoy, "/a", 200), 0);
    have_clock_panic(true);
    let (stream, outcome) = envoy.request(PEER, get("/a"), true);
    let Outcome::Replied(reply) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        (reply.status, &*reply.details),
        (503, "portcullis{panicked}")
    );
    stream.end(None);
    envoy.tick();
    have_clock_panic(false);
    let log = take_log().join("\n");
    assert!(log.contains("panicked in a request"), "{log}");
    assert!(!log.contains("as it was told to"), "{log}");
    // What was counted is in nobody's memory that panicked.
    assert_eq!(ask(&mut envoy, "/a", 200), 0);
    assert_eq!(ask(&mut envoy, "/a", 200), 429);
}

#[test]
fn a_panic_at_any_other_event_harms_no_stream() {
    begin();
    let config = json!({ "breakers": [{ "name": "b", "trip": { "consecutive_failures": 3 } }] });
    let mut envoy = Envoy::start("circuit_breaker", &config.to_string()).unwrap();
    for panics_at in 0..3 {
        let (mut stream, outcome) = envoy.request(PEER, get("/a"), true);
        assert_eq!(outcome, Outcome::Continue);
        have_clock_panic(panics_at == 0);
        let head = vec![(":status".to_owned(), b"500".to_vec())];
        stream.respond(head, "via_upstream", true);
        have_clock_panic(panics_at == 1);
        stream.respond_whole(Vec::new());
        have_clock_panic(panics_at == 2);
        stream.end(None);
        envoy.settle();
        have_clock_panic(false);
    }
    assert_eq!(ask(&mut envoy, "/a", 200), 0);
}

#[test]
fn counts_outlive_their_configuration_and_are_shared_by_the_name_behind_the_slash() {
    begin();
    let mut first = Envoy::sharing("rate_limit/lasting", &limit(3)).unwrap();
    assert_eq!(ask(&mut first, "/a", 200), 0);
    let mut second = Envoy::sharing("rate_limit/lasting", &limit(3)).unwrap();
    drop(first);
    assert_eq!(ask(&mut second, "/a", 200), 0);
    drop(second);
    let mut third = Envoy::sharing("rate_limit/lasting", &limit(3)).unwrap();
    assert_eq!(ask(&mut third, "/a", 200), 0);
    assert_eq!(ask(&mut third, "/a", 200), 429);
    let mut apart = Envoy::sharing("rate_limit/apart", &limit(3)).unwrap();
    assert_eq!(ask(&mut apart, "/a", 200), 0);
}

#[test]
fn what_was_counted_is_handed_over_when_its_configuration_goes() {
    begin();
    let mut envoy = Envoy::start("rate_limit", &limit(1)).unwrap();
    let (stream, _) = envoy.request(PEER, get("/a"), true);
    // Before its stream has ended, and without a tick.
    assert_eq!(envoy.metric("rate_limit_allowed.limit.per_ip"), Some(1));
    answered(&mut envoy, stream, 200);
}

#[test]
fn an_unknown_filter_or_a_wrong_configuration_is_refused_with_a_line() {
    begin();
    let refused = |filter: &str, config: &str| {
        let lines = Envoy::sharing(filter, config).err().expect("refused");
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    let line = refused("ratelimit", "{}");
    assert!(
        line.contains("filter_name") && line.contains("rate_limit, "),
        "{line}"
    );
    assert!(refused("rate_limit", "").contains("limits"));
    assert!(refused("rate_limit", "not JSON").starts_with("rate_limit: "));
    let line = RouteConfig::new("rate_limit", "{}").err().expect("refused");
    assert!(line[0].contains("limits"), "{line:?}");
}

#[test]
fn a_worker_that_goes_idle_has_told_the_others_what_it_saw() {
    begin();
    let config = json!({ "breakers": [{
        "name": "b", "trip": { "failure_ratio": { "above": 0.5, "minimum_requests": 4, "window": "1m" } },
    }] });
    // Two workers, as far as the store can tell.
    let mut one = Envoy::sharing("circuit_breaker/idle", &config.to_string()).unwrap();
    let mut other = Envoy::sharing("circuit_breaker/idle", &config.to_string()).unwrap();
    for _ in 0..6 {
        assert_eq!(ask(&mut one, "/a", 200), 0);
    }
    // No tick has passed: what one has seen is known all the same, so that four failures of ten are not too many.
    for _ in 0..4 {
        assert_eq!(ask(&mut other, "/a", 500), 0);
    }
    advance_millis(200);
    other.tick();
    assert_eq!(ask(&mut other, "/a", 200), 0);
}

#[test]
fn a_worker_with_requests_hears_of_ticks_although_nothing_happens_in_them() {
    begin();
    let config = json!({ "breakers": [{
        "name": "b", "trip": { "failure_ratio": { "above": 0.5, "minimum_requests": 4, "window": "1m" } },
    }] });
    let mut one = Envoy::sharing("circuit_breaker/ticks", &config.to_string()).unwrap();
    let mut other = Envoy::sharing("circuit_breaker/ticks", &config.to_string()).unwrap();
    let (idle, outcome) = one.request(PEER, get("/a"), true);
    assert_eq!(outcome, Outcome::Continue);
    // While that one lasts nothing is told but by ticks.
    for _ in 0..6 {
        assert_eq!(ask(&mut one, "/a", 200), 0);
    }
    one.tick();
    for _ in 0..4 {
        assert_eq!(ask(&mut other, "/a", 500), 0);
    }
    advance_millis(200);
    other.tick();
    assert_eq!(ask(&mut other, "/a", 200), 0);
    answered(&mut one, idle, 200);
}

fn remote(wait: bool) -> String {
    let mut keys = json!({ "upstream": "idp", "authority": "auth.example", "path": "/jwks" });
    if wait {
        keys["wait"] = json!("5s");
    }
    json!({
        "providers": { "idp": {
            "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["RS256"],
            "keys": [{ "remote_jwks": keys }],
        } },
        "rules": [{ "require": { "any_of": ["idp"] } }],
    })
    .to_string()
}

fn signed() -> String {
    let header = json!({ "alg": "RS256", "kid": "k" });
    Key::of("RS256").token("RS256", header, &token::claims())
}

fn set() -> String {
    jwks(&[("k", Key::of("RS256"))]).to_string()
}

fn with_token(token: &str) -> Vec<Header> {
    let mut headers = get("/a");
    headers.push((
        "authorization".to_owned(),
        format!("Bearer {token}").into_bytes(),
    ));
    headers
}

#[test]
fn a_request_that_lacks_a_key_has_the_main_thread_fetch_and_the_next_one_passes() {
    begin();
    let mut envoy = Envoy::start("jwt_auth", &remote(false)).unwrap();
    envoy.tick();
    let call = envoy.calls()[0].clone();
    assert_eq!((&*call.cluster, &*call.headers[":path"]), ("idp", "/jwks"));
    let others = jwks(&[("other", Key::other("RS256"))]).to_string();
    envoy.answer(call.id, Some((200, others.as_bytes())));
    // The key comes later than the set: whoever lacks it has it fetched, by the main thread.
    advance_millis(60_000);
    let headers = with_token(&signed());
    let (stream, outcome) = envoy.request(PEER, headers.clone(), true);
    assert!(matches!(outcome, Outcome::Replied(reply) if reply.status == 401));
    stream.end(None);
    envoy.tick();
    let call = envoy.calls()[0].clone();
    envoy.answer(call.id, Some((200, set().as_bytes())));
    let (stream, outcome) = envoy.request(PEER, headers, true);
    assert_eq!(outcome, Outcome::Continue, "{:?}", take_log());
    answered(&mut envoy, stream, 200);
}

#[test]
fn a_request_that_waits_for_a_key_goes_on_when_it_has_come() {
    begin();
    let mut envoy = Envoy::start("jwt_auth", &remote(true)).unwrap();
    envoy.tick();
    let (mut stream, outcome) = envoy.request(PEER, with_token(&signed()), true);
    assert_eq!(outcome, Outcome::Held);
    let call = envoy.calls()[0].clone();
    envoy.answer(call.id, Some((200, set().as_bytes())));
    assert_eq!(stream.look(), Outcome::Continue);
    answered(&mut envoy, stream, 200);
    // And one whose time is up is decided on.
    let mut envoy = Envoy::start("jwt_auth", &remote(true)).unwrap();
    envoy.tick();
    let (mut stream, outcome) = envoy.request(PEER, with_token(&signed()), true);
    assert_eq!(outcome, Outcome::Held);
    for _ in 0..60 {
        advance_millis(100);
        envoy.tick();
    }
    assert!(matches!(stream.look(), Outcome::Replied(reply) if reply.status == 503));
    stream.end(None);
}

#[test]
fn a_client_that_leaves_while_its_request_is_held_takes_nothing_down() {
    begin();
    let mut envoy = Envoy::start("jwt_auth", &remote(true)).unwrap();
    envoy.tick();
    let (leaves, _) = envoy.request(PEER, with_token(&signed()), true);
    let (mut stays, _) = envoy.request(PEER, with_token(&signed()), true);
    leaves.end(Some("downstream_remote_disconnect"));
    let call = envoy.calls()[0].clone();
    envoy.answer(call.id, Some((200, set().as_bytes())));
    assert_eq!(stays.look(), Outcome::Continue);
    answered(&mut envoy, stays, 200);
}

#[test]
fn a_route_with_a_configuration_of_its_own_is_served_by_that_alone() {
    begin();
    let mut envoy = Envoy::start("rate_limit", &limit(1)).unwrap();
    let own = json!({ "limits": [{ "name": "of_route", "key": ["client_address"], "quota": 2, "window": "1h" }] });
    let route = RouteConfig::new("rate_limit/of_route", &own.to_string()).unwrap();
    let on_route = |envoy: &mut Envoy| {
        let (stream, outcome) = envoy.request_on(&route, PEER, get("/a"));
        match outcome {
            Outcome::Continue => {
                answered(envoy, stream, 200);
                0
            }
            Outcome::Replied(reply) => {
                stream.end(None);
                reply.status
            }
            Outcome::Held => u16::MAX,
        }
    };
    assert_eq!([(); 3].map(|()| on_route(&mut envoy)), [0, 0, 429]);
    assert_eq!(ask(&mut envoy, "/a", 200), 0);
    assert_eq!(ask(&mut envoy, "/a", 200), 429);
    let metrics = envoy.metrics();
    let of = |limit: &str| {
        metrics
            .get(&format!("rate_limit_limited.limit.{limit}"))
            .copied()
    };
    assert_eq!(
        (of("of_route"), of("per_ip")),
        (Some(1), Some(1)),
        "{metrics:?}"
    );
    drop(route);
    envoy.tick();
    assert_eq!(ask(&mut envoy, "/a", 200), 429);
}

#[test]
fn keys_of_a_routes_own_configuration_are_fetched_once_it_has_a_request() {
    begin();
    let open = json!({ "providers": {}, "rules": [{ "allow": "anyone" }] });
    let mut envoy = Envoy::start("jwt_auth", &open.to_string()).unwrap();
    let route = RouteConfig::new("jwt_auth", &remote(false)).unwrap();
    let headers = with_token(&signed());
    let (stream, outcome) = envoy.request_on(&route, PEER, headers.clone());
    assert!(matches!(outcome, Outcome::Replied(reply) if reply.status == 503));
    stream.end(None);
    envoy.tick();
    let call = envoy.calls()[0].clone();
    envoy.answer(call.id, Some((200, set().as_bytes())));
    let (stream, outcome) = envoy.request_on(&route, PEER, headers);
    assert_eq!(outcome, Outcome::Continue);
    answered(&mut envoy, stream, 200);
}

#[test]
fn what_envoy_fails_at_ends_in_what_on_error_says() {
    begin();
    let guarded = |on_error: &str| {
        let config = json!({ "on_error": on_error, "credential": {
            "kind": "static", "secrets": [{ "id": "a", "env": "INTER_SERVICE_SECRET" }],
        } });
        Envoy::start("service_token", &config.to_string()).unwrap()
    };
    for (on_error, passes) in [("deny", false), ("allow", true)] {
        let mut envoy = guarded(on_error);
        for fails in [
            |what: &str| what == "headers",
            |what: &str| what == "x-service-token",
        ] {
            let (stream, outcome) =
                envoy.request_with(PEER, get("/a"), true, |stream| stream.fail(fails));
            match outcome {
                Outcome::Continue => assert!(passes),
                Outcome::Replied(reply) => assert!(!passes && reply.status == 503),
                Outcome::Held => panic!("held"),
            }
            stream.end(None);
        }
        let metrics = envoy.metrics();
        assert_eq!(metrics["service_token_errors.reason.headers_unreadable"], 1);
        assert_eq!(metrics["service_token_errors.reason.edit_failed"], 1);
    }
}

#[test]
fn a_limits_busiest_keys_are_those_of_all_workers_also_of_idle_ones() {
    begin();
    let mut config: serde_json::Value = serde_json::from_str(&limit(100)).unwrap();
    config["control"] = json!({ "path": "/control", "token": { "env": "CONTROL_TOKEN" } });
    let mut one = Envoy::sharing("rate_limit/busiest", &config.to_string()).unwrap();
    let mut other = Envoy::sharing("rate_limit/busiest", &config.to_string()).unwrap();
    for _ in 0..5 {
        assert_eq!(ask(&mut one, "/a", 200), 0);
    }
    let mut headers = get("/control?limit=per_ip");
    headers.push((
        "authorization".to_owned(),
        format!("Bearer {CONTROL_TOKEN}").into_bytes(),
    ));
    let (stream, outcome) = other.request(PEER, headers, true);
    let Outcome::Replied(reply) = outcome else {
        panic!("{outcome:?}");
    };
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let text = body.to_string();
    assert!(
        text.contains("\"asked\":5") || text.contains("192.0.2.1"),
        "{text}"
    );
    stream.end(None);
}

#[test]
fn envoy_can_read_who_calls_where_it_is_to_and_no_other_host_takes_that() {
    begin();
    let mut config = json!({
        "providers": { "d": {
            "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
            "keys": [{ "secret": { "env": "JWT_SECRET_KEY" } }],
            "forward": { "claims": { "sub": "x-user-id", "nobody": "x-nobody" } },
        } },
        "rules": [{ "require": { "any_of": ["d"] } }],
    });
    let told = |config: &serde_json::Value| {
        let mut envoy = Envoy::start("jwt_auth", &config.to_string()).unwrap();
        let (stream, outcome) = envoy.request(PEER, with_token(&token::token()), true);
        assert_eq!(outcome, Outcome::Continue);
        let told = stream.metadata().clone();
        answered(&mut envoy, stream, 200);
        told
    };
    assert!(told(&config).is_empty());
    config["identity_metadata"] = json!(true);
    let alice = ("portcullis:x-user-id".to_owned(), "alice".to_owned());
    assert_eq!(told(&config).into_iter().collect::<Vec<_>>(), [alice]);
    for dialect in portcullis_sim::Dialect::BOTH {
        let builder = portcullis_testhost::Host::builder(dialect);
        let builder = ENV
            .iter()
            .fold(builder, |builder, (name, value)| builder.env(name, value));
        let host = builder.build(
            &portcullis_conformance::module("jwt_auth"),
            config.to_string().as_bytes(),
        );
        let log = match host {
            Ok(host) => format!("{:?}", host.logs()),
            Err(error) => error.to_string(),
        };
        assert!(log.contains("identity_metadata"), "{log}");
    }
}

#[test]
fn a_route_is_chosen_anew_by_what_was_written_and_left_alone_where_nothing_was() {
    begin();
    let credential =
        json!({ "kind": "static", "secrets": [{ "id": "a", "env": "INTER_SERVICE_SECRET" }] });
    let mut envoy = Envoy::start(
        "service_token",
        &json!({ "credential": credential }).to_string(),
    )
    .unwrap();
    let (stream, _) = envoy.request(PEER, get("/a"), true);
    assert!(stream.is_routed_anew());
    answered(&mut envoy, stream, 200);
    let mut envoy = Envoy::start("rate_limit", &limit(5)).unwrap();
    let (stream, _) = envoy.request(PEER, get("/a"), true);
    assert!(!stream.is_routed_anew());
    answered(&mut envoy, stream, 200);
}

#[test]
fn a_probe_that_ends_with_trailers_is_whole_and_keeps_its_permit() {
    begin();
    let config = json!({ "breakers": [{
        "name": "b", "trip": { "consecutive_failures": 1 }, "open_for": { "initial": "1s", "jitter": 0 },
        "half_open": { "probes": 1 },
    }] });
    let mut envoy = Envoy::start("circuit_breaker", &config.to_string()).unwrap();
    assert_eq!(ask(&mut envoy, "/a", 500), 0);
    advance_millis(1_500);
    let (mut probe, outcome) = envoy.request(PEER, get("/a"), false);
    assert_eq!(outcome, Outcome::Continue);
    probe.trailers();
    assert_eq!(ask(&mut envoy, "/a", 200), 503);
    answered(&mut envoy, probe, 200);
}

#[test]
fn a_routes_shorter_period_does_not_shorten_what_the_listener_counts_in_ticks() {
    begin();
    let mut envoy = Envoy::start("jwt_auth", &remote(true)).unwrap();
    envoy.tick();
    let breaker = json!({ "breakers": [{ "name": "b", "trip": { "consecutive_failures": 3 } }] });
    let route = RouteConfig::new("circuit_breaker", &breaker.to_string()).unwrap();
    let (stream, _) = envoy.request_on(&route, PEER, get("/a"));
    answered(&mut envoy, stream, 200);
    // Its call is given up after four seconds, in ticks of 100 ms; ticks are raised every 50 ms now.
    let (mut held, outcome) = envoy.request(PEER, with_token(&signed()), true);
    assert_eq!(outcome, Outcome::Held);
    for _ in 0..70 {
        envoy.tick();
    }
    assert_eq!(held.look(), Outcome::Held);
    for _ in 0..40 {
        envoy.tick();
    }
    assert!(matches!(held.look(), Outcome::Replied(_)));
    held.end(None);
}
