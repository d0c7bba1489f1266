//! What the simulation has found, each as small as it gets.

use portcullis_policy::{Origin, Span};
use portcullis_sim::{Dialect, World};

use crate::gateway::Gateway;
use crate::status::Watcher;

/// Being slow is reported at once, when the stream has ended; the success was one when its head came.
#[test]
fn a_slow_success_ends_failures_by_its_head_and_not_by_its_end() {
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
        let mut slow = request();
        world.clock.advance(Span::from_secs(2));
        worker.respond(&mut slow, 200, Origin::Upstream);
        answered(request(), 503);
        worker.end(slow, Origin::Upstream);
        answered(request(), 503);
        let now = world.clock.read().unix_nanos();
        let state = Watcher::new(&world, config).state("one", now);
        assert_eq!(state, "open", "{dialect:?}");
    }
}
