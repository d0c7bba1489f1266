//! What only Kong's data plane does, seen from a real filter.

use std::time::Duration;

use portcullis_conformance::{ENV, FilterSubject, Sent, Subject, Then, module};
use portcullis_sim::Dialect;
use portcullis_testhost::{End, Host, HostBuilder, LogLevel, Outcome, Request, Response};

const SERVICE_TOKEN: &str =
    r#"{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}"#;
const LIMIT: &str =
    r#"{"capacity":64,"limits":[{"name":"l","key":["client_address"],"quota":3,"window":"1m"}]}"#;
const BREAKER: &str = r#"{"breakers":[{"name":"b","trip":{"consecutive_failures":2}}]}"#;

#[test]
fn a_response_without_a_request_changes_nothing() {
    for (name, config) in [
        ("rate_limit", LIMIT),
        ("circuit_breaker", BREAKER),
        ("service_token", SERVICE_TOKEN),
    ] {
        for dialect in Dialect::BOTH {
            let mut subject = FilterSubject::new(name, dialect, config, 1);
            for _ in 0..5 {
                let finished = subject
                    .host
                    .response_without_request(0, Response::other_filter(503))
                    .expect("no trap");
                if let Some(head) = finished.response {
                    assert!(head.header("ratelimit").is_none());
                }
            }
            assert_eq!(
                subject.ask(Sent::get("/")).refused,
                None,
                "{name} on {dialect:?}"
            );
        }
    }
}

#[test]
fn four_workers_hold_one_limit_and_a_reload_keeps_it_on_envoy_and_empties_it_on_kong() {
    for dialect in Dialect::BOTH {
        let mut subject = FilterSubject::new("rate_limit", dialect, LIMIT, 4);
        let admitted = |subject: &mut FilterSubject| {
            (0..12)
                .filter(|n| {
                    subject.worker = n % 4;
                    subject.ask(Sent::get("/")).refused.is_none()
                })
                .count()
        };
        assert_eq!(admitted(&mut subject), 3);
        subject.host.reload(LIMIT.as_bytes()).expect("accepted");
        assert_eq!(
            admitted(&mut subject),
            if dialect == Dialect::Envoy { 0 } else { 3 }
        );
    }
}

#[test]
fn torn_reads_and_evictions_trap_nowhere_and_a_limit_that_is_not_evicted_holds() {
    let mut subject = FilterSubject::new("rate_limit", Dialect::Kong, LIMIT, 4);
    subject.host.zone().tear_reads(0.5, 7);
    let admitted = (0..40).filter(|n| {
        subject.worker = n % 4;
        subject.ask(Sent::get("/")).refused.is_none()
    });
    assert_eq!(admitted.count(), 3);
    assert!(subject.host.zone().torn_reads() > 0);
    subject.host.zone().clear();
    assert_eq!(subject.ask(Sent::get("/")).refused, None);
}

#[test]
fn no_property_is_asked_for_that_the_host_does_not_know() {
    let mut subject = FilterSubject::new("circuit_breaker", Dialect::Kong, BREAKER, 1);
    for _ in 0..3 {
        let (_, handle) = subject.begin(Sent::get("/"));
        subject.finish(handle, Then::Upstream(503));
    }
    let complaints: Vec<_> = subject
        .host
        .logs()
        .iter()
        .filter(|line| line.from_host)
        .map(|l| l.text.clone())
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// All filters, each with a configuration that it takes.
fn filters() -> [(&'static str, String); 5] {
    let jwt_auth = r#"{"on_error":"allow","providers":{"p":{"issuer":"i","audiences":["a"],"algorithms":["HS256"],
        "keys":[{"secret":{"env":"JWT_SECRET_KEY"}}]}},"rules":[{"require":{"any_of":["p"]}}]}"#;
    [
        ("jwt_auth", jwt_auth.to_owned()),
        ("rate_limit", LIMIT.to_owned()),
        ("circuit_breaker", BREAKER.to_owned()),
        ("service_token", SERVICE_TOKEN.to_owned()),
        (
            "edge",
            format!(r#"{{"rate_limit":{LIMIT},"service_token":{SERVICE_TOKEN}}}"#),
        ),
    ]
}

fn kong() -> HostBuilder {
    ENV.iter()
        .fold(Host::builder(Dialect::Kong), |builder, (name, value)| {
            builder.env(name, value)
        })
}

