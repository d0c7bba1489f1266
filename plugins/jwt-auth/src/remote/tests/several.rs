//! Several key sets: of several providers, or of one.

use super::*;

const Q: &str = "https://q.example";

fn two(p: Value, q: Value) -> Value {
    providers(&[("p", provider(ISSUER, &p)), ("q", provider(Q, &q))])
}

/// `p` and `q`, each with a set of its own.
fn apart(timeout: &str) -> Value {
    let of_p = remote_with(json!({"path": "/p", "timeout": timeout}));
    let of_q = remote_with(json!({"path": "/q", "timeout": timeout}));
    two(of_p, of_q)
}

fn q_token(kid: &str, key: &Key) -> String {
    token_by(Q, kid, key)
}

#[test]
fn providers_with_the_same_source_share_one_fetch() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2] {
            let gateway = Gateway::new(dialect, workers, &two(remote(), remote()));
            for (refresh, kid) in [(1, "a"), (2, "b")] {
                gateway.until_asked(secs(600)).unwrap();
                gateway.tick();
                assert_eq!(gateway.asking().len(), 1, "{dialect:?} {workers}");
                gateway.answer(&set(&[(kid, of())]));
                assert!(gateway.asking().is_empty(), "{dialect:?} {workers}");
                gateway.tick();
                assert!(gateway.all_pass(&token(kid, of())), "{dialect:?} {workers}");
                assert!(
                    gateway.all_pass(&q_token(kid, of())),
                    "{dialect:?} {workers}"
                );
                let fetches = gateway.fetches_of("p", "ok") + gateway.fetches_of("q", "ok");
                assert_eq!(fetches, refresh, "{dialect:?} {workers}");
            }
        }
    }
}

#[test]
fn keys_of_one_provider_are_not_those_of_another() {
    let gateway = Gateway::new(Dialect::Kong, 1, &apart("3s"));
    gateway.tick();
    assert_eq!(gateway.call().path, "/p");
    gateway.answer(&set(&[("a", of())]));
    assert_eq!(
        gateway.call().path,
        "/q",
        "the other's turn comes with the first one's end"
    );
    assert!(gateway.all_pass(&token("a", of())));
    assert!(gateway.all_refuse(&q_token("b", other()), 503, "keys_unavailable"));
    gateway.answer(&set(&[("b", other())]));
    assert!(gateway.all_pass(&token("a", of())) && gateway.all_pass(&q_token("b", other())));
    assert!(gateway.all_refuse(&q_token("a", of()), 401, "unknown_kid"));
    assert!(gateway.all_refuse(&token("b", other()), 401, "unknown_kid"));
}

fn paths(worker: &Worker<JwtAuth>) -> Vec<String> {
    worker.calls().into_iter().map(|call| call.path).collect()
}

#[test]
fn a_worker_asks_for_all_sets_at_once_and_takes_the_answers_as_they_come() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 2, &apart("3s"));
        gateway.tick();
        assert_eq!(paths(gateway.worker(0)), ["/p", "/q"], "{dialect:?}");
        assert_eq!(
            paths(gateway.worker(1)),
            [""; 0],
            "{dialect:?}: under a lease"
        );
        let worker = gateway.worker(0);
        worker.answer_call_where(|call| call.path == "/q", &set(&[("b", other())]));
        gateway.tick();
        assert!(gateway.all_pass(&q_token("b", other())), "{dialect:?}");
        assert!(gateway.all_refuse(&token("b", other()), 503, "keys_unavailable"));
        worker.answer_call_where(|call| call.path == "/p", &set(&[("a", of())]));
        gateway.tick();
        assert!(gateway.all_pass(&token("a", of())), "{dialect:?}");
        assert_eq!(paths(worker), [""; 0], "{dialect:?}");
    }
}

