//! Single situations.

use portcullis_policy::{
    Abilities, HeaderEdit, Headers, HostFailure, MetricRegistry, Origin, Policy as _, Response,
    Setup, Span,
};
use portcullis_rate_limit::{Beside, RateLimit};
use portcullis_sim::{Answer, Dialect, Worker, World};

fn get(path: &str) -> [(&str, &str); 2] {
    [(":method", "GET"), (":path", path)]
}

fn limit(algorithm: &str, quota: u32) -> String {
    format!(
        r#"{{"capacity":16,"limits":[{{"name":"per_ip","key":["client_address"],"quota":{quota},"window":"1m","algorithm":"{algorithm}"}}]}}"#
    )
}

#[test]
fn a_flood_of_keys_leaves_memory_where_it_was_and_counts_who_was_forgotten() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let config = limit("sliding_window", 5).replace("\"capacity\":16", "\"capacity\":64");
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        for key in 0..5_000_u32 {
            let peer = std::net::Ipv4Addr::from(key).to_string();
            assert_eq!(worker.request(&peer, &get("/")).0.status(), 200);
        }
        assert_eq!(
            world.zone.len(),
            64 / 8 + 2,
            "{dialect:?}: eight slots, the key of the hash, and that they are laid out"
        );
        assert_eq!(
            worker.telemetry.metric("rate_limit_evictions.limit.per_ip"),
            5_000 - 64
        );
    }
}

#[test]
fn a_claim_is_known_by_its_header_and_a_header_is_there_for_a_claim() {
    let by_sub = r#"{"limits":[{"name":"a","key":["claim:sub"],"quota":1,"window":"1m"}]"#;
    for (rest, error) in [
        (r#","claim_headers":{"sub":"x-user-id"}}"#, None),
        (
            "}",
            Some("limits[0].key[0]: nobody tells the claim \"sub\""),
        ),
        (
            r#","claim_headers":{"tenant":"x-tenant"}}"#,
            Some("claim_headers.tenant: no limit counts by this claim"),
        ),
        (
            r#","claim_headers":{"sub":"x-user-id","tenant":"x-tenant"}}"#,
            Some("claim_headers.tenant: no limit counts by this claim"),
        ),
    ] {
        let world = World::new(Dialect::Envoy, 1);
        let found = world.worker::<RateLimit>(&format!("{by_sub}{rest}")).err();
        let found = found.map(|error| error.to_string());
        match (error, &found) {
            (None, None) => {}
            (Some(error), Some(found)) => assert!(found.starts_with(error), "{found}"),
            _ => panic!("{rest}: {found:?}"),
        }
    }
}

#[test]
fn an_address_that_cant_be_read_is_counted_once_and_one_that_can_is_not() {
    let config = r#"{"capacity":16,"client_address":{"trusted_proxies":["192.0.2.0/24"]},
        "limits":[{"name":"a","key":["client_address"],"quota":9,"window":"1m"},
            {"name":"b","key":["client_address"],"quota":9,"window":"1h"}]}"#;
    for (forwarded, counted) in [("198.51.100.7", 0), ("nonsense", 1)] {
        let world = World::new(Dialect::Envoy, 1);
        let worker: Worker<RateLimit> = world.worker(config).unwrap();
        let [method, path] = get("/");
        worker.request("192.0.2.1", &[method, path, ("x-forwarded-for", forwarded)]);
        let told = worker.telemetry.metric("rate_limit_address_unreadable");
        assert_eq!(told, counted, "{forwarded}");
    }
}

/// The gateway's own 503 costs nobody anything, unless that is configured; once.
#[test]
fn what_was_not_served_is_given_back_once_and_where_that_is_wanted() {
    for (when, then, left) in [
        ("give_back", (503, Origin::Gateway), "2"),
        ("give_back", (503, Origin::Upstream), "1"),
        ("give_back", (502, Origin::Gateway), "1"),
        ("charge", (503, Origin::Gateway), "1"),
    ] {
        let world = World::new(Dialect::Envoy, 1);
        let config = format!(
            r#"{{"capacity":16,"limits":[{{"name":"a","key":["client_address"],"quota":2,"window":"1m","algorithm":"fixed_window","when_unserved":"{when}"}}]}}"#
        );
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let (_, mut flow) = worker.request("192.0.2.1", &get("/"));
        let headers = worker.respond(&mut flow, then.0, then.1);
        let shown = headers
            .iter()
            .find(|(name, _)| name == "x-ratelimit-remaining");
        assert_eq!(shown.unwrap().1, left, "{when} {then:?}");
        // A head that comes twice gives nothing back a second time.
        worker.respond(&mut flow, then.0, then.1);
        let left: usize = left.parse().unwrap();
        let more = (0..5).filter(|_| worker.request("192.0.2.1", &get("/")).0.status() == 200);
        assert_eq!(more.count(), left, "{when} {then:?}");
    }
}

/// An answer to a gRPC request, by whom it was made.
struct Grpc(u8, Origin);
impl Response for Grpc {
    fn status(&self) -> Option<u16> {
        Some(200)
    }
    fn origin(&self) -> Origin {
        self.1
    }
    fn grpc_status(&self) -> Option<u8> {
        Some(self.0)
    }
}

