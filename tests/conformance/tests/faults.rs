//! Each host call made to fail in turn, on every callback, on both hosts: no trap, and the outcome
//! that `on_error` names.

use std::collections::BTreeSet;

use portcullis_conformance::token::token;
use portcullis_conformance::{ENV, Sent, module};
use portcullis_sim::Dialect;
use portcullis_testhost::{End, FailRule, Host, Outcome, Request, Response};

/// Statuses of the ABI that a failing call may return, and one that is none.
const STATUSES: [u32; 7] = [1, 2, 3, 8, 10, 12, 4_000];

fn configs(on_error: &str) -> Vec<(&'static str, String)> {
    let jwt_auth = format!(
        r#"{{"on_error":"{on_error}","providers":{{"d":{{"issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
        "keys":[{{"secret":{{"env":"JWT_SECRET_KEY"}},"kid":"k1"}}],"forward":{{"claims":{{"sub":"x-user-id"}}}}}}}},
        "rules":[{{"require":{{"any_of":["d"]}}}}]}}"#
    );
    let rate_limit = format!(
        r#"{{"on_error":"{on_error}","capacity":64,"limits":[{{"name":"l","key":["client_address"],"quota":100000,"window":"1h"}}]}}"#
    );
    let circuit_breaker = format!(
        r#"{{"on_error":"{on_error}","breakers":[{{"name":"b","trip":{{"consecutive_failures":100}}}}]}}"#
    );
    let service_token = format!(
        r#"{{"on_error":"{on_error}","credential":{{"kind":"static","secrets":[{{"id":"a","env":"INTER_SERVICE_SECRET"}}]}}}}"#
    );
    let edge = format!(
        r#"{{"jwt_auth":{jwt_auth},"rate_limit":{rate_limit},"circuit_breaker":{circuit_breaker},"service_token":{service_token}}}"#
    );
    vec![
        ("jwt_auth", jwt_auth),
        ("rate_limit", rate_limit),
        ("circuit_breaker", circuit_breaker),
        ("service_token", service_token),
        ("edge", edge),
    ]
}

