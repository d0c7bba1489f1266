//! Header maps through host calls.

use super::support::*;
use crate::{Dialect, End, Outcome, Request, Response};

#[test]
fn replacing_a_duplicate_leaves_the_second_value_on_kong() {
    let filter = on("proxy_on_request_headers", |f| {
        f.set_header("replace", REQUEST, "x-user", "new")
    });
    for (dialect, expected) in [
        (Dialect::Envoy, vec![b"new".as_slice()]),
        (Dialect::Kong, vec![b"new".as_slice(), b"b"]),
    ] {
        let mut host = filter.start(dialect);
        let request = Request::get("/")
            .header("x-user", "a")
            .header("x-user", "b");
        let exchange = host.request(0, request).unwrap();
        assert_eq!(
            exchange.outcome.upstream_headers("x-user"),
            expected,
            "{dialect:?}"
        );
    }
}

#[test]
fn a_removed_header_still_reaches_the_upstream_on_kong() {
    let filter = on("proxy_on_request_headers", |f| {
        f.remove_header(REQUEST, "x-user") + &f.show_header(REQUEST, "x-user")
    });
    for (dialect, expected) in [
        (Dialect::Envoy, None),
        (Dialect::Kong, Some(b"a".as_slice())),
    ] {
        let mut host = filter.start(dialect);
        let exchange = host
            .request(0, Request::get("/").header("x-user", "a"))
            .unwrap();
        assert_eq!(
            said(&host),
            ["00", "01"],
            "the call succeeds and the filter sees it gone"
        );
        assert_eq!(exchange.upstream_header("x-user"), expected, "{dialect:?}");
    }
}

#[test]
fn removing_an_absent_cookie_takes_a_kong_worker_down() {
    for name in ["cookie", "X-Forwarded-For"] {
        let filter = on("proxy_on_request_headers", |f| {
            f.remove_header(REQUEST, name)
        });
        assert!(
            filter
                .start(Dialect::Envoy)
                .request(0, Request::get("/"))
                .is_ok()
        );
        let mut kong = filter.start(Dialect::Kong);
        assert!(kong.request(0, Request::get("/").header(name, "a")).is_ok());
        let trap = kong.request(0, Request::get("/")).unwrap_err();
        assert!(trap.worker_crash, "{trap}");
    }
    let harmless = on("proxy_on_request_headers", |f| {
        f.remove_header(REQUEST, "x-user")
    });
    assert!(
        harmless
            .start(Dialect::Kong)
            .request(0, Request::get("/"))
            .is_ok()
    );
}

#[test]
fn authority_on_kong_is_the_servers_own_and_read_only() {
    let filter = on("proxy_on_request_headers", |f| {
        let set = f.set_header("replace", REQUEST, ":authority", "other");
        set + &f.show_header(REQUEST, ":authority") + &f.show_header(REQUEST, "host")
    });
    let request = || Request::get("/").authority("client.example");
    let mut envoy = filter.start(Dialect::Envoy);
    envoy.request(0, request()).unwrap();
    assert_eq!(said(&envoy), ["00", "other", "other"]);
    let mut kong = filter.start(Dialect::Kong);
    kong.request(0, request()).unwrap();
    assert_eq!(said(&kong), ["00", "kong:8000", "client.example"]);
    assert_eq!(noted(&kong), ["cannot set read-only \":authority\" header"]);
}

#[test]
fn envoy_shows_request_headers_to_the_request_callback_and_to_the_log_only() {
    let mut filter = Filter::new();
    let show = filter.show_header(REQUEST, ":path");
    for callback in ["proxy_on_response_headers", "proxy_on_log", "proxy_on_done"] {
        filter = filter.on(callback, &show);
    }
    for (dialect, expected) in [
        (Dialect::Envoy, ["02", "/", "02"]),
        (Dialect::Kong, ["/", "/", "/"]),
    ] {
        let mut host = filter.start(dialect);
        let mut exchange = get(&mut host);
        host.respond(&mut exchange, Response::upstream(200))
            .unwrap();
        host.finish(exchange, End::Complete).unwrap();
        assert_eq!(said(&host), expected, "{dialect:?}");
    }
}

