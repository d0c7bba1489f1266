//! What the simulation has found, each as small as it gets.

use portcullis_policy::{Origin, Span};
use portcullis_sim::{Dialect, World};

use crate::gateway::Gateway;
use crate::status::Watcher;

/// Being slow is told at once, and with it the success was: it started the count of failures again,
/// although none was on record when its request was admitted.
#[test]
fn a_slow_success_of_a_request_admitted_with_no_failure_on_record_resets_nothing() {
    let config = r#"{"breakers":[{"name":"one","trip":{"consecutive_failures":2,
        "slow_ratio":{"above":0.5,"slower_than":"1s","window":"60s","minimum_requests":100}}}],
        "status":{"path":"/status"}}"#;
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let worker: Gateway = world.worker(config).unwrap();
        let request = || worker.request("", &[(":method", "GET"), (":path", "/")]).1;
        let answered = |mut flow, status| {
            worker.respond(&mut flow, status, Origin::Upstream);
            worker.end(flow, Origin::Upstream);
        };
        let slow = request();
        answered(request(), 503);
        world.clock.advance(Span::from_secs(2));
        answered(slow, 200);
        answered(request(), 503);
        let now = world.clock.read().unix_nanos();
        let state = Watcher::new(&world, config).state("one", now);
        assert_eq!(state, "open", "{dialect:?}");
    }
}
