//! Tokens that the set does not know: by their `kid`, or by their signature.

use super::*;

#[test]
fn it_is_refused_at_once_and_after_a_refetch_the_new_key_passes_everywhere() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2, 4] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            gateway.wait(secs(60));
            gateway.tick();
            let last = gateway.worker(workers - 1);
            assert_eq!(ask(last, &token("b", other())), refused(401, "unknown_kid"));
            assert!(gateway.asking().is_empty(), "a request does not ask");
            gateway.fetch(&set(&[("a", of()), ("b", other())]));
            assert!(
                gateway.all_pass(&token("b", other())),
                "{dialect:?} {workers}"
            );
            assert!(gateway.all_pass(&token("a", of())), "{dialect:?} {workers}");
            assert_eq!(gateway.fetches("ok"), 2);
        }
    }
}

#[test]
fn the_refetch_waits_until_the_last_fetch_is_refetch_min_interval_ago() {
    for (written, interval) in [("10s", secs(10)), ("1s", secs(1)), ("2m", secs(120))] {
        let config = config_with(json!({"refetch_min_interval": written}));
        let gateway = Gateway::with(Dialect::Envoy, 2, &config, &set(&[("a", of())]));
        gateway.wait(TICK);
        assert!(gateway.all_refuse(&token("b", of()), 401, "unknown_kid"));
        let left = Span::from_nanos(interval.as_nanos() - TICK.as_nanos());
        assert_eq!(gateway.until_asked(secs(300)), Some(left));
    }
}

#[test]
fn a_flood_of_them_causes_one_refetch_per_interval_however_many_workers_get_them() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2, 4] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            for second in 1..=60 {
                gateway.wait(secs(1));
                for worker in &gateway.workers {
                    for kid in ["b", "c", ""] {
                        let stranger = token(&format!("{kid}{second}"), of());
                        assert_eq!(ask(worker, &stranger), refused(401, "unknown_kid"));
                    }
                    worker.tick();
                    gateway.answer(&set(&[("a", of())]));
                }
            }
            assert_eq!(gateway.fetches("ok"), 1 + 6, "{dialect:?} {workers}");
        }
    }
}

#[test]
fn a_flood_does_not_hurry_retries_beyond_the_interval() {
    let gateway = Gateway::with(Dialect::Envoy, 2, &config(), &set(&[("a", of())]));
    let mut asked = Vec::new();
    for second in 1..=100_u64 {
        gateway.wait(secs(1));
        assert!(gateway.all_refuse(&token("b", of()), 401, "unknown_kid"));
        gateway.tick();
        if !gateway.asking().is_empty() {
            asked.push(second);
            gateway.answer(&status(500, ""));
        }
    }
    // After 1, 2, 4 and 8 s as any failure; from then on the tokens are what asks.
    assert_eq!(asked, [10, 11, 13, 17, 25, 35, 45, 55, 65, 75, 85, 95]);
}

#[test]
fn one_causes_one_refetch_and_no_more() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 4, &config(), &set(&[("a", of())]));
        // One after the other, so that their wishes are of different age.
        for worker in &gateway.workers {
            gateway.wait(secs(1));
            assert_eq!(ask(worker, &token("b", of())), refused(401, "unknown_kid"));
        }
        gateway.until_asked(secs(10)).unwrap();
        gateway.answer(&set(&[("a", of())]));
        assert_eq!(gateway.until_asked(secs(500)), None, "{dialect:?}");
        assert_eq!(gateway.fetches("ok"), 2);
    }
}

#[test]
fn one_that_comes_while_a_fetch_is_under_way_is_not_forgotten() {
    let gateway = Gateway::with(Dialect::Envoy, 2, &config(), &set(&[("a", of())]));
    gateway.until_asked(secs(600)).unwrap();
    gateway.wait(secs(1));
    assert!(gateway.all_refuse(&token("b", of()), 401, "unknown_kid"));
    gateway.answer(&set(&[("a", of())]));
    assert_eq!(
        gateway.until_asked(secs(600)),
        Some(secs(9)),
        "it was written before"
    );
    gateway.answer(&set(&[("b", of())]));
    gateway.tick();
    assert!(gateway.all_pass(&token("b", of())));
}

#[test]
fn what_is_refused_for_another_reason_asks_for_nothing() {
    let gateway = Gateway::with(Dialect::Envoy, 1, &config(), &set(&[("a", of())]));
    let claims = json!({"iss": ISSUER, "aud": "rag-api", "exp": 1});
    let expired = of().token("EdDSA", json!({"kid": "b"}), &claims);
    assert!(gateway.all_refuse(&expired, 401, "expired"));
    let stranger = token_by("https://evil.example", "b", of());
    assert!(gateway.all_refuse(&stranger, 401, "unknown_issuer"));
    assert_eq!(gateway.until_asked(secs(500)), None);
}

/// A token without a `kid`.
fn nameless(key: &Key) -> String {
    let claims = json!({"iss": ISSUER, "aud": "rag-api", "exp": 4_000_000_000_u64});
    key.token("EdDSA", json!({}), &claims)
}

