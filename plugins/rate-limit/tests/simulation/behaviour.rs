//! Single situations.

use portcullis_policy::{Policy as _, Span};
use portcullis_rate_limit::RateLimit;
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
    let line = &worker.telemetry.lines()[0];
    assert_eq!(
        line,
        "plugin=rate_limit event=refused reason=quota_exceeded limit=per_ip status=429 method=GET path=/"
    );
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
            "global: unknown field `global`",
        ),
        (
            r#"{"capacity":16,"limits":[{"name":"a","key":["client_address"],"quota":1,"window":"1m"},{"name":"a","key":["client_address"],"quota":1,"window":"1m"}]}"#,
            "limits[1].name: \"a\" is there twice",
        ),
    ] {
        let error = world.worker::<RateLimit>(config).err().unwrap().to_string();
        assert!(error.starts_with(message), "{error}");
    }
    assert_eq!(RateLimit::NAME, "rate_limit");
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