#[test]
fn each_set_is_led_to_by_its_own_issuers_description() {
    let discovers =
        |authority: &str| json!({"upstream": "idp", "authority": authority, "discovery": true});
    let config = two(discovers("id.example.com"), discovers("q.example"));
    let gateway = Gateway::new(Dialect::Kong, 1, &config);
    let worker = gateway.worker(0);
    gateway.tick();
    let answer = |authority: &str, answer: &CallAnswer| {
        worker.answer_call_where(|call| call.authority == authority, answer);
    };
    let description = |issuer: &str, host: &str| {
        let uri = format!("https://{host}/certs");
        ok(json!({"issuer": issuer, "jwks_uri": uri}).to_string())
    };
    answer("q.example", &description(Q, "q.example"));
    answer("id.example.com", &description(ISSUER, "id.example.com"));
    assert_eq!(paths(worker), ["/certs", "/certs"]);
    answer("id.example.com", &set(&[("a", of())]));
    answer("q.example", &set(&[("b", other())]));
    assert!(gateway.all_pass(&token("a", of())) && gateway.all_pass(&q_token("b", other())));
}

#[test]
fn more_sets_than_calls_get_their_turn_one_after_the_other() {
    let names: Vec<String> = (10..30).map(|n| format!("p{n}")).collect();
    let entries = names.iter().map(|name| {
        let fields = json!({"path": format!("/{name}"), "timeout": "3s"});
        (
            name.as_str(),
            provider(&format!("https://{name}.example"), &remote_with(fields)),
        )
    });
    let gateway = Gateway::new(Dialect::Envoy, 1, &providers(&entries.collect::<Vec<_>>()));
    let worker = gateway.worker(0);
    gateway.tick();
    assert_eq!(worker.calls().len(), portcullis_policy::MOST_CALLS);
    worker.answer_call_where(|call| call.path == "/p17", &set(&[("a", of())]));
    assert_eq!(worker.calls().len(), portcullis_policy::MOST_CALLS);
    assert_eq!(worker.calls().last().unwrap().path, "/p26");
    while worker.call().is_some() {
        worker.answer_call(&set(&[("a", of())]));
    }
    for name in &names {
        let token = token_by(&format!("https://{name}.example"), "a", of());
        assert!(gateway.all_pass(&token), "{name}");
    }
}

#[test]
fn an_issuer_that_hangs_delays_no_others_keys() {
    for dialect in Dialect::BOTH {
        for workers in [1, 2] {
            let gateway = Gateway::new(dialect, workers, &apart("60s"));
            let mut refreshes = 0;
            for tick in 1..=36_000_u64 {
                gateway.wait(TICK);
                gateway.tick();
                for worker in &gateway.workers {
                    if paths(worker).iter().any(|path| path == "/q") {
                        refreshes += 1;
                        let fresh = set(&[("b", of())]);
                        worker.answer_call_where(|call| call.path == "/q", &fresh);
                    }
                    if tick % 610 == 0 {
                        worker.answer_call_where(|call| call.path == "/p", &unreachable());
                    }
                }
                gateway.tick();
                if tick == 1 {
                    assert!(
                        gateway.all_pass(&q_token("b", of())),
                        "{dialect:?} {workers}"
                    );
                }
            }
            assert!(
                (6..=7).contains(&refreshes),
                "{refreshes} in an hour of refreshes of ten minutes"
            );
        }
    }
}

#[test]
fn a_change_of_one_providers_keys_leaves_what_is_remembered_of_the_other() {
    let gateway = Gateway::new(Dialect::Envoy, 1, &apart("3s"));
    let worker = gateway.worker(0);
    let publish = |p: &str| {
        gateway.until_asked(secs(600)).unwrap();
        while let Some(call) = worker.call() {
            let kid = if call.path == "/p" { p } else { "b" };
            worker.answer_call(&set(&[(kid, of())]));
        }
    };
    publish("a");
    assert!(passes(worker, &token("a", of())) && passes(worker, &q_token("b", of())));
    publish("c");
    publish("c");
    assert_eq!(ask(worker, &token("a", of())), refused(401, "unknown_kid"));
    assert_eq!(metric(worker, "cache_hits"), 0);
    assert!(passes(worker, &q_token("b", of())));
    assert_eq!(metric(worker, "cache_hits"), 1);
}

