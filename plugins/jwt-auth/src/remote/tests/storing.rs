//! Shared data that loses things, or tells half of them.

use super::*;

/// A set that takes two pieces, neither of which is one of another such set.
pub(super) fn long_set(kid: &str) -> CallAnswer {
    let kids: Vec<_> = (0..9).map(|n| format!("{kid}{n:0>499}")).collect();
    let mut keys: Vec<_> = kids.iter().map(|kid| (&**kid, of())).collect();
    keys.push((kid, of()));
    set(&keys)
}

/// The names of record and pieces, in that order.
pub(super) fn slots(gateway: &Gateway) -> Vec<String> {
    let mut names = gateway.world.zone.keys();
    names.sort_by_key(String::len);
    names
}

#[test]
fn a_set_lies_in_a_record_and_as_many_pieces_as_it_needs() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        assert_eq!(slots(&gateway).len(), 2, "{dialect:?}");
        let gateway = Gateway::with(dialect, 2, &config(), &long_set("a"));
        let slots = slots(&gateway);
        assert_eq!(slots.len(), 3, "{dialect:?}");
        assert!(slots[2].starts_with(&slots[0]), "{slots:?}");
        let policy = &gateway.worker(0).policy;
        let known: Vec<&str> = policy.slot_names().collect();
        assert!(
            slots.iter().all(|slot| known.contains(&&**slot)),
            "{slots:?}"
        );
    }
}

#[test]
fn a_tick_without_news_costs_one_read() {
    let gateway = Gateway::with(Dialect::Envoy, 1, &config(), &long_set("a"));
    let store = &gateway.worker(0).store.0;
    let before = (store.reads(), store.writes());
    gateway.wait(secs(60));
    gateway.tick();
    assert_eq!((store.reads(), store.writes()), (before.0 + 1, before.1));
    gateway.all_pass(&token("a", of()));
    assert_eq!(
        (store.reads(), store.writes()),
        (before.0 + 1, before.1),
        "a request none"
    );
}

#[test]
fn without_its_record_a_set_serves_on_and_the_next_fetch_shares_it_again() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.wait(secs(100));
        assert!(gateway.world.zone.evict(&slots(&gateway)[0]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        let waited = gateway.until_asked(secs(600)).unwrap();
        assert!(
            waited >= secs(440),
            "{dialect:?}: {waited:?}, the date is still known"
        );
        gateway.answer(&set(&[("b", of())]));
        gateway.tick();
        gateway.add(&config());
        assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
    }
}

#[test]
fn a_new_worker_that_finds_no_record_fetches_for_all() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.wait(secs(100));
        gateway.world.zone.evict(&slots(&gateway)[0]);
        gateway.add(&config());
        gateway.fetch(&set(&[("b", of())]));
        assert_eq!(
            metric(gateway.worker(2), "jwks_fetches.provider.p.result.ok"),
            1
        );
        assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
    }
}

#[test]
fn without_one_of_its_pieces_a_set_serves_on_and_a_new_worker_causes_a_refetch() {
    for dialect in Dialect::BOTH {
        for piece in [1, 2] {
            let mut gateway = Gateway::with(dialect, 2, &config(), &long_set("a"));
            gateway.wait(secs(4));
            gateway.world.zone.evict(&slots(&gateway)[piece]);
            assert_eq!(
                gateway.until_asked(secs(10)),
                None,
                "{dialect:?}: nobody misses it"
            );
            gateway.wait(secs(1));
            gateway.add(&config());
            assert_eq!(
                ask(gateway.worker(2), &token("a", of())).0,
                503,
                "{dialect:?}"
            );
            assert!(passes(gateway.worker(0), &token("a", of())), "{dialect:?}");
            gateway.fetch(&long_set("a"));
            assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
            assert_eq!(gateway.fetches("ok"), 2);
            gateway.add(&config());
            assert!(passes(gateway.worker(3), &token("a", of())), "{dialect:?}");
        }
    }
}

#[test]
fn new_workers_that_find_no_pieces_keep_to_refetch_min_interval() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 1, &config(), &set(&[("a", of())]));
        gateway.world.zone.evict(&slots(&gateway)[1]);
        gateway.add(&config());
        gateway.add(&config());
        gateway.workers.remove(0);
        assert_eq!(gateway.until_asked(secs(60)), Some(secs(10)), "{dialect:?}");
        gateway.answer(&unreachable());
        let pause = gateway.until_asked(secs(60));
        assert_eq!(pause, Some(secs(1)), "{dialect:?}: as after any failure");
    }
}

#[test]
fn while_a_set_is_written_nobody_sees_a_mixture() {
    for dialect in Dialect::BOTH {
        // Before each of the writes: of the two pieces, and of the record.
        for writes in 0..3 {
            let gateway = Gateway::with(dialect, 2, &config(), &long_set("a"));
            gateway.until_asked(secs(600)).unwrap();
            for _ in 0..writes {
                gateway.world.zone.before_next_set(|_| ());
            }
            let world = gateway.world.clone();
            gateway.world.zone.before_next_set(move |_| {
                let new: Worker<JwtAuth> = world.worker(&config().to_string()).unwrap();
                let (old, new) = (ask(&new, &token("a", of())), ask(&new, &token("b", of())));
                let expected = match writes {
                    0 => (200, 401),
                    _ => (503, 503),
                };
                assert_eq!((old.0, new.0), expected, "{dialect:?} {writes}");
            });
            gateway.answer(&long_set("b"));
            gateway.tick();
            assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
        }
    }
}

#[test]
fn torn_reads_of_what_is_being_written_delay_and_do_not_harm() {
    for seed in 0..10 {
        let gateway = Gateway::with(Dialect::Kong, 3, &config(), &long_set("0"));
        for refresh in 1..4_u64 {
            let (old, kid) = ((refresh - 1).to_string(), refresh.to_string());
            gateway.until_asked(secs(600)).unwrap();
            let asked = gateway.asking()[0];
            gateway.answer(&long_set(&kid));
            // The others read while it is written: what they see is old, new, or of no sense.
            gateway.world.zone.tear_reads(0.8, seed);
            let others = gateway
                .workers
                .iter()
                .enumerate()
                .filter(|(n, _)| *n != asked);
            for _ in 0..5 {
                for (_, worker) in others.clone() {
                    worker.tick();
                    let said = [&old, &kid].map(|kid| passes(worker, &token(kid, of())));
                    assert_ne!(said[0], said[1], "seed {seed}: the one set, or the other");
                    assert!(worker.call().is_none(), "seed {seed}");
                }
            }
            gateway.world.zone.tear_reads(0.0, 0);
            gateway.tick();
            assert!(
                gateway.all_pass(&token(&kid, of())),
                "seed {seed}, refresh {refresh}"
            );
        }
        assert!(gateway.world.zone.torn_reads() > 0, "seed {seed}");
    }
}

#[test]
fn a_record_that_is_evicted_during_a_fetch_is_back_when_the_lease_is_over() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.until_asked(secs(600)).unwrap();
        let asked = gateway.asking()[0];
        gateway.world.zone.evict(&slots(&gateway)[0]);
        gateway.answer(&set(&[("b", of())]));
        assert!(
            passes(gateway.worker(asked), &token("b", of())),
            "{dialect:?}"
        );
        gateway.tick();
        if gateway.until_asked(secs(6)).is_some() {
            gateway.answer(&set(&[("b", of())]));
        }
        gateway.tick();
        gateway.add(&config());
        assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
        assert_eq!(gateway.until_asked(secs(500)), None, "{dialect:?}");
    }
}
