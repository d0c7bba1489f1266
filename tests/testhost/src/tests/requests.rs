//! Local replies and properties through host calls.

use super::support::*;
use crate::{Dialect, End, Host, Outcome, Request, Response, ResponseOrigin};

#[test]
fn a_local_reply_passes_the_filters_own_response_callback_and_log() {
    let mut filter = Filter::new();
    let answer = filter.local_reply(401, "no", &[("www-authenticate", "Bearer")], -1) + PAUSE;
    let response = filter.log("response")
        + &filter.show_header(RESPONSE, "www-authenticate")
        + &filter.set_header("add", RESPONSE, "x-seen", "1");
    let log = filter.log("log");
    let filter = filter
        .on("proxy_on_request_headers", &answer)
        .on("proxy_on_response_headers", &response)
        .on("proxy_on_log", &log);
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        let mut exchange = get(&mut host);
        let Outcome::LocalReply {
            status,
            body,
            grpc_status,
            ..
        } = &exchange.outcome
        else {
            panic!("{:?}", exchange.outcome);
        };
        assert_eq!(
            (*status, body.as_slice(), *grpc_status),
            (401, b"no".as_slice(), None)
        );
        assert_eq!(
            exchange.outcome.local_header("www-authenticate"),
            Some(b"Bearer".as_slice())
        );
        assert_eq!(
            exchange.outcome.local_header("x-seen"),
            Some(b"1".as_slice())
        );
        assert_eq!(
            exchange.response.as_ref().map(|head| head.status),
            Some(401)
        );
        host.respond(&mut exchange, Response::upstream(200))
            .unwrap();
        let finished = host.finish(exchange, End::Complete).unwrap();
        assert_eq!(finished.outcome.local_status(), Some(401));
        assert_eq!(
            finished.calls.callback("proxy_on_response_headers"),
            1,
            "no second response"
        );
        assert_eq!(
            said(&host),
            ["00", "response", "Bearer", "00", "log"],
            "{dialect:?}"
        );
    }
}

#[test]
fn a_local_reply_counts_also_if_the_filter_says_continue() {
    let filter = on("proxy_on_request_headers", |f| {
        f.local_reply(403, "", &[], -1)
    });
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        assert_eq!(get(&mut host).outcome.local_status(), Some(403));
    }
}

#[test]
fn envoy_answers_a_grpc_client_in_its_own_terms() {
    let filter = on("proxy_on_request_headers", |f| {
        f.local_reply(429, "slow down", &[], 8)
    });
    let request = || Request::post("/a.B/C").header("content-type", "application/grpc");
    let envoy = filter
        .start(Dialect::Envoy)
        .request(0, request())
        .unwrap()
        .outcome;
    assert_eq!(envoy.local_status(), Some(200));
    assert_eq!(envoy.local_header("grpc-status"), Some(b"8".as_slice()));
    assert_eq!(
        envoy.local_header("grpc-message"),
        Some(b"slow down".as_slice())
    );
    assert!(matches!(
        envoy,
        Outcome::LocalReply {
            grpc_status: Some(8),
            ..
        }
    ));
    let kong = filter
        .start(Dialect::Kong)
        .request(0, request())
        .unwrap()
        .outcome;
    assert_eq!(
        (kong.local_status(), kong.local_header("grpc-status")),
        (Some(429), None)
    );
    assert!(matches!(
        kong,
        Outcome::LocalReply {
            grpc_status: None,
            ..
        }
    ));
}

#[test]
fn a_local_reply_to_a_response_traps_on_kong_and_replaces_it_on_envoy() {
    let filter = on("proxy_on_response_headers", |f| {
        f.local_reply(502, "", &[], -1)
    });
    let mut envoy = filter.start(Dialect::Envoy);
    let mut exchange = get(&mut envoy);
    envoy
        .respond(&mut exchange, Response::upstream(200))
        .unwrap();
    assert_eq!(
        exchange.response.as_ref().map(|head| head.status),
        Some(502)
    );
    assert_eq!(
        exchange.calls.callback("proxy_on_response_headers"),
        1,
        "it goes past the filter"
    );
    let mut kong = filter.start(Dialect::Kong);
    let mut exchange = get(&mut kong);
    let trap = kong
        .respond(&mut exchange, Response::upstream(200))
        .unwrap_err();
    assert!(trap.message.contains("response already sent"), "{trap}");
}

