//! How a stream went, as its log callback is told by properties.

use super::support::*;
use crate::{Dialect, End, Response};

/// What the log callback is shown of these properties.
fn settled(dialect: Dialect, paths: &[&str], response: Option<Response>, end: End) -> Vec<String> {
    let filter = on("proxy_on_log", |f| {
        paths.iter().map(|path| f.show_property(path)).collect()
    });
    let mut host = filter.start(dialect);
    let mut exchange = get(&mut host);
    if let Some(response) = response {
        host.respond(&mut exchange, response).unwrap();
    }
    host.finish(exchange, end).unwrap();
    said(&host).into_iter().map(str::to_owned).collect()
}

fn flags(flags: u8, more: u8) -> String {
    String::from_utf8(vec![flags, more, 0, 0, 0, 0, 0, 0]).unwrap()
}

#[test]
fn envoys_log_says_how_the_stream_went() {
    let paths = [
        "response.code_details",
        "response.flags",
        "upstream.address",
    ];
    let here = "10.9.0.1:8080";
    for (response, end, details, flags, upstream) in [
        (
            Some(Response::upstream(200)),
            End::Complete,
            "via_upstream",
            flags(0, 0),
            here,
        ),
        (
            Some(Response::connect_failure()),
            End::Complete,
            "upstream_reset_before_response_started{connection_failure}",
            flags(0x20, 0),
            here,
        ),
        (
            Some(Response::timeout()),
            End::Complete,
            "response_timeout",
            flags(0x4, 0),
            here,
        ),
        (
            Some(Response::other_filter(403)),
            End::Complete,
            "",
            flags(0, 0),
            "01",
        ),
        (
            None,
            End::ClientGone,
            "downstream_remote_disconnect",
            flags(0, 0x40),
            "01",
        ),
        (
            Some(Response::upstream(200)),
            End::UpstreamReset,
            "upstream_reset_after_response_started{connection_termination}",
            flags(0x40, 0),
            here,
        ),
        (
            None,
            End::UpstreamReset,
            "upstream_reset_before_response_started{connection_termination}",
            flags(0x40, 0),
            here,
        ),
    ] {
        assert_eq!(
            settled(Dialect::Envoy, &paths, response, end),
            [details, &flags, upstream],
            "{end:?}"
        );
    }
}

#[test]
fn a_client_that_goes_leaves_no_status_on_envoy_and_499_on_kong() {
    let code = ["response.code"];
    assert_eq!(
        settled(Dialect::Envoy, &code, None, End::ClientGone),
        ["01"]
    );
    assert_eq!(
        settled(Dialect::Kong, &code, None, End::ClientGone),
        ["499"]
    );
}

#[test]
fn kongs_log_says_by_nginxs_variables_who_answered() {
    let paths = ["ngx.upstream_status", "response.code"];
    let log = |response, end| settled(Dialect::Kong, &paths, response, end);
    let upstream = |status| Some(Response::upstream(status));
    assert_eq!(log(upstream(503), End::Complete), ["503", "503"]);
    assert_eq!(
        log(Some(Response::other_filter(403)), End::Complete),
        ["01", "403"]
    );
    assert_eq!(log(upstream(200), End::UpstreamReset), ["200", "200"]);
    assert_eq!(log(None, End::ClientGone), ["-", "499"]);
}

#[test]
fn a_filters_own_answer_has_its_own_details() {
    let mut filter = Filter::new();
    let (details, body) = (filter.text("too many"), filter.text(""));
    let answer = format!(
        "(drop (call $proxy_send_local_response (i32.const 429) {details} {body} (i32.const 0) (i32.const 0) (i32.const -1)))"
    );
    let log =
        filter.show_property("response.code_details") + &filter.show_property("upstream.address");
    let filter = filter
        .on("proxy_on_request_headers", &answer)
        .on("proxy_on_log", &log);
    let mut host = filter.start(Dialect::Envoy);
    let exchange = get(&mut host);
    host.finish(exchange, End::Complete).unwrap();
    assert_eq!(said(&host), ["too_many", "01"]);
}
