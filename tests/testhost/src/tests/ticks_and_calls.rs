//! Timers, and HTTP calls that filters make.

use std::time::Duration;

use super::support::*;
use crate::{CallFailure, CallReply, Dialect, End, Host, Outcome, Request};

const HEADERS: [(&str, &str); 3] = [
    (":method", "GET"),
    (":path", "/keys"),
    (":authority", "idp"),
];

fn period(millis: u32) -> String {
    status(&format!(
        "(call $proxy_set_tick_period_milliseconds (i32.const {millis}))"
    ))
}

#[test]
fn a_second_tick_period_traps_on_kong() {
    let filter = Filter::new().on("proxy_on_configure", &(period(100) + &period(200)));
    let envoy = filter.start(Dialect::Envoy);
    assert_eq!(envoy.tick_period(0), Duration::from_millis(200));
    let kong = Host::builder(Dialect::Kong)
        .build(&filter.build(), b"")
        .unwrap();
    let refused = kong.open_door(0).unwrap().to_string();
    assert!(refused.contains("tick_period already set"), "{refused}");
    let zero_first = Filter::new().on("proxy_on_configure", &(period(0) + &period(200)));
    assert_eq!(
        zero_first.start(Dialect::Kong).tick_period(0),
        Duration::from_millis(200)
    );
}

#[test]
fn a_timer_fires_only_if_a_period_is_set() {
    let mut filter = Filter::new();
    let (tick, set) = (filter.log("tick"), period(100));
    let silent = filter.on("proxy_on_tick", &tick);
    let mut host = silent.start(Dialect::Envoy);
    host.tick(0).unwrap();
    assert!(said(&host).is_empty());
    let mut host = silent.on("proxy_on_configure", &set).start(Dialect::Envoy);
    host.tick(0).unwrap();
    assert_eq!(said(&host), ["00", "tick"]);
}

#[test]
fn kong_dispatches_from_neither_configure_nor_response() {
    for (callback, kong_dispatches) in [
        ("proxy_on_configure", false),
        ("proxy_on_request_headers", true),
        ("proxy_on_response_headers", false),
    ] {
        let mut filter = Filter::new();
        let call = filter.http_call("idp", &HEADERS);
        let module = filter.on(callback, &call).build();
        for dialect in Dialect::BOTH {
            let run = || {
                let mut host = Host::builder(dialect).build(&module, b"").ok()?;
                if host.open_door(0).is_some() {
                    return None;
                }
                let mut exchange = host.request(0, Request::get("/")).ok()?;
                host.respond(&mut exchange, crate::Response::upstream(200))
                    .ok()?;
                Some(host.pending_calls().len())
            };
            let expected = (dialect == Dialect::Envoy || kong_dispatches).then_some(1);
            assert_eq!(run(), expected, "{callback} {dialect:?}");
        }
    }
}

/// Calls from the request and waits; the answer resumes it or, if it has no good status, refuses it.
fn waits() -> Filter {
    let mut filter = Filter::new();
    let call = filter.http_call("idp", &HEADERS) + PAUSE;
    let parts = [
        "(drop (call $proxy_set_effective_context (local.get 0)))".to_owned(),
        filter.show_header(CALL_RESPONSE, ":status"),
        filter.show_header(CALL_RESPONSE, ":dispatch_status"),
        show(&format!(
            "(call $proxy_get_buffer_bytes (i32.const 4) (i32.const 0) (i32.const 99) (i32.const {VALUE_AT}) (i32.const {LENGTH_AT}))"
        )),
    ];
    let resume = "(drop (call $proxy_continue_stream (i32.const 0)))";
    let refuse = filter.local_reply(503, "", &[], -1);
    // Resumes on a body, refuses otherwise.
    let body = format!(
        "{} (if (local.get 3) (then {resume}) (else {refuse}))",
        parts.concat()
    );
    filter
        .on("proxy_on_request_headers", &call)
        .on("proxy_on_http_call_response", &body)
}

#[test]
fn a_request_waits_for_its_call_and_goes_on() {
    for dialect in Dialect::BOTH {
        let mut host = waits().start(dialect);
        let mut exchange = get(&mut host);
        assert_eq!(exchange.outcome, Outcome::Paused);
        let call = host.pending_calls()[0].clone();
        assert_eq!(
            (call.upstream.as_str(), call.timeout_ms, call.context),
            ("idp", 500, exchange.context)
        );
        assert_eq!(call.header(":path"), Some(b"/keys".as_slice()));
        host.clear_logs();
        host.reply_to_call(call.token, CallReply::status(200).body("{}"))
            .unwrap();
        host.resume(&mut exchange).unwrap();
        assert!(exchange.outcome.is_continue());
        assert_eq!(said(&host), ["200", "01", "{}"]);
        assert_eq!(exchange.calls.callback("proxy_on_http_call_response"), 1);
        assert!(host.pending_calls().is_empty());
        host.finish(exchange, End::Complete).unwrap();
    }
}

