//! When a set is fetched again.

use portcullis_policy::Timestamp;

use super::*;

/// Ticks until somebody asks, counted from the last fetch.
fn until_refresh(gateway: &Gateway) -> Span {
    gateway.until_asked(secs(3600)).unwrap()
}

#[test]
fn a_set_is_fetched_again_after_90_to_100_percent_of_refresh() {
    for (refresh, whole) in [("10m", secs(600)), ("20s", secs(20)), ("1h", secs(3600))] {
        let config = config_with(json!({"refresh": refresh}));
        let answer = set(&[("a", of())]);
        let gateway = Gateway::with(Dialect::Envoy, 1, &config, &answer);
        for _ in 0..10 {
            let waited = until_refresh(&gateway);
            let least = Span::from_nanos(whole.as_nanos() / 10 * 9);
            let most = Span::from_nanos(whole.as_nanos() + TICK.as_nanos());
            assert!(waited >= least && waited <= most, "{refresh}: {waited:?}");
            gateway.answer(&answer);
        }
        assert_eq!(gateway.fetches("ok"), 11);
    }
}

#[test]
fn all_workers_agree_on_when_that_is() {
    for dialect in Dialect::BOTH {
        // Each time another one is alone to tick when the set is due.
        let due: Vec<Span> = (0..4)
            .map(|alone| {
                let gateway = Gateway::with(dialect, 4, &config(), &set(&[("a", of())]));
                let begin = gateway.world.clock.read();
                while gateway.asking().is_empty() {
                    gateway.wait(TICK);
                    gateway.worker(alone).tick();
                }
                gateway.world.clock.read().since(begin)
            })
            .collect();
        assert!(
            due.iter().all(|span| *span == due[0]),
            "{dialect:?}: {due:?}"
        );
    }
}

#[test]
fn gateways_that_start_one_after_the_other_do_not_come_together_for_ever() {
    let refreshes: Vec<Span> = (0..8_u64)
        .map(|number| {
            let gateway = Gateway::new(Dialect::Envoy, 1, &config());
            let start = Timestamp::from_unix_secs(1_767_254_400);
            gateway
                .world
                .clock
                .set(start.after(Span::from_millis(number)));
            gateway.fetch(&set(&[("a", of())]));
            until_refresh(&gateway)
        })
        .collect();
    let (first, last) = (
        refreshes.iter().min().unwrap(),
        refreshes.iter().max().unwrap(),
    );
    let apart = last.as_nanos() - first.as_nanos();
    assert!(apart > secs(10).as_nanos(), "{refreshes:?}");
}

#[test]
fn the_shortest_refresh_is_kept_to() {
    let config = config_with(json!({"refresh": "1s"}));
    let gateway = Gateway::with(Dialect::Kong, 4, &config, &set(&[("a", of())]));
    let begin = gateway.world.clock.read();
    while gateway.world.clock.read().since(begin) < secs(60) {
        gateway.wait(TICK);
        gateway.tick();
        gateway.answer(&set(&[("a", of())]));
    }
    let fetches = gateway.fetches("ok");
    assert!((54..=68).contains(&fetches), "{fetches} in a minute");
}
