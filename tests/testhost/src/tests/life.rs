//! Which callbacks run, when, and in which order.

use super::support::*;
use crate::{Dialect, End, Host, Request, Response};

/// A filter whose callbacks from the request on log their names.
fn talkative() -> Filter {
    let mut filter = Filter::new();
    for callback in [
        "proxy_on_request_headers",
        "proxy_on_response_headers",
        "proxy_on_done",
        "proxy_on_log",
        "proxy_on_delete",
    ] {
        filter = filter.on_logs(callback);
    }
    filter
}

fn short(host: &Host) -> Vec<&str> {
    said(host)
        .into_iter()
        .map(|name| name.strip_prefix("proxy_on_").unwrap_or(name))
        .collect()
}

fn lived(dialect: Dialect, response: Option<Response>, end: End) -> Vec<String> {
    let mut host = talkative().start(dialect);
    let mut exchange = get(&mut host);
    if let Some(response) = response {
        host.respond(&mut exchange, response).unwrap();
    }
    host.finish(exchange, end).unwrap();
    assert_eq!(host.open_streams(0), 0);
    short(&host).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_whole_exchange_ends_in_the_gateways_own_order() {
    let response = || Some(Response::upstream(200));
    let envoy = [
        "request_headers",
        "response_headers",
        "log",
        "done",
        "delete",
    ];
    assert_eq!(lived(Dialect::Envoy, response(), End::Complete), envoy);
    let kong = [
        "request_headers",
        "response_headers",
        "done",
        "log",
        "delete",
    ];
    assert_eq!(lived(Dialect::Kong, response(), End::Complete), kong);
}

#[test]
fn connect_failure_and_timeout_are_responses_on_envoy_and_silence_on_kong() {
    for response in [Response::connect_failure(), Response::timeout()] {
        let envoy = lived(Dialect::Envoy, Some(response.clone()), End::Complete);
        assert_eq!(
            envoy,
            [
                "request_headers",
                "response_headers",
                "log",
                "done",
                "delete"
            ]
        );
        let kong = lived(Dialect::Kong, Some(response), End::Complete);
        assert_eq!(kong, ["request_headers", "delete"]);
    }
}

#[test]
fn a_client_that_goes_is_logged_without_a_response() {
    assert_eq!(
        lived(Dialect::Envoy, None, End::ClientGone),
        ["request_headers", "log", "done", "delete"]
    );
    assert_eq!(
        lived(Dialect::Kong, None, End::ClientGone),
        ["request_headers", "done", "log", "delete"]
    );
}

#[test]
fn an_upstream_that_breaks_off_before_it_answers_is_a_connect_failure() {
    let envoy = [
        "request_headers",
        "response_headers",
        "log",
        "done",
        "delete",
    ];
    assert_eq!(lived(Dialect::Envoy, None, End::UpstreamReset), envoy);
    assert_eq!(
        lived(Dialect::Kong, None, End::UpstreamReset),
        ["request_headers", "delete"]
    );
}

#[test]
fn a_dropped_stream_is_only_deleted_on_kong() {
    assert_eq!(
        lived(Dialect::Kong, None, End::Dropped),
        ["request_headers", "delete"]
    );
    assert_eq!(
        lived(Dialect::Envoy, None, End::Dropped),
        ["request_headers", "done", "delete"]
    );
}

#[test]
fn a_neighbours_rejection_reaches_a_later_filter_on_kong() {
    let rejected = |dialect| {
        let mut host = talkative().start(dialect);
        let finished = host
            .response_without_request(0, Response::other_filter(401))
            .unwrap();
        assert_eq!(finished.response.map(|head| head.status), Some(401));
        short(&host)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        rejected(Dialect::Kong),
        ["response_headers", "done", "log", "delete"]
    );
    assert_eq!(rejected(Dialect::Envoy), ["log", "done", "delete"]);
}

#[test]
fn a_callback_that_is_not_exported_does_not_run_on_envoy_and_takes_kong_down() {
    let filter = || {
        Filter::new()
            .without("proxy_on_log")
            .without("proxy_on_response_headers")
    };
    let mut host = filter().start(Dialect::Envoy);
    let mut exchange = get(&mut host);
    host.respond(&mut exchange, Response::upstream(200))
        .unwrap();
    let finished = host.finish(exchange, End::Complete).unwrap();
    assert_eq!(finished.calls.callback("proxy_on_log"), 0);
    assert_eq!(finished.calls.callback("proxy_on_done"), 1);

    let mut host = filter().start(Dialect::Kong);
    let mut exchange = get(&mut host);
    let crash = host
        .respond(&mut exchange, Response::upstream(200))
        .unwrap_err();
    assert!(crash.worker_crash, "{crash}");
}

#[test]
fn exchanges_interleave() {
    let mut host = talkative().start(Dialect::Kong);
    let mut one = get(&mut host);
    let mut two = get(&mut host);
    assert_ne!(one.context, two.context);
    assert_eq!(host.open_streams(0), 2);
    host.respond(&mut two, Response::upstream(200)).unwrap();
    host.respond(&mut one, Response::upstream(404)).unwrap();
    assert_eq!(one.response.as_ref().unwrap().status, 404);
    host.finish(one, End::Complete).unwrap();
    host.finish(two, End::ClientGone).unwrap();
    assert_eq!(host.open_streams(0), 0);
}

#[test]
fn calls_are_counted_per_exchange_and_for_the_host() {
    let mut filter = Filter::new();
    let body = filter.show_header(REQUEST, ":path") + &filter.show_header(REQUEST, "absent");
    let filter = filter.on("proxy_on_request_headers", &body);
    let mut host = filter.start(Dialect::Envoy);
    host.reset_calls();
    let one = host.request(0, Request::get("/path")).unwrap();
    let two = host.request(0, Request::get("/")).unwrap();
    assert_eq!(
        (one.calls.value_calls(), one.calls.other_calls()),
        (1, 3),
        "a header, and two lines and an absent one"
    );
    let asked = one.calls.hostcall("proxy_get_header_map_value");
    assert_eq!((asked.count, asked.bytes_in, asked.bytes_out), (2, 11, 5));
    assert_eq!(one.calls.callback("proxy_on_request_headers"), 1);
    assert_eq!(
        host.calls().total_calls(),
        one.calls.total_calls() + two.calls.total_calls()
    );
    assert_eq!(host.calls().callback("proxy_on_request_headers"), 2);
    assert_eq!(host.calls().bytes_out(), 6);
}

#[test]
fn after_a_reload_old_requests_end_in_the_old_instance() {
    let mut filter = talkative();
    let log = filter.log("configure");
    let filter = filter.on("proxy_on_configure", &log);
    let mut host = filter.start(Dialect::Envoy);
    let mut old = get(&mut host);
    host.reload(b"{\"new\":true}").unwrap();
    host.clear_logs();
    host.respond(&mut old, Response::upstream(200)).unwrap();
    host.finish(old, End::Complete).unwrap();
    let root = ["done", "delete"];
    assert_eq!(
        short(&host),
        [
            ["response_headers", "log", "done", "delete"].as_slice(),
            &root
        ]
        .concat()
    );
    let new = get(&mut host);
    assert_eq!(new.context, 2, "the first context beside the root");
}

#[test]
fn a_reload_that_is_refused_leaves_everything_running() {
    // Refuses a configuration of three bytes.
    let body = "(if (i32.eq (local.get 1) (i32.const 3)) (then (return (i32.const 0))))";
    let mut host = Filter::new()
        .on("proxy_on_configure", body)
        .start(Dialect::Envoy);
    assert!(matches!(
        host.reload(b"bad"),
        Err(crate::StartError::Rejected { .. })
    ));
    assert!(get(&mut host).outcome.is_continue());
}