/// One provider with two sets, and perhaps a key of its own.
fn joined(fixed: &[Value]) -> Value {
    let fields = |path: &str| json!({"path": path, "max_stale": "10m"});
    let sets = ["/one", "/two"].map(|path| json!({"remote_jwks": remote_with(fields(path))}));
    let mut provider = provider(ISSUER, &remote());
    provider["keys"] = fixed.iter().cloned().chain(sets).collect();
    providers(&[("p", provider)])
}

/// What is published there; `None`: no answer.
fn publish(gateway: &Gateway, one: Option<&str>, two: Option<&str>) {
    let worker = gateway.worker(0);
    worker.tick();
    while let Some(call) = worker.call() {
        let kid = if call.path == "/one" { one } else { two };
        let answer = kid.map_or(unreachable(), |kid| set(&[(kid, of())]));
        worker.answer_call(&answer);
    }
}

#[test]
fn a_provider_may_have_two_sets() {
    let gateway = Gateway::new(Dialect::Envoy, 1, &joined(&[]));
    publish(&gateway, Some("a"), None);
    assert!(
        gateway.all_pass(&token("a", of())),
        "the one that is there serves"
    );
    let missing = gateway.all_refuse(&token("b", of()), 503, "keys_unavailable");
    assert!(missing, "it may be in the one that is not there");
    gateway.wait(secs(1));
    publish(&gateway, Some("a"), Some("b"));
    assert!(gateway.all_pass(&token("a", of())) && gateway.all_pass(&token("b", of())));
    assert!(gateway.all_refuse(&token("c", of()), 401, "unknown_kid"));
    assert_eq!(metric(gateway.worker(0), "jwks_keys.provider.p"), 2);
}

#[test]
fn keys_of_the_configuration_need_no_set() {
    let fixed = json!({"public_key": {"pem": other().public_pem()}, "kid": "f"});
    let gateway = Gateway::new(Dialect::Envoy, 1, &joined(&[fixed]));
    assert!(gateway.all_pass(&token("f", other())));
    assert!(gateway.all_refuse(&token("a", of()), 503, "keys_unavailable"));
    publish(&gateway, Some("a"), Some("b"));
    assert!(gateway.all_pass(&token("f", other())) && gateway.all_pass(&token("a", of())));
}

#[test]
fn a_set_that_is_stale_is_no_reason_to_check_every_token_of_the_others() {
    let gateway = Gateway::new(Dialect::Envoy, 1, &joined(&[]));
    publish(&gateway, Some("a"), Some("b"));
    for _ in 0..120 {
        gateway.wait(secs(10));
        publish(&gateway, Some("a"), None);
    }
    assert!(gateway.all_refuse(&token("b", of()), 503, "keys_stale"));
    let worker = gateway.worker(0);
    let before = metric(worker, "cache_hits");
    for _ in 0..3 {
        assert!(passes(worker, &token("a", of())));
    }
    assert!(metric(worker, "cache_hits") >= before + 2);
}

#[test]
fn a_token_that_was_refused_while_its_set_was_stale_passes_when_the_set_is_back() {
    let fixed = json!({"public_key": {"pem": other().public_pem()}});
    let gateway = Gateway::new(Dialect::Envoy, 1, &joined(&[fixed]));
    let claims = json!({"iss": ISSUER, "aud": "rag-api", "exp": 4_000_000_000_u64});
    let nameless = of().token("EdDSA", json!({}), &claims);
    publish(&gateway, Some("a"), Some("b"));
    assert!(gateway.all_pass(&nameless));
    gateway.wait(secs(1200));
    assert!(gateway.all_refuse(&nameless, 503, "keys_stale"));
    publish(&gateway, Some("a"), Some("b"));
    assert!(gateway.all_pass(&nameless));
}