#[test]
fn what_was_not_served_is_given_back_to_a_grpc_client_by_its_status() {
    for (code, origin, left) in [
        (14, Origin::Gateway, 2),
        (14, Origin::Upstream, 1),
        (8, Origin::Gateway, 1),
        (0, Origin::Gateway, 1),
    ] {
        let world = World::new(Dialect::Envoy, 1);
        let worker: Worker<RateLimit> = world.worker(&limit("fixed_window", 2)).unwrap();
        let [method, path] = get("/");
        let headers = [method, path, ("content-type", "application/grpc")];
        let (_, mut flow) = worker.request("192.0.2.1", &headers);
        let (policy, ports) = (&worker.policy, worker.ports());
        policy.on_response(&mut flow, &Grpc(code, origin), &ports);
        let more = (0..5).filter(|_| worker.request("192.0.2.1", &headers).0.status() == 200);
        assert_eq!(more.count(), left, "{code} {origin:?}");
    }
}

#[test]
fn what_another_plugin_refuses_is_given_back_once_and_where_that_is_wanted() {
    for (when, left) in [("give_back", 1), ("charge", 0)] {
        let world = World::new(Dialect::Kong, 1);
        let config = limit("fixed_window", 2);
        let config = config.replace(
            "\"quota\"",
            &format!("\"when_unserved\":\"{when}\",\"quota\""),
        );
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let (_, mut flow) = worker.request("192.0.2.1", &get("/"));
        worker.request("192.0.2.1", &get("/"));
        for _ in 0..2 {
            worker.policy.return_unserved(&mut flow, &worker.ports());
        }
        let more = (0..5).filter(|_| worker.request("192.0.2.1", &get("/")).0.status() == 200);
        assert_eq!(more.count(), left, "{when}");
    }
}

#[test]
fn of_limits_that_refuse_for_as_long_the_line_names_the_one_with_the_longer_window() {
    let limit = |name: &str, window: &str| {
        format!(
            r#"{{"name":"{name}","key":["client_address"],"quota":1,"window":"{window}","algorithm":"fixed_window"}}"#
        )
    };
    let (short, long) = (limit("short", "1m"), limit("long", "1h"));
    for limits in [format!("{short},{long}"), format!("{long},{short}")] {
        let world = World::new(Dialect::Envoy, 1);
        let config = format!(r#"{{"capacity":64,"limits":[{limits}]}}"#);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        // Both windows end in half a minute.
        world.clock.advance(Span::from_secs(59 * 60 + 30));
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 429);
        let lines = worker.telemetry.lines();
        assert!(lines[0].contains("limit=long"), "{lines:?}");
    }
}

#[test]
fn there_are_32_limits_at_most() {
    for (count, fits) in [(32, true), (33, false)] {
        let limits: Vec<_> = (0..count)
            .map(|n| format!(r#"{{"name":"l{n}","key":["constant"],"quota":1,"window":"1m"}}"#))
            .collect();
        let config = format!(r#"{{"limits":[{}]}}"#, limits.join(","));
        let world = World::new(Dialect::Envoy, 1);
        assert_eq!(world.worker::<RateLimit>(&config).is_ok(), fits, "{count}");
    }
}

#[test]
fn before_auth_names_limits_that_there_are() {
    for (name, error) in [
        ("a", None),
        (
            "b",
            Some("before_auth[0]: \"b\" is not the name of a limit"),
        ),
    ] {
        let config = format!(
            r#"{{"limits":[{{"name":"a","key":["constant"],"quota":1,"window":"1m"}}],"before_auth":["{name}"]}}"#
        );
        let mut metrics = MetricRegistry::default();
        let mut setup = Setup {
            environment: &portcullis_sim::Env::default(),
            metrics: &mut metrics,
            abilities: Abilities::NATIVE,
        };
        let config = serde_json::from_str(&config).unwrap();
        let found = RateLimit::for_edge(config, Beside::default(), &mut setup).err();
        assert_eq!(found.map(|error| error.to_string()).as_deref(), error);
    }
}

#[test]
fn room_is_made_for_65536_keys_unless_it_is_said_otherwise() {
    let config: portcullis_rate_limit::Config = serde_json::from_str(
        r#"{"limits":[{"name":"a","key":["client_address"],"quota":1,"window":"1m"}]}"#,
    )
    .unwrap();
    assert_eq!(config.capacity.get(), 65_536);
}

#[test]
fn a_store_that_fails_lets_pass_or_refuses_as_configured_and_is_counted() {
    for (on_error, status) in [("allow", 200), ("deny", 503)] {
        let world = World::new(Dialect::Envoy, 1);
        let config =
            limit("fixed_window", 5).replacen('{', &format!("{{\"on_error\":\"{on_error}\","), 1);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        worker.store.0.fail_after(Some(0));
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), status);
        assert_eq!(
            worker
                .telemetry
                .metric("rate_limit_errors.reason.store_unavailable"),
            1
        );
    }
}

#[test]
fn a_request_with_one_limit_costs_one_read_and_one_write() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(&limit("sliding_window", 2)).unwrap();
    worker.request("192.0.2.1", &get("/"));
    let (reads, writes) = (worker.store.0.reads(), worker.store.0.writes());
    worker.request("192.0.2.1", &get("/"));
    assert_eq!(
        (
            worker.store.0.reads() - reads,
            worker.store.0.writes() - writes
        ),
        (1, 1)
    );
    worker.request("192.0.2.1", &get("/"));
    assert_eq!(
        worker.store.0.writes() - writes,
        1,
        "a refusal writes nothing"
    );
}

