//! The clock is set.

use super::*;

const HOUR: Span = secs(3600);
const DAY: Span = secs(24 * 3600);

fn set_back(gateway: &Gateway, span: Span) {
    gateway
        .world
        .clock
        .set(gateway.world.clock.read().before(span));
}

/// Lets this much time pass while the issuer publishes this; tells how many fetches that took.
fn fetches_in(gateway: &Gateway, span: Span, answer: &CallAnswer) -> u64 {
    let (before, begin) = (gateway.fetches("ok"), gateway.world.clock.read());
    while gateway.world.clock.read().since(begin) < span {
        gateway.wait(secs(1));
        gateway.tick();
        gateway.answer(answer);
    }
    gateway.fetches("ok") - before
}

#[test]
fn set_back_by_an_hour_one_worker_asks_anew_and_then_all_goes_on_as_before() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2, 4] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            set_back(&gateway, HOUR);
            assert!(gateway.all_pass(&token("a", of())));
            gateway.fetch(&set(&[("b", of())]));
            assert!(gateway.all_pass(&token("b", of())), "{dialect:?} {workers}");
            assert!(gateway.all_refuse(&token("a", of()), 401, "unknown_kid"));
            let refresh = gateway.until_asked(HOUR).unwrap();
            assert!(refresh >= secs(540) && refresh <= secs(601), "{refresh:?}");
        }
    }
}

#[test]
fn set_back_while_fetches_fail_they_are_retried_as_ever() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        set_back(&gateway, HOUR);
        gateway.tick();
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            gateway.answer(&status(500, ""));
            assert_eq!(
                gateway.until_asked(secs(60)),
                Some(secs(pause)),
                "{dialect:?}"
            );
            assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        }
    }
}

#[test]
fn a_clock_that_is_a_little_behind_is_no_reason_to_ask_beside_another() {
    // A worker reads the clock, and then another one's writing of a moment later.
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config());
        gateway.worker(0).tick();
        set_back(&gateway, Span::from_nanos(1_000));
        gateway.worker(1).tick();
        assert_eq!(gateway.asking(), [0], "{dialect:?}");
        gateway.answer(&set(&[("a", of())]));
        for _ in 0..10 {
            set_back(&gateway, Span::from_millis(1));
            gateway.tick();
            assert!(gateway.asking().is_empty(), "{dialect:?}");
        }
    }
}

#[test]
fn set_back_by_little_nothing_waits_for_longer_than_that() {
    for dialect in Dialect::BOTH {
        for step in 1..=10 {
            let gateway = Gateway::new(dialect, 2, &config());
            gateway.worker(0).tick();
            set_back(&gateway, secs(step));
            gateway.workers.last().unwrap().tick();
            if gateway.asking().len() == 1 {
                let waited = (1..=100).take_while(|_| {
                    gateway.wait(TICK);
                    gateway.worker(1).tick();
                    gateway.asking().len() == 1
                });
                let lease_and_step = (5 + step) * 10;
                assert!(
                    waited.count() as u64 <= lease_and_step,
                    "{dialect:?} {step}"
                );
            }
            assert_eq!(gateway.asking(), [0, 1], "{dialect:?} {step}");
        }
    }
}

#[test]
fn set_forward_by_a_day_the_set_is_fetched_at_once() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2, 4] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            gateway.wait(DAY);
            assert!(
                gateway.all_pass(&token("a", of())),
                "max_stale is a day, after a refresh"
            );
            gateway.fetch(&set(&[("b", of())]));
            assert!(gateway.all_pass(&token("b", of())), "{dialect:?} {workers}");
        }
    }
}

#[test]
fn set_forward_beyond_max_stale_requests_are_refused_until_the_next_answer() {
    let config = config_with(json!({"max_stale": "1h"}));
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config, &set(&[("a", of())]));
        assert!(gateway.all_pass(&token("a", of())));
        gateway.wait(DAY);
        assert!(
            gateway.all_refuse(&token("a", of()), 503, "keys_stale"),
            "{dialect:?}"
        );
        gateway.fetch(&set(&[("a", of())]));
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
    }
}

#[test]
fn set_forward_and_back_again_the_fetch_in_between_is_no_obstacle() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.wait(DAY);
        gateway.fetch(&set(&[("b", of())]));
        set_back(&gateway, DAY);
        assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
        gateway.fetch(&set(&[("c", of())]));
        assert!(gateway.all_pass(&token("c", of())), "{dialect:?}");
        assert_eq!(
            fetches_in(&gateway, HOUR, &set(&[("c", of())])),
            6,
            "{dialect:?}"
        );
    }
}

#[test]
fn a_lease_from_the_future_does_not_block() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config());
        gateway.worker(0).tick();
        set_back(&gateway, HOUR);
        gateway.worker(1).tick();
        assert_eq!(
            gateway.asking(),
            [0, 1],
            "{dialect:?}: the first one may be dead"
        );
        gateway.worker(1).answer_call(&set(&[("a", of())]));
        assert!(passes(gateway.worker(1), &token("a", of())));
        gateway.worker(0).answer_call(&set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        assert_eq!(
            fetches_in(&gateway, HOUR, &set(&[("a", of())])),
            6,
            "{dialect:?}"
        );
    }
}

#[test]
fn a_lease_is_over_when_the_clock_is_set_forward_and_both_answers_may_come() {
    for dialect in Dialect::BOTH {
        for late_first in [false, true] {
            let gateway = Gateway::new(dialect, 2, &config());
            gateway.worker(0).tick();
            gateway.wait(DAY);
            gateway.worker(1).tick();
            assert_eq!(gateway.asking(), [0, 1], "{dialect:?}");
            let order = if late_first { [0, 1] } else { [1, 0] };
            for number in order {
                gateway.worker(number).answer_call(&set(&[("a", of())]));
            }
            gateway.tick();
            assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
            assert_eq!(
                fetches_in(&gateway, HOUR, &set(&[("a", of())])),
                6,
                "{dialect:?}"
            );
        }
    }
}

#[test]
fn what_a_worker_fetched_alone_before_a_step_back_does_not_keep_it_from_what_is_shared() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        let (lonely, other) = (gateway.worker(0), gateway.worker(1));
        lonely.store.0.fail_after(Some(0));
        while lonely.call().is_none() {
            gateway.wait(TICK);
            lonely.tick();
        }
        gateway.answer(&set(&[("b", of())]));
        assert!(passes(lonely, &token("b", of())), "{dialect:?}");
        lonely.store.0.fail_after(None);
        set_back(&gateway, HOUR);
        for _ in 0..700 {
            gateway.wait(secs(1));
            for worker in [other, lonely] {
                worker.tick();
                worker.answer_call(&set(&[("c", of())]));
            }
        }
        assert!(gateway.all_pass(&token("c", of())), "{dialect:?}");
    }
}

#[test]
fn wishes_of_before_a_step_back_do_not_ask_for_ever() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 4, &config(), &set(&[("a", of())]));
        assert!(gateway.all_refuse(&token("b", of()), 401, "unknown_kid"));
        set_back(&gateway, HOUR);
        // The step itself, and each worker's own wish; nothing in it tells how old that one is.
        let fetches = fetches_in(&gateway, secs(500), &set(&[("a", of())]));
        assert!((1..=4).contains(&fetches), "{dialect:?}: {fetches}");
    }
}
