//! Shared data that fails: each worker has what it fetches for itself.

use portcullis_policy::Policy as _;

use super::storing::{long_set, slots};
use super::*;

#[test]
fn without_shared_data_each_worker_fetches_for_itself_once_per_refresh() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 3, &config());
        for worker in &gateway.workers {
            worker.store.0.fail_after(Some(0));
        }
        fetches_for_itself(&gateway);
    }
}

#[test]
fn where_shared_data_can_be_read_only_each_worker_fetches_for_itself_once_per_refresh() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 3, &config());
        for worker in &gateway.workers {
            worker.store.0.fail_writes(true);
        }
        fetches_for_itself(&gateway);
    }
}

#[test]
fn where_an_older_record_can_be_read_only_each_worker_fetches_for_itself_once_per_refresh() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 3, &config(), &set(&[("old", of())]));
        for worker in &gateway.workers {
            worker.store.0.fail_writes(true);
        }
        gateway.wait(secs(600));
        fetches_for_itself(&gateway);
    }
}

#[test]
fn where_one_piece_can_not_be_written_each_worker_fetches_for_itself_once_per_refresh() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 3, &config());
        // Something else lives where the second piece belongs: on Kong, by a name of equal CRC32.
        let policy = &gateway.worker(0).policy;
        let names: Vec<&str> = policy.slot_names().collect();
        let elsewhere = Gateway::new(dialect, 1, &config_with(json!({"path": "/other"})));
        elsewhere.fetch(&set(&[("x", of())]));
        let (foreign, _) = elsewhere.world.zone.get(&slots(&elsewhere)[1]).unwrap();
        gateway.world.zone.put(names[2], &foreign);
        fetches_for_itself_with(&gateway, &long_set("a"));
    }
}

#[test]
fn where_shared_data_can_be_read_only_failures_are_retried_no_more_often_than_elsewhere() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 1, &config(), &set(&[("a", of())]));
        gateway.worker(0).store.0.fail_writes(true);
        gateway.until_asked(secs(600)).unwrap();
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            gateway.answer(&status(500, ""));
            assert_eq!(
                gateway.until_asked(secs(60)),
                Some(secs(pause)),
                "{dialect:?}"
            );
        }
    }
}

#[test]
fn without_shared_data_failures_are_retried_no_more_often_than_with() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 1, &config(), &set(&[("a", of())]));
        gateway.worker(0).store.0.fail_after(Some(0));
        gateway.until_asked(secs(600)).unwrap();
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            gateway.answer(&status(500, ""));
            assert_eq!(
                gateway.until_asked(secs(60)),
                Some(secs(pause)),
                "{dialect:?}"
            );
        }
    }
}

fn fetches_for_itself(gateway: &Gateway) {
    fetches_for_itself_with(gateway, &set(&[("a", of())]));
}

/// An hour with `refresh` of ten minutes.
fn fetches_for_itself_with(gateway: &Gateway, answer: &CallAnswer) {
    let dialect = gateway.world.zone.dialect();
    gateway.tick();
    let before = gateway.fetches("ok");
    let begin = gateway.world.clock.read();
    while gateway.world.clock.read().since(begin) < secs(3600) {
        gateway.answer(answer);
        gateway.wait(secs(1));
        gateway.tick();
        let settled = gateway.world.clock.read().since(begin) > secs(60);
        assert!(
            !settled || gateway.all_pass(&token("a", of())),
            "{dialect:?}"
        );
    }
    let fetches = gateway.fetches("ok") - before;
    assert!(
        (18..=21).contains(&fetches),
        "{dialect:?}: {fetches} fetches of three workers"
    );
}

#[test]
fn a_store_that_fails_in_the_middle_leaves_nothing_that_does_not_heal() {
    for dialect in Dialect::BOTH {
        for accesses in 0..16 {
            let gateway = Gateway::with(dialect, 2, &config(), &long_set("a"));
            gateway.until_asked(secs(600)).unwrap();
            for worker in &gateway.workers {
                worker.store.0.fail_after(Some(accesses));
            }
            gateway.answer(&long_set("b"));
            gateway.tick();
            for worker in &gateway.workers {
                worker.store.0.fail_after(None);
                let either = [token("a", of()), token("b", of())];
                assert!(
                    either.iter().any(|token| passes(worker, token)),
                    "{accesses}"
                );
            }
            for _ in 0..100 {
                gateway.wait(TICK);
                gateway.tick();
                gateway.answer(&long_set("b"));
            }
            gateway.tick();
            assert!(
                gateway.all_pass(&token("b", of())),
                "{dialect:?}, {accesses} accesses"
            );
            assert_eq!(
                gateway.until_asked(secs(500)),
                None,
                "{dialect:?}, {accesses} accesses"
            );
        }
    }
}

#[test]
fn a_store_that_comes_back_is_used_again() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 3, &config(), &set(&[("a", of())]));
        for worker in &gateway.workers {
            worker.store.0.fail_after(Some(0));
        }
        gateway.until_asked(secs(600)).unwrap();
        assert_eq!(gateway.asking().len(), 3, "{dialect:?}");
        gateway.answer(&set(&[("b", of())]));
        for worker in &gateway.workers {
            worker.store.0.fail_after(None);
        }
        let before = gateway.fetches("ok");
        for _ in 0..3600 {
            gateway.wait(secs(1));
            gateway.tick();
            gateway.answer(&set(&[("c", of())]));
        }
        let fetches = gateway.fetches("ok") - before;
        assert!(
            (6..=7).contains(&fetches),
            "{dialect:?}: {fetches} in an hour, for all of them"
        );
        gateway.tick();
        assert!(gateway.all_pass(&token("c", of())), "{dialect:?}");
    }
}

#[test]
fn no_callback_fails_where_the_store_does() {
    let gateway = Gateway::new(Dialect::Kong, 1, &config());
    let worker = gateway.worker(0);
    for accesses in 0..40 {
        worker.store.0.fail_after(Some(accesses));
        worker.policy.prepare(&worker.ports());
        worker.tick();
        worker.answer_call(&long_set("a"));
        gateway.wait(secs(601));
    }
    assert!(passes(worker, &token("a", of())));
}
