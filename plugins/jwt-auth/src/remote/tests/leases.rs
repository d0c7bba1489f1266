//! A worker that asks and is not heard of again.

use super::*;

/// `timeout`, and what it may take to tell of it.
const LEASE: Span = secs(5);

/// Two workers, of which the first has asked and goes no further.
fn stuck(dialect: Dialect) -> Gateway {
    let gateway = Gateway::new(dialect, 2, &config());
    gateway.worker(0).tick();
    assert_eq!(gateway.asking(), [0]);
    gateway
}

/// The same, with the second one having asked in its turn.
fn overtaken(dialect: Dialect) -> Gateway {
    let gateway = stuck(dialect);
    gateway.wait(LEASE);
    gateway.worker(1).tick();
    assert_eq!(gateway.asking(), [0, 1]);
    gateway
}

#[test]
fn another_asks_when_the_lease_is_over_and_not_before() {
    for dialect in Dialect::BOTH {
        let gateway = stuck(dialect);
        let almost = Span::from_nanos(LEASE.as_nanos() - 1);
        let mut waited = Span::ZERO;
        while waited < almost {
            let step = TICK.min(Span::from_nanos(almost.as_nanos() - waited.as_nanos()));
            gateway.wait(step);
            waited = Span::from_nanos(waited.as_nanos() + step.as_nanos());
            gateway.worker(1).tick();
            assert_eq!(gateway.asking(), [0], "{dialect:?} after {waited:?}");
        }
        gateway.wait(Span::from_nanos(1));
        gateway.worker(1).tick();
        assert_eq!(gateway.asking(), [0, 1], "{dialect:?}");
        gateway.worker(1).answer_call(&set(&[("a", of())]));
        assert!(passes(gateway.worker(1), &token("a", of())));
        assert_eq!(
            gateway.fetches("ok"),
            1,
            "one that never ended is not counted"
        );
    }
}

#[test]
fn fetches_that_never_end_are_tried_more_and_more_rarely() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::new(dialect, 1, &config());
        gateway.tick();
        for pause in [5, 5, 5, 8, 16, 30, 30] {
            gateway.workers.clear();
            gateway.add(&config());
            assert_eq!(
                gateway.until_asked(secs(60)),
                Some(secs(pause)),
                "{dialect:?}"
            );
        }
        gateway.answer(&set(&[("a", of())]));
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
    }
}

#[test]
fn the_lease_is_as_long_as_the_timeout_says() {
    let gateway = Gateway::new(Dialect::Envoy, 2, &config_with(json!({"timeout": "20s"})));
    gateway.worker(0).tick();
    gateway.wait(Span::from_millis(21_999));
    gateway.worker(1).tick();
    assert_eq!(gateway.asking(), [0]);
    gateway.wait(Span::from_millis(1));
    gateway.worker(1).tick();
    assert_eq!(gateway.asking(), [0, 1]);
}

#[test]
fn one_after_the_other_can_die() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 4, &config());
        for dead in 0..3 {
            for worker in &gateway.workers[dead..] {
                worker.tick();
            }
            assert_eq!(gateway.asking().last(), Some(&dead), "{dialect:?}");
            gateway.wait(LEASE);
        }
        let last = gateway.worker(3);
        last.tick();
        last.answer_call(&set(&[("a", of())]));
        assert!(passes(last, &token("a", of())), "{dialect:?}");
    }
}

#[test]
fn an_answer_after_the_lease_is_shared_where_nobody_has_taken_over() {
    for dialect in Dialect::BOTH {
        let gateway = stuck(dialect);
        gateway.wait(secs(60));
        gateway.worker(0).answer_call(&set(&[("a", of())]));
        gateway.worker(1).tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        assert_eq!(gateway.until_asked(secs(500)), None, "{dialect:?}");
    }
}

#[test]
fn an_answer_that_is_late_serves_where_nobody_has_a_newer_one() {
    for dialect in Dialect::BOTH {
        let gateway = overtaken(dialect);
        gateway.worker(0).answer_call(&set(&[("a", of())]));
        assert!(passes(gateway.worker(0), &token("a", of())));
        gateway.worker(1).answer_call(&set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        assert_eq!(
            gateway.until_asked(secs(500)),
            None,
            "{dialect:?}: both have ended"
        );
    }
}

#[test]
fn a_late_answer_does_not_undo_a_newer_one_on_the_worker_that_was_late() {
    for dialect in Dialect::BOTH {
        let gateway = overtaken(dialect);
        gateway.worker(1).answer_call(&set(&[("new", of())]));
        gateway.worker(0).answer_call(&set(&[("old", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("new", of())), "{dialect:?}");
        assert!(
            gateway.all_refuse(&token("old", of()), 401, "unknown_kid"),
            "{dialect:?}"
        );
    }
}

#[test]
fn a_late_answer_does_not_undo_a_newer_one_for_workers_to_come() {
    for dialect in Dialect::BOTH {
        let mut gateway = overtaken(dialect);
        gateway.worker(1).answer_call(&set(&[("new", of())]));
        gateway.worker(0).answer_call(&set(&[("old", of())]));
        gateway.add(&config());
        assert_eq!(
            ask(gateway.worker(2), &token("new", of())).0,
            200,
            "{dialect:?}"
        );
    }
}

#[test]
fn a_late_failure_is_not_held_against_a_newer_fetch() {
    for dialect in Dialect::BOTH {
        let gateway = overtaken(dialect);
        gateway.worker(0).answer_call(&unreachable());
        gateway.wait(secs(4));
        gateway.tick();
        assert_eq!(
            gateway.asking(),
            [1],
            "{dialect:?}: the lease of the other goes on"
        );
        gateway.worker(1).answer_call(&set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        let gateway = overtaken(dialect);
        gateway.worker(1).answer_call(&set(&[("a", of())]));
        gateway.worker(0).answer_call(&unreachable());
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        assert_eq!(
            gateway.until_asked(secs(500)),
            None,
            "{dialect:?}: nothing is to be repeated"
        );
    }
}
