//! Host calls that fail, calls that a gateway does not have, and traps.

use super::support::*;
use crate::{Dialect, End, FailRule, Host, Request, Response};

#[test]
fn a_host_call_fails_on_demand() {
    let mut filter = Filter::new();
    let body = filter.set_shared("k", "v", 0) + &filter.show_shared("k");
    let filter = filter.on("proxy_on_request_headers", &body);
    let mut host = filter.start(Dialect::Envoy);
    host.fail(FailRule::on("proxy_get_shared_data").nth(2));
    host.fail(FailRule::on("proxy_set_shared_data").nth(2).status(8));
    for expected in [["00", "v"], ["08", "10"], ["00", "v"]] {
        host.clear_logs();
        get(&mut host);
        assert_eq!(said(&host), expected);
    }
    host.fail(FailRule::on("proxy_get_shared_data"));
    host.clear_failures();
    host.clear_logs();
    get(&mut host);
    assert_eq!(said(&host), ["00", "v"]);
}

#[test]
fn a_host_call_that_fails_does_nothing_and_is_counted() {
    let mut filter = Filter::new();
    let body = filter.set_shared("k", "v", 0);
    let filter = filter.on("proxy_on_request_headers", &body);
    let mut host = filter.start(Dialect::Kong);
    host.fail(FailRule::on("proxy_set_shared_data"));
    let exchange = get(&mut host);
    assert!(host.zone().is_empty());
    assert_eq!(exchange.calls.hostcall("proxy_set_shared_data").count, 1);
    assert_eq!(exchange.calls.hostcall("proxy_set_shared_data").bytes_in, 0);
}

#[test]
fn a_host_call_may_be_made_to_trap() {
    let mut filter = Filter::new();
    let body = filter.show_shared("k");
    let mut host = filter
        .on("proxy_on_request_headers", &body)
        .start(Dialect::Envoy);
    host.fail(FailRule::any().trap());
    assert!(host.request(0, Request::get("/")).is_err());
}

#[test]
fn kong_traps_where_envoy_says_unimplemented() {
    let zeros = |n: usize| "(i32.const 0)".repeat(n);
    for (name, parameters) in [
        ("proxy_grpc_cancel", 1),
        ("proxy_call_foreign_function", 6),
        ("proxy_resolve_shared_queue", 5),
        ("proxy_done", 0),
    ] {
        let call = status(&format!("(call ${name} {})", zeros(parameters)));
        let filter = Filter::new().on("proxy_on_request_headers", &call);
        let mut envoy = filter.start(Dialect::Envoy);
        get(&mut envoy);
        assert_eq!(said(&envoy), ["12"], "{name}");
        let trap = filter
            .start(Dialect::Kong)
            .request(0, Request::get("/"))
            .unwrap_err();
        assert!(trap.message.contains(name) && !trap.worker_crash, "{trap}");
    }
}

#[test]
fn memory_out_of_bounds_is_a_status_on_envoy_and_a_trap_on_kong() {
    let call = status("(call $proxy_log (i32.const 2) (i32.const -1) (i32.const 5))");
    let filter = Filter::new().on("proxy_on_request_headers", &call);
    let mut envoy = filter.start(Dialect::Envoy);
    get(&mut envoy);
    assert_eq!(said(&envoy), ["06"]);
    assert!(
        filter
            .start(Dialect::Kong)
            .request(0, Request::get("/"))
            .is_err()
    );
}

/// Traps on requests with the header `x-trap`.
fn fragile() -> Filter {
    let mut filter = Filter::new()
        .on_logs("proxy_on_vm_start")
        .on_logs("proxy_on_configure");
    let ask = filter.text("x-trap");
    let found = format!(
        "(call $proxy_get_header_map_value (i32.const 0) {ask} (i32.const {VALUE_AT}) (i32.const {LENGTH_AT}))"
    );
    let body = format!("(if (i32.eqz {found}) (then unreachable))");
    filter
        .on("proxy_on_request_headers", &body)
        .on_logs("proxy_on_log")
}

fn trapping() -> Request {
    Request::get("/").header("x-trap", "1")
}

#[test]
fn after_a_trap_the_next_request_finds_a_new_instance() {
    for (dialect, restarted) in [
        (
            Dialect::Envoy,
            vec!["proxy_on_vm_start", "proxy_on_configure"],
        ),
        (Dialect::Kong, vec!["proxy_on_configure"]),
    ] {
        let mut host = fragile().start(dialect);
        let trap = host.request(0, trapping()).unwrap_err();
        assert_eq!(trap.callback, "proxy_on_request_headers");
        assert!(trap.message.contains("unreachable"), "{trap}");
        assert!(noted(&host).iter().any(|line| line.contains("unreachable")));
        assert!(host.is_dead(0));
        host.tick(0).unwrap();
        host.clear_logs();
        assert!(get(&mut host).outcome.is_continue());
        assert!(!host.is_dead(0));
        assert_eq!(said(&host), restarted, "{dialect:?}");
    }
}

#[test]
fn after_a_crash_kong_starts_the_worker_from_the_beginning() {
    let mut filter = Filter::new().on_logs("proxy_on_vm_start");
    let body = filter.remove_header(REQUEST, "cookie");
    let mut host = filter
        .on("proxy_on_request_headers", &body)
        .start(Dialect::Kong);
    assert!(host.request(0, Request::get("/")).unwrap_err().worker_crash);
    host.clear_logs();
    host.request(0, Request::get("/").header("cookie", "a=b"))
        .unwrap();
    assert_eq!(said(&host), ["proxy_on_vm_start", "00"]);
}

#[test]
fn requests_in_flight_are_lost_with_their_instance() {
    let mut host = fragile().start_with(Host::builder(Dialect::Envoy).workers(2));
    let mut lost = get(&mut host);
    let mut spared = host.request(1, Request::get("/")).unwrap();
    host.request(0, trapping()).unwrap_err();
    host.clear_logs();
    assert!(host.respond(&mut lost, Response::upstream(200)).is_err());
    host.finish(lost, End::Complete).unwrap();
    assert!(said(&host).is_empty(), "nothing runs for it any more");
    host.respond(&mut spared, Response::upstream(200)).unwrap();
    host.finish(spared, End::Complete).unwrap();
    assert_eq!(said(&host), ["proxy_on_log"]);
}

#[test]
fn a_worker_that_does_not_exist_is_told_apart() {
    let mut host = Filter::new().start(Dialect::Envoy);
    let trap = host.request(7, Request::get("/")).unwrap_err();
    assert!(trap.message.contains("no worker 7"));
    assert_eq!(host.memory_bytes(7), 0);
}

#[test]
fn hosts_and_their_parts_move_between_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Send + Sync>() {}
    sendable::<Host>();
    sendable::<crate::Exchange>();
    shareable::<crate::Module>();
    shareable::<crate::Zone>();
}
