//! An issuer changes its keys, and what was decided with the old ones is not to be believed.

use super::*;

/// The next fetch brings this.
fn refresh(gateway: &Gateway, answer: &CallAnswer) {
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(answer);
}

#[test]
fn tokens_of_a_key_that_is_gone_are_refused_on_each_worker_from_its_next_tick_on() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 4, &config(), &set(&[("a", of())]));
        let old = token("a", of());
        assert!(gateway.all_pass(&old) && gateway.all_pass(&old));
        let remembered = |worker| metric(worker, "cache_hits") == 1;
        assert!(gateway.workers.iter().all(remembered), "{dialect:?}");
        refresh(&gateway, &set(&[("b", other())]));
        for worker in &gateway.workers {
            worker.tick();
            assert_eq!(
                ask(worker, &old),
                refused(401, "unknown_kid"),
                "{dialect:?}"
            );
            assert!(passes(worker, &token("b", other())), "{dialect:?}");
        }
    }
}

#[test]
fn a_key_that_is_replaced_under_its_name_counts_for_nothing() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        assert!(gateway.all_pass(&token("a", of())));
        refresh(&gateway, &set(&[("a", other())]));
        gateway.tick();
        assert!(
            gateway.all_refuse(&token("a", of()), 401, "signature"),
            "{dialect:?}"
        );
    }
}

#[test]
fn while_old_and_new_keys_are_published_tokens_of_both_pass() {
    let gateway = Gateway::with(Dialect::Kong, 2, &config(), &set(&[("a", of())]));
    refresh(&gateway, &set(&[("a", of()), ("b", other())]));
    gateway.tick();
    assert!(gateway.all_pass(&token("a", of())) && gateway.all_pass(&token("b", other())));
}

#[test]
fn a_token_whose_signature_was_bad_passes_once_a_key_verifies_it() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        let early = token("a", other());
        for _ in 0..3 {
            assert!(gateway.all_refuse(&early, 401, "signature"));
        }
        refresh(&gateway, &set(&[("a", other())]));
        gateway.tick();
        assert!(gateway.all_pass(&early), "{dialect:?}");
    }
}

#[test]
fn an_unchanged_set_leaves_what_was_remembered() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        let good = token("a", of());
        assert!(gateway.all_pass(&good));
        // The same keys, written otherwise and with more around them.
        let mut document = jwks(&[("a", of())]);
        document["keys"][0]["x5t"] = json!("abc");
        document["cached"] = json!(true);
        for answer in [set(&[("a", of())]), ok(format!(" {document:#} "))] {
            let before = gateway.workers.iter().map(|w| metric(w, "cache_hits"));
            let before: Vec<u64> = before.collect();
            refresh(&gateway, &answer);
            gateway.tick();
            assert!(gateway.all_pass(&good));
            for (worker, before) in gateway.workers.iter().zip(before) {
                assert_eq!(metric(worker, "cache_hits"), before + 1, "{dialect:?}");
                let lines = worker.telemetry.lines();
                let changes = lines
                    .iter()
                    .filter(|line| line.contains("event=keys_changed"));
                assert_eq!(changes.count(), 1, "{dialect:?}");
            }
        }
    }
}

#[test]
fn a_set_that_was_there_before_is_a_change_too() {
    let gateway = Gateway::with(Dialect::Kong, 2, &config(), &set(&[("a", of())]));
    for _ in 0..3 {
        for (kid, gone) in [("b", "a"), ("a", "b")] {
            refresh(&gateway, &set(&[(kid, of())]));
            gateway.tick();
            assert!(gateway.all_pass(&token(kid, of())));
            assert!(gateway.all_refuse(&token(gone, of()), 401, "unknown_kid"));
        }
    }
}

#[test]
fn a_set_that_grows_and_shrinks_by_pages_is_shared_whole() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config());
        gateway.tick();
        for (keys, length) in [(1, 1), (64, 200), (3, 500), (40, 500), (64, 2), (2, 1)] {
            let kids: Vec<_> = (0..keys).map(|n| format!("{n:0>length$}")).collect();
            let named: Vec<_> = kids.iter().map(|kid| (&**kid, of())).collect();
            gateway.until_asked(secs(600)).unwrap();
            gateway.answer(&set(&named));
            gateway.tick();
            for kid in [&kids[0], &kids[keys - 1]] {
                assert!(
                    gateway.all_pass(&token(kid, of())),
                    "{dialect:?}: {keys} keys"
                );
            }
        }
        assert_eq!(gateway.fetches("ok"), 6);
    }
}