#[test]
fn a_call_without_an_answer_looks_different_on_each_host() {
    for (dialect, failure, expected) in [
        (
            Dialect::Envoy,
            CallFailure::Timeout,
            ["504", "01", "upstream request timeout"],
        ),
        (Dialect::Envoy, CallFailure::Reset, ["01", "01", ""]),
        (Dialect::Kong, CallFailure::Timeout, ["01", "timeout", ""]),
        (
            Dialect::Kong,
            CallFailure::BrokenConnection,
            ["01", "broken connection", ""],
        ),
        (
            Dialect::Kong,
            CallFailure::Resolver,
            ["01", "resolver failure", ""],
        ),
        (
            Dialect::Kong,
            CallFailure::TlsHandshake,
            ["01", "tls handshake failure", ""],
        ),
    ] {
        let mut host = waits().start(dialect);
        let mut exchange = get(&mut host);
        let token = host.pending_calls()[0].token;
        host.clear_logs();
        host.reply_to_call(token, CallReply::failure(failure))
            .unwrap();
        assert_eq!(
            said(&host).get(..3),
            Some(expected.as_slice()),
            "{dialect:?} {failure:?}"
        );
        host.resume(&mut exchange).unwrap();
        let refused = exchange.outcome.local_status() == Some(503);
        assert_eq!(refused, said(&host).len() == 4, "{failure:?}");
    }
}

#[test]
fn an_answer_may_lead_to_another_call_of_which_kongs_worker_dies() {
    let mut filter = Filter::new();
    let (first, second) = (
        filter.http_call("idp", &HEADERS),
        filter.http_call("next", &HEADERS),
    );
    let filter = filter
        .on("proxy_on_request_headers", &(first + PAUSE))
        .on("proxy_on_http_call_response", &second);
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        get(&mut host);
        let token = host.pending_calls()[0].token;
        let answered = host.reply_to_call(token, CallReply::status(200));
        match dialect {
            Dialect::Envoy => {
                answered.unwrap();
                assert_eq!(host.pending_calls()[0].upstream, "next");
                assert_ne!(host.pending_calls()[0].token, token);
            }
            Dialect::Kong => assert!(answered.unwrap_err().worker_crash),
        }
    }
}

#[test]
fn a_call_is_cancelled_with_its_request() {
    let mut host = waits().start(Dialect::Envoy);
    let exchange = get(&mut host);
    let token = host.pending_calls()[0].token;
    host.finish(exchange, End::ClientGone).unwrap();
    assert!(host.pending_calls().is_empty());
    host.clear_logs();
    host.reply_to_call(token, CallReply::status(200)).unwrap();
    assert!(said(&host).is_empty());
}

#[test]
fn a_call_from_a_tick_belongs_to_the_root() {
    let mut filter = Filter::new();
    let (set, call) = (period(100), filter.http_call("idp", &HEADERS));
    let answer = filter.show_header(CALL_RESPONSE, ":status");
    let filter = filter
        .on("proxy_on_configure", &set)
        .on("proxy_on_tick", &call)
        .on("proxy_on_http_call_response", &answer);
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        host.tick(0).unwrap();
        let token = host.pending_calls()[0].token;
        host.reply_to_call(token, CallReply::status(200)).unwrap();
        assert_eq!(said(&host), ["00", "00", "200"]);
    }
}

#[test]
fn envoy_calls_only_clusters_it_knows_and_both_want_a_whole_request() {
    let mut filter = Filter::new();
    let known = filter.http_call("idp", &HEADERS);
    let unknown = filter.http_call("other", &HEADERS);
    let partial = filter.http_call("idp", &HEADERS[..2]);
    let filter = filter.on("proxy_on_request_headers", &(known + &unknown + &partial));
    let mut envoy = filter.start_with(Host::builder(Dialect::Envoy).clusters(&["idp"]));
    get(&mut envoy);
    assert_eq!(said(&envoy), ["00", "02", "02"]);
    let mut kong = filter.start(Dialect::Kong);
    get(&mut kong);
    assert_eq!(said(&kong), ["00", "00", "10"]);
}

#[test]
fn the_effective_context_stays_as_it_is_on_kong() {
    let mut filter = Filter::new();
    // The context of the first request is 2 on Envoy and 1 on Kong.
    let switch = |id| format!("(drop (call $proxy_set_effective_context (i32.const {id})))");
    let show = filter.show_header(REQUEST, ":path");
    let (set, pause) = (period(100), PAUSE);
    let filter = filter
        .on("proxy_on_configure", &set)
        .on("proxy_on_request_headers", pause)
        .on(
            "proxy_on_tick",
            &(switch(2) + &switch(1) + &switch(2) + &show),
        );
    let mut envoy = filter.start(Dialect::Envoy);
    get(&mut envoy);
    envoy.clear_logs();
    envoy.tick(0).unwrap();
    assert_eq!(said(&envoy), ["/"]);
    let mut kong = filter.start(Dialect::Kong);
    get(&mut kong);
    assert!(kong.tick(0).unwrap_err().worker_crash);
}