#[test]
fn a_reload_keeps_counts_where_the_host_keeps_shared_data_and_another_limit_changes_nothing() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(&limit("fixed_window", 1)).unwrap();
    assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    let with_another = r#"{"capacity":16,"limits":[
        {"name":"other","key":["header:x"],"quota":7,"window":"1s"},
        {"name":"per_ip","key":["client_address"],"quota":1,"window":"1m","algorithm":"fixed_window"}]}"#;
    let worker: Worker<RateLimit> = world.worker(with_another).unwrap();
    assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 429);
}

#[test]
fn a_refusal_says_when_to_come_again_and_coming_then_succeeds() {
    let world = World::new(Dialect::Kong, 1);
    let worker: Worker<RateLimit> = world.worker(&limit("fixed_window", 1)).unwrap();
    world.clock.advance(Span::from_millis(20_500));
    worker.request("192.0.2.1", &get("/"));
    let Answer::Refused(reply) = worker.request("192.0.2.1", &get("/")).0 else {
        panic!("not refused")
    };
    let header = |name: &str| {
        reply
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(header("retry-after"), "40");
    assert_eq!(header("ratelimit"), r#""per_ip";r=0;t=40"#);
    assert_eq!(header("x-ratelimit-limit-minute"), "1");
    world.clock.advance(Span::from_secs(40));
    assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    let lines = worker.telemetry.lines();
    let (line, caller) = lines[0].split_once(" caller=").unwrap();
    assert_eq!(
        line,
        "plugin=rate_limit event=refused reason=quota_exceeded limit=per_ip status=429 method=GET path=/"
    );
    assert!(caller.starts_with("k.") && caller.len() == 34, "{caller}");
}

#[test]
fn preflights_are_not_counted_and_a_path_with_two_readings_does_not_slip_past() {
    let config = r#"{"capacity":16,"limits":[{"name":"api","match":{"paths":[{"prefix":"/api"}]},"key":["client_address"],"quota":1,"window":"1m"}]}"#;
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(config).unwrap();
    let preflight = [
        (":method", "OPTIONS"),
        (":path", "/api"),
        ("origin", "http://x"),
        ("access-control-request-method", "GET"),
    ];
    for _ in 0..3 {
        assert_eq!(worker.request("192.0.2.1", &preflight).0.status(), 200);
        assert_eq!(worker.request("192.0.2.1", &get("/other")).0.status(), 200);
    }
    assert_eq!(worker.request("192.0.2.1", &get("//api")).0.status(), 200);
    assert_eq!(worker.request("192.0.2.1", &get("/api")).0.status(), 429);
}

#[test]
fn shadow_counts_and_logs_and_lets_pass() {
    let world = World::new(Dialect::Envoy, 1);
    let config = limit("fixed_window", 1).replacen('{', "{\"mode\":\"shadow\",", 1);
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    for _ in 0..3 {
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    }
    assert_eq!(
        worker
            .telemetry
            .metric("rate_limit_shadow_limited.limit.per_ip"),
        2
    );
    assert_eq!(
        worker.telemetry.metric("rate_limit_limited.limit.per_ip"),
        0
    );
    assert!(worker.telemetry.lines()[0].contains("event=shadow_refused"));
}

fn of_one(limit: &str) -> String {
    format!(r#"{{"limits":[{{"name":"a","key":["constant"],{limit}}}]}}"#)
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_with_its_path() {
    let world = World::new(Dialect::Envoy, 1);
    for (config, message) in [
        (r#"{"limits":[]}"#, "limits: the list is empty"),
        (
            &*limit("leaky_bucket", 1),
            "limits[0].algorithm: unknown variant `leaky_bucket`",
        ),
        (
            &*limit("fixed_window", 0),
            "limits[0].quota: 0 is out of range; expected 1 to 1000000000",
        ),
        (
            &*limit("fixed_window", 1).replace("1m", "100ms"),
            "limits[0].window: shorter than 1s",
        ),
        (
            &*limit("fixed_window", 1).replace("client_address", "ip"),
            "limits[0].key[0]: \"ip\" is not a key",
        ),
        (
            &*limit("fixed_window", 1).replace("client_address", "claim:sub"),
            "limits[0].key[0]: nobody tells the claim \"sub\"",
        ),
        (
            &*limit("fixed_window", 1).replacen('{', "{\"before_auth\":[\"per_ip\"],", 1),
            "before_auth: unknown field",
        ),
        (
            &*limit("fixed_window", 1).replacen('{', "{\"global\":{},", 1),
            "global: missing field `engine`",
        ),
        (
            r#"{"capacity":16,"limits":[{"name":"a","key":["client_address"],"quota":1,"window":"1m"},{"name":"a","key":["client_address"],"quota":1,"window":"1m"}]}"#,
            "limits[1].name: \"a\" is there twice",
        ),
        (
            &*of_one(r#""quota":1"#),
            "limits[0]: missing field `window`; expected `quota` and `window`, or `in_flight`",
        ),
        (
            &*of_one(r#""window":"1m""#),
            "limits[0]: missing field `quota`; expected",
        ),
        (
            &*of_one(r#""in_flight":0"#),
            "limits[0].in_flight: 0 is out of range",
        ),
        (
            &*of_one(r#""in_flight":2,"quota":5"#),
            "limits[0].quota: it is for a quota in a window",
        ),
        (
            &*of_one(r#""in_flight":2,"window":"1m""#),
            "limits[0].window: it is for a quota in a window",
        ),
        (
            &*of_one(r#""in_flight":2,"algorithm":"sliding_window""#),
            "limits[0].algorithm: it is for a quota in a window",
        ),
        (
            &*of_one(r#""in_flight":2,"burst":3"#),
            "limits[0].burst: it is for a quota in a window",
        ),
        (
            &*of_one(r#""in_flight":2,"when_unserved":"charge""#),
            "limits[0].when_unserved: it is for a quota in a window",
        ),
        (
            &*of_one(r#""in_flight":2,"cost":{"when":{"status":[401]}}"#),
            "limits[0].cost.when: it is for a quota in a window",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"when":{"status":[]}}"#),
            "limits[0].cost.when.status: the list is empty",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"when":{"status":[401,99]}}"#),
            "limits[0].cost.when.status[1]: 99 is out of range; expected 200 to 599",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"status":[401]}"#),
            "limits[0].cost.status: unknown field `status`, expected one of `when`, `field`, `tokens`, `reserve`",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":"many""#),
            "limits[0].cost: invalid type: string, expected a number, or an object with `when`, `field` or `tokens`",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"field":{"default":1,"at_most":2}}"#),
            "limits[0].cost: field: expected `json`, `query`, or both",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"field":{"json":"a..b","at_most":2}}"#),
            "limits[0].cost.field.json: \"a..b\": a name in a path has 1 to 64 bytes",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"field":{"json":"$.a","at_most":2}}"#),
            "limits[0].cost.field.json: \"$.a\" is written as elsewhere",
        ),
        (
            r#"{"limits":[{"name":"a","key":["header:x-user"],"quota":1,"window":"1m","on_exceeded":{"set":{"x-user":"small"}}}]}"#,
            "limits[0].on_exceeded.set.x-user: requests are counted by it",
        ),
        (
            r#"{"max_body":[{"bytes":5},{"bytes":9}],"limits":[{"name":"a","key":["constant"],"quota":1,"window":"1m"}]}"#,
            "max_body[1]",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":{"field":{"json":"a","at_most":3}}"#),
            "limits[0].cost: 3 is more than the 2 that are ever left",
        ),
        (
            &*of_one(r#""quota":9000,"window":"1m","cost":{"tokens":{"output":4}}"#),
            "limits[0].cost: 32768 is more than the 9000 that are ever left",
        ),
        (
            &*of_one(r#""quota":9000,"window":"1m","cost":{"reserve":{}}"#),
            "limits[0].cost: reserve: it is for `tokens`",
        ),
        (
            &*of_one(r#""in_flight":2,"cost":{"tokens":{},"reserve":{"output":1}}"#),
            "limits[0].cost.tokens: it is for a quota in a window",
        ),
        (
            r#"{"log":"usage","limits":[{"name":"a","key":["constant"],"quota":1,"window":"1m"}]}"#,
            "log: no limit has `cost.tokens`, which it is for",
        ),
        (
            &*of_one(r#""quota":2,"window":"1m","cost":-1"#),
            "limits[0].cost: ",
        ),
        (
            &*of_one(r#""in_flight":2,"cost":3"#),
            "limits[0].cost: 3 is more than the 2 that are ever left",
        ),
    ] {
        let error = world.worker::<RateLimit>(config).err().unwrap().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    assert_eq!(RateLimit::NAME, "rate_limit");
}

#[test]
fn what_bodies_are_changed_by_is_refused_where_it_could_not_be() {
    let world = World::new(Dialect::Envoy, 1);
    let limit = |output: &str| {
        format!(
            r#"{{"name":"a{}","key":["constant"],"quota":9000,"window":"1m","cost":{{"tokens":{{}},"reserve":{{"output":{output}}}}}}}"#,
            output.len()
        )
    };
    let of = |output: &str| format!(r#"{{"limits":[{}]}}"#, limit(output));
    let with =
        |usage: &str, output: &str| format!(r#"{{"usage":{usage},"limits":[{}]}}"#, limit(output));
    let asked = |from: &str| format!(r#"{{"from":{from},"clamp":true}}"#);
    let zero = of("1").replace(r#""tokens":{}"#, r#""tokens":{"input":0,"output":0}"#);
    let two = format!(
        r#"{{"limits":[{},{}]}}"#,
        limit(&asked(r#"["a.b"]"#)),
        limit(&asked(r#"["a"]"#))
    );
    let fixed = r#"{"tokens":{},"reserve":{"input":1,"output":1}}"#;
    let unread = with(r#"{"include_usage":"force"}"#, "1")
        .replace(r#"{"tokens":{},"reserve":{"output":1}}"#, fixed);
    for (config, message) in [
        (zero, "limits[0].cost: tokens: all are 0"),
        (
            of(r#"{"clamp":true}"#),
            "limits[0].cost.reserve.output: clamp: expected `from`",
        ),
        (
            of(&asked(r#"["a.*.b"]"#)),
            "limits[0].cost.reserve.output: from: with `clamp` a path has names alone",
        ),
        (
            of(r#"{"from":[]}"#),
            "limits[0].cost.reserve.output: from: the list is empty",
        ),
        (
            of(&asked(r#"["a","A"]"#)),
            "limits[0].cost.reserve.output: from: \"a\" and \"A\" are one",
        ),
        (
            of(&asked(r#"["a","a.b"]"#)),
            "limits[0].cost.reserve.output: from: \"a\" and \"a.b\" are one, or one lies",
        ),
        (
            of(r#"{"from":["a"],"clamp":true,"default":1,"at_most":10}"#),
            "limits[0].cost.reserve.output: `at_most` is less than the 16",
        ),
        (
            two,
            "limits[1].cost.reserve.output.from: \"a\" and \"a.b\" of another limit",
        ),
        (
            with(r#"{"include_usage":"force"}"#, &asked(r#"["stream"]"#)),
            "limits[0].cost.reserve.output.from: `include_usage: force` goes by it",
        ),
        (
            unread,
            "usage.include_usage: no limit with `cost.tokens` reads requests' bodies",
        ),
        (
            with(
                r#"{"include_usage":"force","accept_encoding":"as_sent"}"#,
                r#"{"default":1}"#,
            ),
            "usage.include_usage: from an answer that is compressed",
        ),
        (
            with(r#"{"models":{"other":["x"]}}"#, r#"{"default":1}"#),
            "usage.models.other: ",
        ),
        (
            with(r#"{"models":{"a":["x"],"b":["x"]}}"#, r#"{"default":1}"#),
            "usage.models.b: \"x\" is there twice",
        ),
        (
            with(r#"{"models":{"a":["x*y"]}}"#, r#"{"default":1}"#),
            "usage.models.a[0]: \"x*y\" is not a model's name",
        ),
        (
            with(r#"{"models":{"a":[]}}"#, r#"{"default":1}"#),
            "usage.models.a: the list is empty",
        ),
    ] {
        let error = world.worker::<RateLimit>(&config).err();
        let error = error.unwrap_or_else(|| panic!("{config}")).to_string();
        assert!(error.starts_with(message), "{config}: {error}");
    }
}

#[test]
fn a_window_of_another_length_starts_afresh_instead_of_locking_everyone_out() {
    let world = World::new(Dialect::Envoy, 1);
    let config = limit("fixed_window", 5);
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    let longer: Worker<RateLimit> = world.worker(&config.replace("1m", "1h")).unwrap();
    assert_eq!(longer.request("192.0.2.1", &get("/")).0.status(), 200);
    let again: Worker<RateLimit> = world.worker(&config.replace("1m", "1s")).unwrap();
    assert_eq!(again.request("192.0.2.1", &get("/")).0.status(), 200);
}

#[test]
fn a_worker_with_an_old_reading_of_the_clock_does_not_free_what_is_used_since() {
    for algorithm in ["fixed_window", "sliding_window"] {
        let world = World::new(Dialect::Envoy, 1);
        let worker: Worker<RateLimit> = world.worker(&limit(algorithm, 5)).unwrap();
        let admitted = |times: usize| {
            (0..times)
                .filter(|_| worker.request("192.0.2.1", &get("/")).0.status() == 200)
                .count()
        };
        let start = world.clock.read();
        for windows_back in [2_u64, 3, 50] {
            world
                .clock
                .set(start.after(Span::from_secs(60 * 100 * windows_back)));
            let now = world.clock.read();
            assert_eq!(admitted(9), 5);
            world
                .clock
                .set(now.before(Span::from_secs(60 * windows_back)));
            assert_eq!(admitted(3), 0, "nothing is known of that time any more");
            world.clock.set(now);
            assert_eq!(admitted(9), 0, "{algorithm}, {windows_back} windows back");
        }
    }
}

#[test]
fn newcomers_in_a_full_slot_do_not_drive_one_another_out() {
    let world = World::new(Dialect::Envoy, 1);
    let config = limit("fixed_window", 5)
        .replace("\"capacity\":16", "\"capacity\":8")
        .replace("1m", "1h");
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    for n in 1..=8 {
        worker.request(&format!("192.0.2.{n}"), &get("/"));
    }
    let mut admitted = 0;
    for _ in 0..100 {
        for peer in ["198.51.100.1", "198.51.100.2"] {
            admitted += usize::from(worker.request(peer, &get("/")).0.status() == 200);
        }
    }
    assert!(
        admitted <= 12,
        "{admitted} of two keys with a quota of 5 each"
    );
}

/// A refusal's header.
fn header(answer: &Answer, name: &str) -> String {
    let Answer::Refused(reply) = answer else {
        panic!("not refused")
    };
    let found = reply.headers.iter().find(|(known, _)| known == name);
    found.map_or(String::new(), |(_, value)| value.clone())
}

#[test]
fn whoever_waits_for_the_longest_of_all_limits_that_refuse_is_admitted() {
    let limits = [
        r#"{"name":"second","key":["client_address"],"quota":1,"window":"1s","algorithm":"fixed_window"}"#,
        r#"{"name":"hour","key":["client_address"],"quota":2,"window":"1h","algorithm":"fixed_window"}"#,
    ];
    for (dialect, order) in Dialect::BOTH
        .into_iter()
        .flat_map(|d| [(d, [0, 1]), (d, [1, 0])])
    {
        let config = format!(
            r#"{{"capacity":16,"limits":[{}]}}"#,
            order.map(|index| limits[index]).join(",")
        );
        let world = World::new(dialect, 1);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let ask = || worker.request("192.0.2.1", &get("/")).0;
        assert_eq!(ask().status(), 200);
        let only_the_second = ask();
        assert_eq!(header(&only_the_second, "retry-after"), "1");
        assert_eq!(header(&only_the_second, "x-ratelimit-limit"), "1");
        world.clock.advance(Span::from_secs(1));
        assert_eq!(ask().status(), 200);
        let both = ask();
        assert_eq!(header(&both, "retry-after"), "3599");
        assert_eq!(header(&both, "x-ratelimit-reset"), "3599");
        assert_eq!(header(&both, "x-ratelimit-limit"), "2");
        for part in [r#""second";r=0;t=1"#, r#""hour";r=0;t=3599"#] {
            assert!(header(&both, "ratelimit").contains(part), "{part}");
        }
        let Answer::Refused(reply) = &both else {
            panic!("not refused")
        };
        assert_eq!(reply.cause, "rate_limit{hour}");
        let lines = worker.telemetry.lines();
        assert_eq!(lines.len(), 2, "one for each refusal");
        assert!(lines[1].contains("limit=hour"), "{lines:?}");
        for (limit, refused) in [("second", 2), ("hour", 1)] {
            let metric = format!("rate_limit_limited.limit.{limit}");
            assert_eq!(worker.telemetry.metric(&metric), refused, "{limit}");
        }
        world.clock.advance(Span::from_secs(3_598));
        assert_eq!(ask().status(), 429);
        world.clock.advance(Span::from_secs(1));
        assert_eq!(ask().status(), 200);
    }
}

#[test]
fn limits_that_are_only_tried_out_change_nothing_for_the_others() {
    let shadow = r#"{"name":"tried","key":["header:k"],"quota":1,"window":"24h","when_key_missing":"deny","mode":"shadow"}"#;
    let enforced = r#"{"name":"real","key":["client_address"],"quota":3,"window":"1h","algorithm":"fixed_window"}"#;
    for limits in [[shadow, enforced], [enforced, shadow]] {
        let config = format!(r#"{{"capacity":16,"limits":[{}]}}"#, limits.join(","));
        let world = World::new(Dialect::Envoy, 1);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let keyed = [(":method", "GET"), (":path", "/"), ("k", "v")];
        let statuses = [&keyed[..], &keyed, &get("/"), &keyed, &get("/")]
            .map(|headers| worker.request("192.0.2.1", headers).0.status());
        assert_eq!(statuses, [200, 200, 200, 429, 429]);
        assert_eq!(
            worker
                .telemetry
                .metric("rate_limit_shadow_limited.limit.tried"),
            4
        );
        assert_eq!(worker.telemetry.metric("rate_limit_allowed.limit.tried"), 1);
        assert_eq!(worker.telemetry.metric("rate_limit_limited.limit.real"), 2);
    }
}

#[test]
fn requests_that_are_skipped_are_counted_and_the_log_hears_of_the_first() {
    let config = r#"{"capacity":16,"limits":[
        {"name":"by_route","key":["client_address","route"],"quota":1,"window":"1m"},
        {"name":"by_key","key":["header:x-api-key"],"quota":9,"window":"1m"}]}"#;
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(config).unwrap();
    for _ in 0..5 {
        let headers = [(":method", "GET"), (":path", "/"), ("x-api-key", "k")];
        assert_eq!(worker.request("192.0.2.1", &headers).0.status(), 200);
    }
    let with_id = [(":method", "GET"), (":path", "/"), ("x-request-id", "id-7")];
    worker.request("192.0.2.1", &with_id);
    for (limit, skipped) in [("by_route", 6), ("by_key", 1)] {
        let metric = format!("rate_limit_skipped.limit.{limit}");
        assert_eq!(worker.telemetry.metric(&metric), skipped, "{limit}");
    }
    assert_eq!(
        worker.telemetry.lines(),
        [
            "plugin=rate_limit event=skipped reason=key_missing limit=by_route part=route",
            "plugin=rate_limit event=skipped reason=key_missing limit=by_key part=header:x-api-key request_id=id-7",
        ]
    );
}

#[test]
fn several_values_where_one_belongs_share_one_count_or_are_refused() {
    for (missing, admitted, status) in [("skip", 3, 429), ("share", 3, 429), ("deny", 0, 400)] {
        let config = format!(
            r#"{{"capacity":64,"limits":[{{"name":"l","key":["header:x-api-key"],"quota":3,"window":"1m","when_key_missing":"{missing}"}}]}}"#
        );
        let world = World::new(Dialect::Envoy, 1);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let statuses = (0..9).map(|n| {
            let junk = format!("j{n}");
            let headers = [
                (":method", "GET"),
                (":path", "/"),
                ("x-api-key", "REAL"),
                ("x_api_key", &junk),
            ];
            worker.request("192.0.2.1", &headers).0.status()
        });
        let statuses: Vec<u16> = statuses.collect();
        assert_eq!(
            statuses.iter().filter(|s| **s == 200).count(),
            admitted,
            "{missing}"
        );
        assert_eq!(statuses.last(), Some(&status), "{missing}");
        let one = [(":method", "GET"), (":path", "/"), ("x-api-key", "REAL")];
        assert_eq!(
            worker.request("192.0.2.1", &one).0.status(),
            200,
            "{missing}"
        );
        if missing == "deny" {
            let lines = worker.telemetry.lines();
            assert!(lines[0].contains("reason=key_ambiguous"), "{lines:?}");
        }
    }
}

#[test]
fn an_address_that_can_not_be_read_is_counted_once_a_request() {
    let config = r#"{"capacity":16,"client_address":{"trusted_proxies":["10.0.0.0/8","unix"]},"limits":[
        {"name":"a","key":["client_address"],"quota":9,"window":"1m"},
        {"name":"b","key":["client_address"],"quota":9,"window":"1h"}]}"#;
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(config).unwrap();
    let ask = |peer: &str, line: &str| {
        let headers = [
            (":method", "GET"),
            (":path", "/"),
            ("x-forwarded-for", line),
        ];
        worker.request(peer, &headers).0.status()
    };
    for (peer, line, unreadable) in [
        ("10.0.0.1", "unknown", 1),
        ("10.0.0.1", "[2001:db8::1]", 1),
        ("unix:", "198.51.100.7, nonsense", 2),
        ("192.0.2.1", "nonsense", 2),
    ] {
        assert_eq!(ask(peer, line), 200);
        let metric = worker.telemetry.metric("rate_limit_address_unreadable");
        assert_eq!(metric, unreadable, "{line}");
    }
}

#[test]
fn clients_of_a_unix_socket_are_counted() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(&limit("fixed_window", 2)).unwrap();
    let ask = || worker.request("/run/gateway.sock", &get("/")).0.status();
    assert_eq!([ask(), ask(), ask()], [200, 200, 429]);
}

#[test]
fn a_client_that_sends_too_many_headers_is_refused_whatever_on_error_says() {
    for (failure, on_error, status) in [
        (HostFailure::HeadersCut, "allow", Some(431)),
        (HostFailure::HeadersCut, "deny", Some(431)),
        (HostFailure::Headers, "allow", None),
        (HostFailure::Headers, "deny", Some(503)),
    ] {
        let world = World::new(Dialect::Kong, 1);
        let config =
            limit("fixed_window", 5).replacen('{', &format!("{{\"on_error\":\"{on_error}\","), 1);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let reply = worker.policy.on_host_failure(failure, &worker.ports());
        assert_eq!(
            reply.map(|reply| reply.status),
            status,
            "{failure:?} {on_error}"
        );
    }
}

#[test]
fn the_line_of_a_failure_names_the_request() {
    let world = World::new(Dialect::Envoy, 1);
    let config = limit("fixed_window", 5).replacen('{', "{\"on_error\":\"deny\",", 1);
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    worker.store.0.fail_after(Some(0));
    let with_id = [(":method", "GET"), (":path", "/"), ("x-request-id", "id-7")];
    assert_eq!(worker.request("192.0.2.1", &with_id).0.status(), 503);
    assert_eq!(
        worker.telemetry.lines(),
        ["plugin=rate_limit event=refused reason=store_unavailable status=503 request_id=id-7"]
    );
}

#[test]
fn what_costs_nothing_and_what_is_refused_is_read_and_not_written() {
    let config = limit("token_bucket", 2).replacen(
        "\"quota\"",
        r#""costs":[{"match":{"methods":["HEAD"]},"cost":0}],"quota""#,
        1,
    );
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    let head = [(":method", "HEAD"), (":path", "/")];
    let writes = worker.store.0.writes();
    assert_eq!(worker.request("192.0.2.1", &head).0.status(), 200);
    assert_eq!(worker.store.0.writes(), writes);
    for _ in 0..2 {
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    }
    assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 429);
    assert_eq!(worker.request("192.0.2.1", &head).0.status(), 200);
    assert_eq!(worker.store.0.writes(), writes + 2);
}

#[test]
fn a_limit_that_would_admit_what_another_refuses_is_not_written_either() {
    let config = r#"{"capacity":64,"limits":[
        {"name":"many","key":["client_address"],"quota":9,"window":"1m"},
        {"name":"one","key":["client_address"],"quota":1,"window":"1m"}]}"#;
    for dialect in Dialect::BOTH {
        let worker: Worker<RateLimit> = World::new(dialect, 1).worker(config).unwrap();
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
        let writes = worker.store.0.writes();
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 429);
        assert_eq!(worker.store.0.writes(), writes, "{dialect:?}");
    }
}

#[test]
fn the_second_worker_finds_all_laid_out() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let config = limit("fixed_window", 5).replace("\"capacity\":16", "\"capacity\":65536");
        let first: Worker<RateLimit> = world.worker(&config).unwrap();
        assert_eq!(world.zone.len(), 8_192 + 2);
        let second: Worker<RateLimit> = world.worker(&config).unwrap();
        let calls = |worker: &Worker<RateLimit>| worker.store.0.reads() + worker.store.0.writes();
        assert!(calls(&first) >= 8_192);
        assert_eq!(
            calls(&second),
            2,
            "the key of the hash, and that all is laid out"
        );
    }
}

#[test]
fn a_refusal_shows_the_limit_that_refused_and_gives_the_others_back() {
    let config = r#"{"capacity":16,"limits":[
        {"name":"short","key":["client_address"],"quota":4,"window":"1s","algorithm":"fixed_window"},
        {"name":"long","key":["client_address"],"quota":3,"window":"1h","algorithm":"fixed_window"}]}"#;
    let world = World::new(Dialect::Envoy, 1);
    let worker: Worker<RateLimit> = world.worker(config).unwrap();
    for _ in 0..3 {
        assert_eq!(worker.request("192.0.2.1", &get("/")).0.status(), 200);
    }
    let Answer::Refused(reply) = worker.request("192.0.2.1", &get("/")).0 else {
        panic!("not refused")
    };
    let header = |name: &str| {
        reply
            .headers
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(header("x-ratelimit-limit"), "3");
    assert_eq!(header("ratelimit"), r#""short";r=1;t=1, "long";r=0;t=3600"#);
}

/// The sizes that the page and Kong's configuration name.
#[test]
fn a_limit_that_comes_to_count_in_another_way_has_slots_of_another_size_beside_the_old_ones() {
    let world = World::new(Dialect::Kong, 1);
    let sizes = |world: &World| {
        let names = world.zone.keys().into_iter();
        let slots = names.filter(|name| name.starts_with("portcullis/rate_limit/"));
        let slots = slots.filter_map(|name| world.zone.get(&name));
        let mut sizes: Vec<usize> = slots.map(|(bytes, _)| bytes.len()).collect();
        sizes.sort_unstable();
        sizes
    };
    for (algorithm, slots) in [
        ("fixed_window", &[281, 281][..]),
        ("sliding_window", &[281, 281, 793, 793]),
        ("token_bucket", &[281, 281, 793, 793]),
        ("sliding_window", &[281, 281, 793, 793]),
    ] {
        let worker: Worker<RateLimit> = world.worker(&limit(algorithm, 2)).unwrap();
        let ask = || worker.request("192.0.2.1", &get("/")).0.status();
        assert_eq!([ask(), ask(), ask()], [200, 200, 429], "{algorithm}");
        world.clock.advance(Span::from_secs(60));
        assert_eq!(
            sizes(&world)[2..],
            *slots,
            "{algorithm}: but for the two others"
        );
    }
}

#[test]
fn a_cost_that_an_earlier_one_leaves_nothing_is_refused() {
    let config = |costs: &str| {
        format!(
            r#"{{"limits":[{{"name":"a","key":["constant"],"quota":9,"window":"1m","costs":[{costs}]}}]}}"#
        )
    };
    let (all, search) = (
        r#"{"match":{"paths":[{"prefix":"/api"}]},"cost":2}"#,
        r#"{"match":{"paths":[{"exact":"/api/search"}]},"cost":3}"#,
    );
    let world = World::new(Dialect::Envoy, 1);
    let refused = world
        .worker::<RateLimit>(&config(&[all, search].join(",")))
        .err();
    let rule = "it is never reached: costs[0] matches all of its requests, and the first that matches holds";
    let refused = refused.map(|error| error.to_string());
    assert_eq!(refused, Some(format!("limits[0].costs[1].match: {rule}")));
    assert!(
        world
            .worker::<RateLimit>(&config(&[search, all].join(",")))
            .is_ok()
    );
}

/// An answer of the upstream with headers of its own.
struct WithHeaders(Headers);
impl Response for WithHeaders {
    fn status(&self) -> Option<u16> {
        Some(200)
    }
    fn origin(&self) -> Origin {
        Origin::Upstream
    }
    fn headers(&self) -> Option<&Headers> {
        Some(&self.0)
    }
}

#[test]
fn headers_are_written_where_that_is_wanted_and_what_the_upstream_says_of_limits_goes() {
    for (style, mode, writes) in [
        ("both", "enforce", true),
        ("legacy", "enforce", true),
        ("none", "enforce", false),
        ("both", "shadow", false),
        ("none", "shadow", false),
    ] {
        let world = World::new(Dialect::Envoy, 1);
        let config = limit("fixed_window", 2);
        let config = config.replacen(
            '{',
            &format!("{{\"headers\":\"{style}\",\"mode\":\"{mode}\","),
            1,
        );
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        assert_eq!(
            worker.policy.writes_response_headers(),
            writes,
            "{style} {mode}"
        );
        let (_, mut flow) = worker.request("192.0.2.1", &get("/"));
        let theirs = [
            ("X-RateLimit-Foreign", "1"),
            ("x-ratelimit-remaining", "9"),
            ("x-other", "1"),
        ];
        let response = WithHeaders(Headers::from_pairs(theirs));
        let ports = worker.ports();
        let edits = worker.policy.on_response(&mut flow, &response, &ports);
        let (mut set, mut cleared) = (Vec::new(), Vec::new());
        for edit in edits.headers() {
            match edit {
                HeaderEdit::Set { name, .. } => set.push(name.to_string()),
                HeaderEdit::Clear { name } => cleared.push(name.to_string()),
            }
        }
        assert_eq!(
            set.contains(&"x-ratelimit-remaining".to_owned()),
            writes,
            "{style} {mode}"
        );
        let expected: &[&str] = if writes {
            &["X-RateLimit-Foreign"]
        } else {
            &[]
        };
        assert_eq!(cleared, expected, "{style} {mode}");
    }
}