#[test]
fn a_second_local_reply_traps_on_kong() {
    let filter = on("proxy_on_request_headers", |f| {
        f.local_reply(401, "", &[], -1) + &f.local_reply(403, "", &[], -1)
    });
    let mut envoy = filter.start(Dialect::Envoy);
    assert_eq!(get(&mut envoy).outcome.local_status(), Some(401));
    assert!(
        filter
            .start(Dialect::Kong)
            .request(0, Request::get("/"))
            .is_err()
    );
}

#[test]
fn a_response_cannot_be_held_back_on_kong() {
    let filter = Filter::new().on("proxy_on_response_headers", PAUSE);
    let mut envoy = filter.start(Dialect::Envoy);
    let mut exchange = get(&mut envoy);
    envoy
        .respond(&mut exchange, Response::upstream(200))
        .unwrap();
    assert_eq!(exchange.response, None);
    let mut kong = filter.start(Dialect::Kong);
    let mut exchange = get(&mut kong);
    assert!(
        kong.respond(&mut exchange, Response::upstream(200))
            .is_err()
    );
}

#[test]
fn an_unknown_property_writes_an_error_line_on_kong_only() {
    let filter = on("proxy_on_request_headers", |f| {
        f.show_property("xds.route_name")
    });
    let mut envoy = filter.start(Dialect::Envoy);
    get(&mut envoy);
    assert_eq!(said(&envoy), ["route"]);
    let mut kong = filter.start(Dialect::Kong);
    get(&mut kong);
    assert_eq!(said(&kong), ["01"]);
    assert_eq!(noted(&kong), ["\"xds.route_name\" property not supported"]);
    let nonsense = on("proxy_on_request_headers", |f| f.show_property("no.such"));
    let mut envoy = nonsense.start(Dialect::Envoy);
    get(&mut envoy);
    assert_eq!((said(&envoy), noted(&envoy).len()), (vec!["01"], 0));
}

#[test]
fn a_property_in_a_root_context_crashes_a_kong_worker() {
    let filter = on("proxy_on_configure", |f| {
        f.show_property("plugin_root_id") + &f.show_property("source.address")
    });
    assert_eq!(said(&filter.start(Dialect::Envoy)), ["portcullis", "01"]);
    let refused = crate::Host::builder(Dialect::Kong)
        .build(&filter.build(), b"")
        .unwrap_err();
    assert!(refused.to_string().contains("worker crash"), "{refused}");
}

#[test]
fn responses_name_their_origin() {
    let origins = [
        (Response::upstream(200), ResponseOrigin::Upstream, 200),
        (
            Response::other_filter(403),
            ResponseOrigin::OtherFilter,
            403,
        ),
        (
            Response::connect_failure(),
            ResponseOrigin::ConnectFailure,
            503,
        ),
        (Response::timeout(), ResponseOrigin::Timeout, 504),
    ];
    for (response, origin, status) in origins {
        assert_eq!((response.origin, response.status), (origin, status));
    }
}

#[test]
fn executed_instructions_are_counted_where_the_module_is_metered() {
    let counting = on("proxy_on_request_headers", |_| {
        // A thousand times round.
        "(i32.store (i32.const 32) (i32.const 1000))
        (loop $again
          (i32.store (i32.const 32) (i32.sub (i32.load (i32.const 32)) (i32.const 1)))
          (br_if $again (i32.load (i32.const 32))))"
            .to_owned()
    });
    let executed = |module| {
        let mut host = Host::builder(Dialect::Envoy).build(&module, b"{}").unwrap();
        host.reset_calls();
        let exchange = get(&mut host);
        assert_eq!(exchange.calls, *host.calls());
        let executed = host.calls().instructions().get("proxy_on_request_headers");
        executed.copied()
    };
    assert_eq!(executed(counting.build()), None);
    let instructions = executed(counting.build_metered()).unwrap();
    assert!((8_000..13_000).contains(&instructions), "{instructions}");
}