fn host(name: &str, dialect: Dialect, config: &str) -> Host {
    let builder = Host::builder(dialect)
        .now_unix_nanos(portcullis_conformance::START_UNIX_SECS * 1_000_000_000);
    let builder = ENV
        .iter()
        .fold(builder, |builder, (name, value)| builder.env(name, value));
    builder
        .build(&module(name), config.as_bytes())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn request() -> Request {
    let sent = Sent::get("/api").with("authorization", &format!("Bearer {}", token()));
    let request = Request::get(&sent.path)
        .peer("192.0.2.1")
        .header("x-user-id", "root");
    sent.headers.iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

/// What follows the request: every way to the end of a stream.
fn ends() -> Vec<(Option<Response>, End)> {
    vec![
        (Some(Response::upstream(200)), End::Complete),
        (Some(Response::upstream(500)), End::Complete),
        (Some(Response::upstream(200)), End::UpstreamReset),
        (Some(Response::connect_failure()), End::Complete),
        (None, End::ClientGone),
    ]
}

/// One exchange; how its request ended: `None` passed, else the status (0: held).
fn exchange(host: &mut Host, (response, end): (Option<Response>, End)) -> Option<u32> {
    let mut exchange = host.request(0, request()).expect("no trap in the request");
    let refused = match &exchange.outcome {
        Outcome::Continue { .. } => None,
        Outcome::LocalReply { status, .. } => Some(*status),
        Outcome::Paused => Some(0),
    };
    if let (Some(response), None) = (response, refused) {
        host.respond(&mut exchange, response)
            .expect("no trap in the response");
    }
    host.finish(exchange, end).expect("no trap at the end");
    host.tick(0).expect("no trap in the tick");
    refused
}

#[test]
fn each_call_that_fails_in_turn_traps_nowhere_and_ends_as_on_error_says() {
    for dialect in Dialect::BOTH {
        for on_error in ["allow", "deny"] {
            for (name, config) in configs(on_error) {
                // Each filter's own default path first: which calls does it make at all?
                let mut seen = BTreeSet::new();
                let mut probe = host(name, dialect, &config);
                probe.reset_calls();
                for end in ends() {
                    assert_eq!(exchange(&mut probe, end), None, "{name} on {dialect:?}");
                }
                seen.extend(
                    probe
                        .calls()
                        .hostcalls()
                        .keys()
                        .copied()
                        .filter(|call| call.starts_with("proxy_")),
                );
                for call in &seen {
                    let most = probe.calls().hostcall(call).count.min(6);
                    for status in STATUSES {
                        for nth in (1..=most).map(Some).chain([None]) {
                            for end in ends() {
                                run(name, dialect, on_error, &config, call, status, nth, end);
                            }
                        }
                    }
                }
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the case's coordinates")]
fn run(
    name: &str,
    dialect: Dialect,
    on_error: &str,
    config: &str,
    call: &str,
    status: u32,
    nth: Option<u64>,
    end: (Option<Response>, End),
) {
    let case = format!(
        "{name} on {dialect:?}, on_error {on_error}, {call} fails with {status}, nth {nth:?}, {end:?}"
    );
    let mut host = host(name, dialect, config);
    host.fail(match nth {
        Some(nth) => FailRule::on(call).status(status).nth(nth),
        None => FailRule::on(call).status(status),
    });
    let refused = exchange(&mut host, end);
    let fails_the_request = match call {
        "proxy_get_header_map_pairs" => true,
        "proxy_get_shared_data" => status != 1 && status != 8,
        // A breaker that is closed writes nothing and reads no clock.
        "proxy_set_shared_data" => status != 1 && status != 8 && name != "circuit_breaker",
        "proxy_get_current_time_nanoseconds" => name != "circuit_breaker",
        _ => false,
    };
    if nth.is_none() && fails_the_request {
        match on_error {
            "allow" => assert_eq!(refused, None, "{case}"),
            _ => assert!(matches!(refused, Some(503)), "{case}: {refused:?}"),
        }
    }
    // A request that can't be given its credential or stripped of forged ones does not pass, unless told so.
    if nth.is_none()
        && on_error == "deny"
        && call == "proxy_replace_header_map_value"
        && matches!(name, "jwt_auth" | "service_token" | "edge")
    {
        assert_eq!(refused, Some(503), "{case}");
    }
    host.clear_failures();
    assert_eq!(
        exchange(&mut host, (Some(Response::upstream(200)), End::Complete)),
        None,
        "afterwards: {case}"
    );
}

#[test]
fn a_configuration_survives_any_call_that_fails_or_says_so() {
    // A failing call at configure is tried by a reload, since rules can be set on a running host only.
    for dialect in Dialect::BOTH {
        for (name, config) in configs("allow") {
            for call in [
                "proxy_get_buffer_bytes",
                "proxy_define_metric",
                "proxy_set_tick_period_milliseconds",
                "proxy_get_shared_data",
                "proxy_set_shared_data",
                "proxy_get_current_time_nanoseconds",
                "proxy_record_metric",
            ] {
                let mut host = host(name, dialect, &config);
                host.fail(FailRule::on(call));
                let reloaded = host.reload(config.as_bytes());
                host.clear_failures();
                match (call, reloaded) {
                    ("proxy_get_buffer_bytes", Err(error)) if dialect == Dialect::Envoy => {
                        assert!(
                            error.to_string().contains("did not hand it over"),
                            "{error}"
                        );
                    }
                    ("proxy_get_buffer_bytes", Ok(())) if dialect == Dialect::Kong => {
                        assert_eq!(host.open_door(0), None);
                        let answer =
                            exchange(&mut host, (Some(Response::upstream(200)), End::Complete));
                        assert_eq!(answer, Some(503), "{name}");
                    }
                    ("proxy_get_buffer_bytes", Ok(())) => panic!("{name}: configured with nothing"),
                    (_, Ok(())) => {
                        let answer =
                            exchange(&mut host, (Some(Response::upstream(200)), End::Complete));
                        assert_eq!(answer, None, "{name} on {dialect:?} after {call} failed");
                    }
                    (_, Err(error)) => panic!("{name} on {dialect:?}: {call}: {error}"),
                }
            }
        }
    }
}