/// A set whose key has no name.
fn set_without_names(key: &Key) -> CallAnswer {
    let mut jwk = key.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    ok(json!({"keys": [jwk]}).to_string())
}

#[test]
fn a_key_that_was_replaced_under_its_old_name_or_without_any_is_fetched() {
    for dialect in Dialect::BOTH {
        for (before, after, new) in [
            (
                set(&[("a", of())]),
                set(&[("a", other())]),
                token("a", other()),
            ),
            (
                set_without_names(of()),
                set_without_names(other()),
                nameless(other()),
            ),
            (
                set_without_names(of()),
                set_without_names(other()),
                token("a", other()),
            ),
        ] {
            let gateway = Gateway::with(dialect, 2, &config(), &before);
            gateway.wait(secs(60));
            // Again and again: it is remembered as one whose signature is bad.
            for _ in 0..3 {
                assert!(gateway.all_refuse(&new, 401, "signature"), "{dialect:?}");
            }
            gateway.fetch(&after);
            assert!(gateway.all_pass(&new), "{dialect:?}: the new set decides");
        }
    }
}

#[test]
fn what_is_remembered_as_bad_asks_again_while_the_issuer_lags_behind() {
    let gateway = Gateway::with(Dialect::Envoy, 2, &config(), &set(&[("a", of())]));
    gateway.wait(secs(60));
    let new = token("a", other());
    for _ in 0..3 {
        assert!(gateway.all_refuse(&new, 401, "signature"));
        gateway.fetch(&set(&[("a", of())]));
        assert_eq!(gateway.until_asked(secs(30)), None, "it asks once");
    }
    assert!(gateway.all_refuse(&new, 401, "signature"));
    gateway.fetch(&set(&[("a", other())]));
    assert!(gateway.all_pass(&new));
}

#[test]
fn a_flood_of_bad_signatures_causes_one_refetch_per_interval() {
    for dialect in Dialect::BOTH {
        for workers in [1, 4] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            for second in 1..=60_u64 {
                gateway.wait(secs(1));
                for worker in &gateway.workers {
                    for n in 0..3 {
                        let claims = json!({
                            "iss": ISSUER, "aud": "rag-api", "exp": 4_000_000_000_u64,
                            "n": second * 10 + n
                        });
                        let forged = other().token("EdDSA", json!({"kid": "a"}), &claims);
                        assert_ne!(ask(worker, &forged).0, 200);
                    }
                    worker.tick();
                    gateway.answer(&set(&[("a", of())]));
                }
            }
            assert_eq!(gateway.fetches("ok"), 1 + 6, "{dialect:?} {workers}");
        }
    }
}

#[test]
fn a_name_that_the_set_does_not_have_is_that_of_its_only_key_without_one() {
    let gateway = Gateway::with(Dialect::Kong, 2, &config(), &set_without_names(of()));
    assert!(gateway.all_pass(&token("whatever", of())));
    gateway.wait(secs(1));
    assert!(gateway.all_refuse(&token("whatever", other()), 401, "signature"));
    assert_eq!(gateway.until_asked(secs(60)), Some(secs(9)));
}

#[test]
fn a_key_that_was_replaced_by_one_for_another_algorithm_is_fetched() {
    let mut provider = provider(ISSUER, &remote());
    provider["algorithms"] = json!(["ES256", "EdDSA"]);
    let config = providers(&[("p", provider)]);
    let before = set(&[("a", Key::of("ES256"))]);
    let gateway = Gateway::with(Dialect::Envoy, 2, &config, &before);
    gateway.wait(secs(60));
    assert!(gateway.all_refuse(&token("a", of()), 401, "algorithm"));
    gateway.fetch(&set(&[("a", of())]));
    assert!(gateway.all_pass(&token("a", of())));
}

#[test]
fn a_bad_signature_by_a_secret_asks_for_no_keys() {
    let mut provider = provider(ISSUER, &remote());
    provider["algorithms"] = json!(["HS256", "EdDSA"]);
    let secret = json!({"secret": {"value": "a-secret-of-thirty-two-bytes-or-more"}, "kid": "s"});
    provider["keys"].as_array_mut().unwrap().push(secret);
    let config = providers(&[("p", provider)]);
    let gateway = Gateway::with(Dialect::Envoy, 1, &config, &set(&[("a", of())]));
    let claims = json!({"iss": ISSUER, "aud": "rag-api", "exp": 4_000_000_000_u64});
    let forged = crate::tests::sign("guessed", &json!({"alg": "HS256", "kid": "s"}), &claims);
    gateway.wait(secs(60));
    assert!(gateway.all_refuse(&forged, 401, "signature"));
    assert_eq!(gateway.until_asked(secs(60)), None);
    assert!(gateway.all_refuse(&token("a", other()), 401, "signature"));
    assert!(gateway.until_asked(secs(60)).is_some());
}
