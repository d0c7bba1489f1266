//! Workers come and go, and configurations change.

use super::*;

#[test]
fn a_new_worker_has_the_keys_at_once_and_without_a_call() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.wait(secs(300));
        gateway.add(&config());
        assert!(
            passes(gateway.worker(2), &token("a", of())),
            "{dialect:?}: before its first tick"
        );
        gateway.workers.drain(..2);
        assert_eq!(gateway.until_asked(secs(239)), None, "{dialect:?}");
        assert!(
            gateway.until_asked(secs(61)).is_some(),
            "{dialect:?}: the date is the set's own"
        );
    }
}

#[test]
fn a_new_worker_does_not_believe_a_set_for_longer_than_it_is_good() {
    let config = config_with(json!({"max_stale": "1m"}));
    let mut gateway = Gateway::with(Dialect::Envoy, 1, &config, &set(&[("a", of())]));
    gateway.wait(Span::from_nanos(secs(660).as_nanos() - 1));
    gateway.add(&config);
    assert!(passes(gateway.worker(1), &token("a", of())));
    gateway.wait(Span::from_nanos(1));
    gateway.add(&config);
    for worker in &gateway.workers {
        assert_eq!(ask(worker, &token("a", of())), refused(503, "keys_stale"));
    }
}

#[test]
fn keys_from_elsewhere_are_not_taken_for_those_of_the_new_source() {
    let discovering = json!({
        "upstream": "idp", "authority": "id.example.com", "discovery": true
    });
    let others = [
        remote_with(json!({"upstream": "idp2"})),
        remote_with(json!({"authority": "id2.example.com"})),
        remote_with(json!({"path": "/certs2"})),
        remote_with(json!({"scheme": "http"})),
        remote_with(json!({"path": "/realms/rag/.well-known/openid-configuration"})),
        discovering.clone(),
    ];
    for dialect in Dialect::BOTH {
        for other in &others {
            let gateway = Gateway::with(dialect, 1, &config(), &set(&[("a", of())]));
            changes_to(
                gateway,
                &providers(&[("p", provider(ISSUER, other))]),
                other,
            );
        }
        // What was found for one issuer is not for another, though it came from the same host.
        let gateway = Gateway::new(
            dialect,
            1,
            &providers(&[("p", provider(ISSUER, &discovering))]),
        );
        gateway.tick();
        let certs = json!({"issuer": ISSUER, "jwks_uri": "https://id.example.com/certs"});
        gateway.answer(&ok(certs.to_string()));
        gateway.answer(&set(&[("a", of())]));
        assert!(gateway.all_pass(&token("a", of())));
        let slashed = format!("{ISSUER}/");
        changes_to(
            gateway,
            &providers(&[("p", provider(&slashed, &discovering))]),
            &discovering,
        );
    }
}

fn changes_to(mut gateway: Gateway, config: &Value, what: &Value) {
    gateway.add(config);
    let issuer = config["providers"]["p"]["issuer"].as_str().unwrap();
    let new = gateway.worker(1);
    let good = token_by(issuer, "a", of());
    assert_eq!(ask(new, &good), refused(503, "keys_unavailable"), "{what}");
    new.tick();
    assert!(new.call().is_some(), "{what}: nobody else asks there");
    gateway.worker(0).tick();
    assert!(
        passes(gateway.worker(0), &token("a", of())),
        "{what}: the old one has its own"
    );
}

#[test]
fn other_intervals_and_other_names_change_nothing_of_the_source() {
    let fields = json!({"refresh": "5m", "timeout": "1s", "max_stale": "1h",
        "refetch_min_interval": "30s"});
    let renamed = providers(&[("q", provider(ISSUER, &remote_with(fields)))]);
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 1, &config(), &set(&[("a", of())]));
        gateway.wait(secs(100));
        gateway.add(&renamed);
        let new = gateway.workers.pop().unwrap();
        assert!(passes(&new, &token("a", of())), "{dialect:?}");
        new.tick();
        assert_eq!(new.call(), None, "{dialect:?}");
        gateway.wait(secs(201));
        new.tick();
        assert!(
            new.call().is_some(),
            "{dialect:?}: its own `refresh` counts"
        );
    }
}

#[test]
fn a_reload_while_a_fetch_is_under_way_neither_doubles_nor_loses_it() {
    for dialect in Dialect::BOTH {
        let mut gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
        gateway.until_asked(secs(600)).unwrap();
        let before = gateway.asking();
        gateway.add(&config());
        gateway.add(&config());
        gateway.wait(secs(4));
        gateway.tick();
        assert_eq!(gateway.asking(), before, "{dialect:?}");
        // What the old workers are answered is not heard of any more.
        gateway.workers.drain(..2);
        assert!(gateway.all_pass(&token("a", of())));
        assert_eq!(
            gateway.until_asked(secs(60)),
            Some(secs(1)),
            "{dialect:?}: the lease is over"
        );
        gateway.answer(&set(&[("b", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("b", of())), "{dialect:?}");
    }
}

#[test]
fn shared_data_that_is_emptied_with_the_reload_is_filled_again() {
    let mut gateway = Gateway::with(Dialect::Kong, 2, &config(), &set(&[("a", of())]));
    gateway.world.zone.clear();
    gateway.workers.clear();
    gateway.add(&config());
    gateway.add(&config());
    assert!(gateway.all_refuse(&token("a", of()), 503, "keys_unavailable"));
    gateway.fetch(&set(&[("a", of())]));
    assert!(gateway.all_pass(&token("a", of())));
}