#[test]
fn response_headers_are_changed_in_the_response_callback() {
    let mut filter = Filter::new();
    let body = filter.remove_header(RESPONSE, "server")
        + &filter.set_header("add", RESPONSE, "x-a", "1")
        + &filter.show_header(RESPONSE, ":status");
    let log = filter.set_header("add", RESPONSE, "x-late", "1");
    let filter = filter
        .on("proxy_on_response_headers", &body)
        .on("proxy_on_log", &log);
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        let mut exchange = get(&mut host);
        host.respond(&mut exchange, Response::upstream(204).header("server", "x"))
            .unwrap();
        let response = exchange.response.clone().unwrap();
        assert_eq!(response.status, 204);
        // Envoy's router says how long the upstream took.
        let names: Vec<_> = response.headers.iter().map(|(name, _)| &**name).collect();
        let expected: &[&str] = match dialect {
            Dialect::Envoy => &["x-envoy-upstream-service-time", "x-a"],
            Dialect::Kong => &["x-a"],
        };
        assert_eq!(names, expected, "{dialect:?}");
        let finished = host.finish(exchange, End::Complete).unwrap();
        assert_eq!(
            finished.response.unwrap().headers.len(),
            expected.len(),
            "the log callback is too late"
        );
        let late = if dialect == Dialect::Envoy {
            "02"
        } else {
            "00"
        };
        assert_eq!(said(&host), ["00", "00", "204", late], "{dialect:?}");
    }
}

#[test]
fn request_headers_change_no_more_once_there_is_a_response() {
    let mut filter = Filter::new();
    let body = filter.set_header("replace", REQUEST, "x-a", "1");
    let filter = filter.on("proxy_on_response_headers", &body);
    for (dialect, status) in [(Dialect::Envoy, "02"), (Dialect::Kong, "00")] {
        let mut host = filter.start(dialect);
        let mut exchange = get(&mut host);
        host.respond(&mut exchange, Response::upstream(200))
            .unwrap();
        assert_eq!(said(&host), [status]);
        let notes = if dialect == Dialect::Kong { 1 } else { 0 };
        assert_eq!(noted(&host).len(), notes);
    }
}

#[test]
fn trailers_trap_on_kong() {
    let filter = on("proxy_on_request_headers", |f| f.show_header(1, "x"));
    let mut envoy = filter.start(Dialect::Envoy);
    get(&mut envoy);
    assert_eq!(said(&envoy), ["02"]);
    assert!(
        filter
            .start(Dialect::Kong)
            .request(0, Request::get("/"))
            .is_err()
    );
}

#[test]
fn the_root_context_has_no_headers_and_kong_crashes_over_it() {
    let mut filter = Filter::new();
    let show = filter.show_header(REQUEST, ":path");
    let filter = filter.on("proxy_on_configure", &show);
    assert_eq!(said(&filter.start(Dialect::Envoy)), ["02"]);
    let refused = crate::Host::builder(Dialect::Kong)
        .build(&filter.build(), b"{}")
        .unwrap_err();
    assert!(refused.to_string().contains("worker crash"), "{refused}");
}

#[test]
fn end_of_stream_is_never_set_on_kong() {
    let mut filter = Filter::new();
    let (ends, open) = (filter.log("ends"), filter.log("open"));
    let body = format!("(if (local.get 2) (then {ends}) (else {open}))");
    let filter = filter.on("proxy_on_request_headers", &body);
    for (dialect, request, expected) in [
        (Dialect::Envoy, Request::get("/"), "ends"),
        (Dialect::Envoy, Request::post("/"), "open"),
        (Dialect::Kong, Request::get("/"), "open"),
    ] {
        let mut host = filter.start(dialect);
        host.request(0, request).unwrap();
        assert_eq!(said(&host), [expected]);
    }
}

