//! Fetches that fail: what is counted, when they are tried again, and how long the last set serves.

use super::*;

/// 10 minutes of `refresh`, and then half an hour.
fn stale_soon() -> Value {
    config_with(json!({"refresh": "10m", "max_stale": "30m"}))
}

/// Answers that bring no set, each with what it is counted as.
fn failures() -> Vec<(CallAnswer, &'static str)> {
    let good = jwks(&[("a", of())]).to_string();
    let many: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(|kid| (&**kid, of())).collect();
    let padded = format!("{good}{}", " ".repeat(256 * 1024));
    let private = json!({"keys": [of().private_jwk()]}).to_string();
    vec![
        (status(500, &good), "status"),
        (status(404, ""), "status"),
        (status(204, ""), "status"),
        (status(302, &good), "status"),
        (unreachable(), "unreachable"),
        (ok(&padded), "too_large"),
        (set(&many), "too_large"),
        (ok("<html>not today</html>"), "malformed"),
        (ok(""), "malformed"),
        (ok("{}"), "malformed"),
        (ok(format!("{good}{good}")), "malformed"),
        (ok(r#"{"keys":"a"}"#), "malformed"),
        (ok(r#"{"keys":["a"]}"#), "no_usable_key"),
        (ok(r#"{"keys":[]}"#), "no_usable_key"),
        (
            ok(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
            "no_usable_key",
        ),
        (ok(private), "no_usable_key"),
    ]
}

#[test]
fn each_failure_is_counted_and_logged_as_what_it_is_and_the_good_set_stays() {
    for dialect in Dialect::BOTH {
        for (answer, result) in failures() {
            let gateway = Gateway::with(dialect, 2, &config(), &set(&[("a", of())]));
            gateway.until_asked(secs(600)).unwrap();
            let asked = gateway.asking()[0];
            gateway.answer(&answer);
            gateway.tick();
            for word in [
                "status",
                "unreachable",
                "too_large",
                "malformed",
                "no_usable_key",
            ] {
                assert_eq!(
                    gateway.fetches(word),
                    u64::from(word == result),
                    "{result}: {word}"
                );
            }
            assert_eq!(gateway.fetches("ok"), 1);
            assert!(gateway.all_pass(&token("a", of())), "{result}");
            let lines = gateway.worker(asked).telemetry.lines();
            let line = format!("plugin=jwt_auth event=keys_not_fetched provider=p result={result}");
            assert!(lines.last().unwrap().starts_with(&line), "{lines:?}");
        }
    }
}

#[test]
fn a_failure_at_the_start_leaves_requests_refused_until_a_set_comes() {
    for (answer, result) in failures() {
        let gateway = Gateway::new(Dialect::Envoy, 2, &config());
        gateway.fetch(&answer);
        assert_eq!(gateway.fetches(result), 1);
        assert!(
            gateway.all_refuse(&token("a", of()), 503, "keys_unavailable"),
            "{result}"
        );
        assert_eq!(gateway.until_asked(secs(60)), Some(secs(1)), "{result}");
        gateway.answer(&set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{result}");
    }
}

#[test]
fn retries_come_after_1_2_4_and_at_most_30_seconds_whoever_makes_them() {
    for dialect in Dialect::BOTH {
        for workers in [1, 3] {
            let gateway = Gateway::with(dialect, workers, &config(), &set(&[("a", of())]));
            gateway.until_asked(secs(600)).unwrap();
            for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
                gateway.answer(&status(500, ""));
                assert_eq!(
                    gateway.until_asked(secs(60)),
                    Some(secs(pause)),
                    "{dialect:?}"
                );
                gateway.workers.iter().rev().for_each(Worker::tick);
                assert_eq!(gateway.asking().len(), 1);
            }
            gateway.answer(&set(&[("a", of())]));
            assert_eq!(gateway.until_asked(secs(539)), None, "all is well again");
            gateway.until_asked(secs(61)).unwrap();
            gateway.answer(&status(500, ""));
            let pause = gateway.until_asked(secs(60));
            assert_eq!(pause, Some(secs(1)), "the count starts anew");
        }
    }
}

#[test]
fn the_pause_begins_when_a_fetch_has_failed() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &config());
        gateway.tick();
        for pause in [1, 2, 4, 8] {
            gateway.wait(secs(3));
            gateway.answer(&unreachable());
            assert_eq!(
                gateway.until_asked(secs(60)),
                Some(secs(pause)),
                "{dialect:?}"
            );
        }
    }
}

#[test]
fn retries_are_not_rarer_than_refreshes() {
    let config = config_with(json!({"refresh": "5s"}));
    let gateway = Gateway::new(Dialect::Envoy, 1, &config);
    gateway.tick();
    for pause in [1, 2, 4, 5, 5, 5] {
        gateway.answer(&unreachable());
        assert_eq!(gateway.until_asked(secs(60)), Some(secs(pause)));
    }
}

/// Lets the fetches that come fail until this long has passed since the last good one.
fn fail_until(gateway: &Gateway, since_good: Span) {
    let end = gateway.world.clock.read().after(since_good);
    while gateway.world.clock.read() < end {
        let left = end.since(gateway.world.clock.read());
        gateway.wait(secs(1).min(left));
        gateway.tick();
        gateway.answer(&status(500, ""));
    }
}

#[test]
fn a_set_serves_until_refresh_and_max_stale_are_over_and_not_a_nanosecond_longer() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::with(dialect, 2, &stale_soon(), &set(&[("a", of())]));
        let known = token("a", of());
        assert!(gateway.all_pass(&known));
        fail_until(&gateway, Span::from_nanos(secs(2400).as_nanos() - 1));
        assert!(gateway.all_pass(&known), "{dialect:?}");
        let hits = metric(gateway.worker(0), "cache_hits");
        assert!(hits > 0, "{dialect:?}: the token was remembered");
        gateway.wait(Span::from_nanos(1));
        assert!(gateway.all_refuse(&known, 503, "keys_stale"), "{dialect:?}");
        let stranger = token("b", of());
        assert!(
            gateway.all_refuse(&stranger, 503, "keys_stale"),
            "{dialect:?}: who knows"
        );
        let (reply, _) = ask_for_reply(gateway.worker(0), &known).unwrap_err();
        let retry_after = ("retry-after".into(), "5".to_owned());
        assert!(reply.headers.contains(&retry_after), "{:?}", reply.headers);

        gateway.until_asked(secs(31)).unwrap();
        gateway.answer(&set(&[("a", of())]));
        gateway.tick();
        assert!(
            gateway.all_pass(&known),
            "{dialect:?}: healed by the same set"
        );
        assert!(
            gateway.all_refuse(&stranger, 401, "unknown_kid"),
            "{dialect:?}"
        );
        fail_until(&gateway, Span::from_nanos(secs(2400).as_nanos() - 1));
        assert!(gateway.all_pass(&known), "{dialect:?}: for as long again");
    }
}

#[test]
fn a_token_that_was_verified_before_a_refresh_does_not_end_with_the_set_of_then() {
    let gateway = Gateway::with(Dialect::Envoy, 1, &stale_soon(), &set(&[("a", of())]));
    let good = token("a", of());
    assert!(gateway.all_pass(&good));
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(&set(&[("a", of())]));
    fail_until(&gateway, secs(2300));
    assert!(
        gateway.all_pass(&good),
        "more than refresh and max_stale after it was verified"
    );
}

#[test]
fn a_failure_of_ours_lets_pass_where_on_error_says_so() {
    let mut config = config();
    config["on_error"] = json!("allow");
    let gateway = Gateway::new(Dialect::Envoy, 1, &config);
    assert!(gateway.all_pass(&token("a", of())));
    gateway.fetch(&set(&[("a", of())]));
    assert!(
        gateway.all_refuse(&token("b", of()), 401, "unknown_kid"),
        "that is none of ours"
    );
}

#[test]
fn an_upstream_that_does_not_answer_is_named() {
    for (answer, said) in [
        (unreachable(), "result=unreachable upstream=idp"),
        (status(503, ""), "result=unreachable upstream=idp"),
        (status(404, ""), "result=status upstream=idp status=404"),
    ] {
        let gateway = Gateway::new(Dialect::Kong, 1, &config());
        gateway.tick();
        gateway.answer(&answer);
        let lines = gateway.worker(0).telemetry.lines();
        let line = format!("plugin=jwt_auth event=keys_not_fetched provider=p {said}");
        assert_eq!(lines.last(), Some(&line));
    }
}

#[test]
fn an_upstream_that_there_is_not_is_named() {
    let gateway = Gateway::new(Dialect::Envoy, 1, &config());
    gateway.tick();
    let worker = gateway.worker(0);
    worker.answer_call(&portcullis_policy::NoReply::NoSuchUpstream);
    assert_eq!(gateway.fetches("no_such_upstream"), 1);
    assert_eq!(gateway.fetches("unreachable"), 0);
    assert_eq!(
        worker.telemetry.lines().last().unwrap(),
        "plugin=jwt_auth event=keys_not_fetched provider=p result=no_such_upstream upstream=idp"
    );
    assert_eq!(
        gateway.until_asked(secs(60)),
        Some(secs(1)),
        "as any failure"
    );
}

#[test]
fn a_key_that_is_left_out_is_named_once_and_of_many_the_first() {
    let skipped = |worker: &Worker<JwtAuth>| -> Vec<String> {
        let lines = worker.telemetry.lines();
        let told = lines
            .iter()
            .filter_map(|line| line.split_once("event=key_skipped "));
        told.map(|(_, rest)| rest.to_owned()).collect()
    };
    let odd = |kid: &str| json!({"kty": "AKP", "kid": kid});
    let publish = |odd: &[Value]| {
        let keys: Vec<Value> = std::iter::once(of().jwk())
            .chain(odd.iter().cloned())
            .collect();
        ok(json!({"keys": keys}).to_string())
    };
    let why = "why=\"`kty` is not RSA, EC or OKP\"";
    let gateway = Gateway::with(
        Dialect::Envoy,
        1,
        &config(),
        &publish(&[odd("pq"), json!(null)]),
    );
    let worker = gateway.worker(0);
    let told = [
        format!("provider=p key=\"keys[1]\" kid=pq {why}"),
        "provider=p key=\"keys[2]\" why=\"not an object that has each member once\"".to_owned(),
    ];
    assert_eq!(skipped(worker), told);
    assert_eq!(metric(worker, "jwks_skipped.provider.p"), 2);
    // The same again says nothing new, another one does.
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(&publish(&[odd("pq"), json!(null)]));
    assert_eq!(skipped(worker), told);
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(&publish(&[odd("pq2")]));
    assert_eq!(skipped(worker).len(), 3);
    assert_eq!(metric(worker, "jwks_skipped.provider.p"), 1);
    // A set in which there is nothing else; and no more lines than anybody reads.
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(&ok(json!({"keys": vec![odd("pq3"); 60]}).to_string()));
    let lines = skipped(worker);
    assert_eq!(lines.len(), 3 + 8 + 1);
    assert_eq!(
        lines[3],
        format!("provider=p key=\"keys[0]\" kid=pq3 {why}")
    );
    assert_eq!(lines[11], "provider=p more=52");
    assert_eq!(gateway.fetches("no_usable_key"), 1);
    // As many as are told.
    gateway.until_asked(secs(600)).unwrap();
    gateway.answer(&publish(&vec![odd("pq4"); 8]));
    assert_eq!(skipped(worker).len(), 12 + 8);
}