fn start(name: &str, config: &str) -> Host {
    let started = kong().root_id(name).build(&module(name), config.as_bytes());
    started.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// How a request ends that the filter sees: `None` passed, else the status.
fn ask(host: &mut Host, request: Request) -> Option<u32> {
    let mut exchange = host.request(0, request).expect("no trap");
    assert!(!exchange.unfiltered, "the door is open");
    let refused = exchange.outcome.local_status();
    host.respond(&mut exchange, Response::upstream(200))
        .expect("no trap");
    host.finish(exchange, End::Complete).expect("no trap");
    refused
}

fn errors(host: &Host) -> Vec<String> {
    let errors = host
        .logs()
        .iter()
        .filter(|line| line.level == LogLevel::Error);
    errors.map(|line| line.text.clone()).collect()
}

#[test]
fn a_configuration_that_is_refused_lets_nothing_pass_whatever_on_error_says() {
    let missing = SERVICE_TOKEN.replace("INTER_SERVICE_SECRET", "NOT_SET");
    let twice = LIMIT.replace(
        r#""limits":["#,
        r#""on_error":"allow","limits":[{"name":"l","key":["path"],"quota":1,"window":"1m"},"#,
    );
    let wrong = [
        ("service_token", missing.clone(), "NOT_SET is not set"),
        ("rate_limit", twice, r#""l" is there twice"#),
        (
            "edge",
            format!(r#"{{"service_token":{missing}}}"#),
            "NOT_SET is not set",
        ),
    ];
    let empty = filters().map(|(name, _)| (name, String::new(), ""));
    for (name, config, why) in wrong.into_iter().chain(empty) {
        let mut host = start(name, &config);
        assert_eq!(host.open_door(0), None, "{name}: {config}");
        let said = errors(&host);
        assert!(
            matches!(&said[..], [line] if line.contains(why) && line.contains("gets 503")),
            "{name}: {said:?}"
        );
        for _ in 0..3 {
            assert_eq!(ask(&mut host, Request::get("/")), Some(503), "{name}");
        }
        assert_eq!(errors(&host), said, "not with every request");
        for _ in 0..60 {
            host.advance(Duration::from_secs(1));
            host.tick(0).expect("no trap");
        }
        assert_eq!(errors(&host).len(), 2, "again after a minute: {name}");
    }
}

#[test]
fn a_reload_into_a_configuration_that_is_refused_closes_and_one_that_is_taken_opens_again() {
    for (name, config) in filters() {
        let mut host = start(name, &config);
        let before = ask(&mut host, Request::get("/"));
        host.reload(br#"{"no_such_key":1}"#).expect("Kong starts");
        assert_eq!(ask(&mut host, Request::get("/")), Some(503), "{name}");
        host.reload(config.as_bytes()).expect("Kong starts");
        assert_eq!(ask(&mut host, Request::get("/")), before, "{name}");
    }
}

#[test]
fn without_a_zone_of_shared_memory_no_request_passes_that_needs_it() {
    for (name, config) in filters() {
        let host = kong().without_zone().root_id(name);
        let mut host = host
            .build(&module(name), config.as_bytes())
            .expect("it starts");
        assert_eq!(host.open_door(0), None, "{name}");
        match host.request(0, Request::get("/")) {
            // Kong answers 500.
            Err(trap) => assert!(!trap.worker_crash, "{name}: {trap}"),
            Ok(exchange) => assert!(
                exchange.outcome.local_status().is_some() || name == "service_token",
                "{name}"
            ),
        }
    }
}

#[test]
fn nothing_is_called_while_it_is_configured_that_could_trap() {
    const HARMLESS: [&str; 9] = [
        "proxy_get_buffer_bytes",
        "proxy_log",
        "proxy_define_metric",
        "proxy_set_tick_period_milliseconds",
        "environ_get",
        "environ_sizes_get",
        "fd_fdstat_get",
        "fd_write",
        "fd_prestat_get",
    ];
    for (name, config) in filters() {
        for config in [config, "{}".to_owned()] {
            let host = start(name, &config);
            let called = host.calls().hostcalls();
            let others: Vec<_> = called
                .keys()
                .filter(|call| !HARMLESS.contains(call))
                .collect();
            assert!(others.is_empty(), "{name}: {others:?}");
        }
    }
}

#[test]
fn more_headers_than_kong_can_be_asked_for_are_refused_and_hurt_nobody() {
    let open = BREAKER.replace("\"breakers\"", "\"on_error\":\"allow\",\"breakers\"");
    let all = filters().into_iter().chain([("circuit_breaker", open)]);
    for (name, config) in all {
        let mut host = start(name, &config);
        let before = ask(&mut host, Request::get("/"));
        // On Kong the host's name is a header, too.
        let with = |count: usize| {
            (1..count).fold(Request::get("/").method(&"M".repeat(40)), |request, n| {
                request.header(&format!("x-{n}"), "v")
            })
        };
        assert_eq!(ask(&mut host, with(96)), before, "{name}");
        for count in [97, 98, 100, 101, 120, 400] {
            let forged = with(count - 1).header("x_service_token", "forged");
            assert_eq!(ask(&mut host, forged), Some(431), "{name}, {count} headers");
        }
        assert_eq!(
            host.calls().hostcall("proxy_get_header_map_pairs").count,
            2,
            "{name}"
        );
        assert_eq!(ask(&mut host, Request::get("/")), before, "{name}");
    }
}

#[test]
fn no_property_of_kongs_is_read_behind_the_request() {
    let config = r#"{"breakers":[{"name":"b","trip":{"consecutive_failures":2,
        "failure_ratio":{"above":0.5,"window":"10s","minimum_requests":4}}}]}"#;
    let edge = format!(r#"{{"circuit_breaker":{config}}}"#);
    for (name, config) in [("circuit_breaker", config), ("edge", &edge)] {
        // The test host's Kong dies of it, as the real one does.
        let mut subject = FilterSubject::new(name, Dialect::Kong, config, 1);
        for status in [200, 503, 403, 200, 503, 503] {
            let (_, handle) = subject.begin(Sent::get("/"));
            subject.finish(handle, Then::Upstream(status));
        }
        assert_eq!(
            subject.ask(Sent::get("/")).refused,
            Some(503),
            "{name}: it counted"
        );
        assert_eq!(
            subject.metric("circuit_breaker_failures.breaker.b"),
            3,
            "{name}"
        );
    }
}

#[test]
fn a_preflight_of_which_a_body_comes_over_http_2_goes_no_further() {
    let anyone = r#"{"providers":{},"rules":[{"allow":"anyone"}]}"#;
    for (name, config) in [
        ("circuit_breaker", BREAKER),
        ("jwt_auth", anyone),
        ("rate_limit", LIMIT),
    ] {
        let mut host = start(name, config);
        let mut status = |size, header: (&str, &str)| {
            let request = Request::new("OPTIONS", "/").protocol("HTTP/2.0");
            let request = request.header("origin", "https://app.example");
            let mut exchange = host
                .request(0, request.header(header.0, header.1))
                .expect("no trap");
            assert!(exchange.outcome.is_continue(), "{name}");
            host.request_body(&mut exchange, size).expect("no trap");
            match exchange.outcome {
                Outcome::Continue { .. } => None,
                Outcome::LocalReply { status, .. } => Some(status),
                Outcome::Paused => Some(0),
            }
        };
        let preflight = ("access-control-request-method", "POST");
        assert_eq!(status(0, preflight), None, "{name}");
        assert_eq!(status(2, preflight), Some(411), "{name}");
        // Any other request is judged as one that may have a body.
        assert_eq!(status(2, ("x-other", "POST")), None, "{name}");
    }
}

#[test]
fn what_a_client_sends_over_http_2_without_saying_how_long_it_is_opens_no_breaker() {
    let over = |protocol, breaker: &str| {
        let mut host = start("circuit_breaker", breaker);
        for _ in 0..3 {
            let exchange = host.request(0, Request::post("/").protocol(protocol));
            // Its body is longer than Kong takes, and Kong says 413 past the filter.
            host.finish(exchange.expect("no trap"), End::Dropped)
                .expect("no trap");
        }
        ask(&mut host, Request::get("/"))
    };
    assert_eq!(over("HTTP/2.0", BREAKER), None);
    // Over HTTP/1.1 it had no body, so that the upstream was asked.
    assert_eq!(over("HTTP/1.1", BREAKER), Some(503));
}