#[test]
fn the_callback_is_told_of_more_headers_than_kong_hands_out() {
    let filter = Filter::new();
    let shown = show(&format!(
        "(call $proxy_get_header_map_pairs (i32.const 0) (i32.const {VALUE_AT}) (i32.const {LENGTH_AT}))"
    ));
    let count = "(call $status (i32.sub (local.get 1) (i32.const 100)))";
    let filter = filter.on("proxy_on_request_headers", &format!("{shown}{count}"));
    let many = (0..105).fold(Request::get("/"), |request, i| {
        request.header(&format!("x-{i}"), "")
    });
    let mut kong = filter.start(Dialect::Kong);
    kong.request(0, many.clone()).unwrap();
    assert_eq!(said(&kong).last(), Some(&"06"), "105 and the host");
    assert_eq!(noted(&kong), ["marshalled map truncated to 100 elements"]);
    let mut envoy = filter.start(Dialect::Envoy);
    envoy.request(0, many).unwrap();
    assert_eq!(
        said(&envoy).last(),
        Some(&"09"),
        "105 and four pseudo-headers"
    );
    assert!(noted(&envoy).is_empty());
}

#[test]
fn all_headers_can_be_set_at_once() {
    let filter = on("proxy_on_request_headers", |f| {
        let pairs = f.pairs(&[(":path", "/new"), ("x-a", "1")]);
        status(&format!(
            "(call $proxy_set_header_map_pairs (i32.const {REQUEST}) {pairs})"
        ))
    });
    for (dialect, old) in [
        (Dialect::Envoy, None),
        (Dialect::Kong, Some(b"old".as_slice())),
    ] {
        let mut host = filter.start(dialect);
        let exchange = host
            .request(0, Request::get("/").header("x-old", "old"))
            .unwrap();
        assert!(matches!(exchange.outcome, Outcome::Continue { .. }));
        assert_eq!(exchange.upstream_header(":path"), Some(b"/new".as_slice()));
        assert_eq!(exchange.upstream_header("x-a"), Some(b"1".as_slice()));
        assert_eq!(exchange.upstream_header("x-old"), old, "{dialect:?}");
    }
}

#[test]
fn kong_writes_a_list_of_98_headers_past_the_memory_that_it_asked_for() {
    // The byte behind the list, as far as it was asked for, is marked first.
    let list = format!(
        "(drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 16) (i32.const 20)))"
    );
    let behind = "(i32.add (i32.load (i32.const 16)) (i32.load (i32.const 20)))";
    let body = format!("{list} (call $status (i64.ne (i64.load {behind}) (i64.const 0)))");
    let filter = Filter::new().on("proxy_on_request_headers", &body);
    let overruns = |dialect, headers: usize| {
        let mut host = filter.start(dialect);
        let request = (0..headers).fold(Request::get("/"), |r, n| r.header(&format!("x-{n}"), "v"));
        host.request(0, request).unwrap();
        said(&host) == ["01"]
    };
    // On Kong the host's name is a header, too.
    assert!(!overruns(Dialect::Kong, 96) && overruns(Dialect::Kong, 97));
    assert!(!overruns(Dialect::Envoy, 97));
}

#[test]
fn of_request_headers_that_are_set_together_kong_takes_those_before_the_scheme_and_keeps_the_old_ones()
 {
    let mut filter = Filter::new();
    let pairs = filter.pairs(&[("x-a", "new"), (":scheme", "http"), ("x-b", "new")]);
    let set = status(&format!(
        "(call $proxy_set_header_map_pairs (i32.const 0) {pairs})"
    ));
    let mut host = filter
        .on("proxy_on_request_headers", &set)
        .start(Dialect::Kong);
    let request = Request::get("/").header("x-a", "old").header("x-c", "old");
    let exchange = host.request(0, request).unwrap();
    let upstream = |name| exchange.upstream_header(name);
    assert_eq!(upstream("x-a"), Some(&b"new"[..]));
    assert_eq!(upstream("x-b"), None);
    assert_eq!(upstream("x-c"), Some(&b"old"[..]));
}
