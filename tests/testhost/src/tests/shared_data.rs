//! Shared data, metrics and memory through host calls.

use super::support::*;
use crate::{Dialect, Host, Request, Zone};

#[test]
fn creating_if_absent_takes_two_dialects() {
    let filter = on("proxy_on_request_headers", |f| {
        let steps = [
            f.show_shared("k"),
            f.set_shared("k", "one", u32::MAX),
            f.set_shared("k", "two", u32::MAX),
            f.set_shared("k", "ten", 0),
            f.show_shared("k"),
        ];
        steps.concat()
    });
    for (dialect, expected) in [
        (Dialect::Envoy, ["01", "00", "08", "00", "ten"]),
        (Dialect::Kong, ["01", "08", "08", "00", "ten"]),
    ] {
        let mut host = filter.start(dialect);
        get(&mut host);
        assert_eq!(said(&host), expected, "{dialect:?}");
        assert_eq!(host.zone().get("k").unwrap().0, b"ten");
    }
}

#[test]
fn workers_and_hosts_share_one_zone() {
    let zone = Zone::new(Dialect::Envoy);
    let filter = on("proxy_on_request_headers", |f| f.set_shared("k", "v", 0));
    let mut one = filter.start_with(Host::builder(Dialect::Envoy).workers(2).zone(zone.clone()));
    let mut other = filter.start_with(Host::builder(Dialect::Envoy).zone(zone.clone()));
    one.request(1, Request::get("/")).unwrap();
    assert_eq!(zone.get("k").unwrap().1, 1);
    get(&mut other);
    assert_eq!(one.zone().get("k").unwrap().1, 2);
}

#[test]
fn null_value_deletes_on_kong_and_is_empty_on_envoy() {
    let filter = on("proxy_on_request_headers", |f| {
        let key = f.text("k");
        status(&format!(
            "(call $proxy_set_shared_data {key} (i32.const 0) (i32.const 0) (i32.const 1))"
        ))
    });
    for dialect in Dialect::BOTH {
        let mut host = filter.start(dialect);
        host.zone().set("k", b"v", 0);
        get(&mut host);
        assert_eq!(said(&host), ["00"]);
        let left = host.zone().get("k").map(|(value, _)| value);
        assert_eq!(left, (dialect == Dialect::Envoy).then(Vec::new));
    }
}

#[test]
fn a_full_zone_without_eviction_traps() {
    let filter = on("proxy_on_request_headers", |f| {
        f.set_shared("a", "v", 0) + &f.set_shared("b", "v", 0)
    });
    let mut host = filter.start(Dialect::Kong);
    host.zone().set_capacity_without_eviction(1);
    let trap = host.request(0, Request::get("/")).unwrap_err();
    assert!(trap.message.contains("could not write to slab"), "{trap}");
}

#[test]
fn a_value_that_outgrows_its_slot_crashes_a_kong_worker() {
    let filter = on("proxy_on_request_headers", |f| {
        f.set_shared("k", "longer", 1)
    });
    let mut host = filter.start(Dialect::Kong);
    host.zone().set("k", b"short", 0);
    assert!(host.request(0, Request::get("/")).unwrap_err().worker_crash);
}

#[test]
fn without_a_zone_shared_data_traps() {
    let filter = on("proxy_on_request_headers", |f| f.show_shared("k"));
    let mut host = filter.start_with(Host::builder(Dialect::Kong).without_zone());
    assert!(host.request(0, Request::get("/")).is_err());
}

#[test]
fn a_reload_empties_kongs_zone_and_leaves_envoys() {
    for (dialect, left) in [(Dialect::Envoy, 1), (Dialect::Kong, 0)] {
        let mut host = Filter::new().start(dialect);
        host.zone().set("k", b"v", 0);
        host.reload(b"{}").unwrap();
        assert_eq!(host.zone().len(), left, "{dialect:?}");
    }
}

#[test]
fn metrics_belong_to_the_process() {
    let mut filter = Filter::new();
    let name = filter.text("hits");
    let configure = status(&format!(
        "(call $proxy_define_metric (i32.const 0) {name} (i32.const {NUMBER_AT}))"
    ));
    let count = |by| {
        status(&format!(
            "(call $proxy_increment_metric (i32.load (i32.const {NUMBER_AT})) (i64.const {by}))"
        ))
    };
    let filter = filter
        .on("proxy_on_configure", &configure)
        .on("proxy_on_request_headers", &(count(2) + &count(0)));
    for dialect in Dialect::BOTH {
        let mut host = filter.start_with(Host::builder(dialect).workers(2));
        assert_eq!(host.metric("hits"), Some(0));
        host.clear_logs();
        for worker in [0, 1, 1] {
            host.request(worker, Request::get("/")).unwrap();
        }
        assert_eq!(host.metric("hits"), Some(6));
        assert_eq!(host.metrics().len(), 1);
        assert_eq!(
            said(&host).get(..2),
            Some(["00", "02"].as_slice()),
            "a counter goes up, or not at all"
        );
    }
}

#[test]
fn a_metrics_name_is_bounded_on_kong() {
    let mut filter = Filter::new();
    let name = filter.text(&"n".repeat(250));
    let define = status(&format!(
        "(call $proxy_define_metric (i32.const 0) {name} (i32.const {NUMBER_AT}))"
    ));
    let module = filter.on("proxy_on_configure", &define).build();
    assert!(Host::builder(Dialect::Envoy).build(&module, b"").is_ok());
    let kong = Host::builder(Dialect::Kong).build(&module, b"").unwrap();
    assert!(kong.open_door(0).is_some());
}

#[test]
fn memory_of_each_worker_is_its_own() {
    let filter = Filter::new().on(
        "proxy_on_request_headers",
        "(drop (memory.grow (i32.const 2)))",
    );
    let mut host = filter.start_with(Host::builder(Dialect::Envoy).workers(2));
    get(&mut host);
    assert_eq!(
        (host.memory_bytes(0), host.memory_bytes(1)),
        (6 * 65_536, 4 * 65_536)
    );
}
