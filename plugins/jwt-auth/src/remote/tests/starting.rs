//! A gateway starts: who asks, and what becomes of requests meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis_policy::Policy as _;
use portcullis_sim::SeededEntropy;

use super::*;

#[test]
fn without_keys_a_token_is_refused_for_now_and_passes_once_the_set_has_come() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 1, &config());
        let worker = gateway.worker(0);
        let good = token("a", of());
        for _ in 0..3 {
            let (reply, reason) = ask_for_reply(worker, &good).unwrap_err();
            assert_eq!(
                (reply.status, &*reason),
                (503, "keys_unavailable"),
                "{dialect:?}"
            );
            let retry_after = ("retry-after".into(), "5".to_owned());
            assert!(reply.headers.contains(&retry_after), "{:?}", reply.headers);
        }
        assert_eq!(worker.call(), None, "neither the start nor a request asks");
        worker.tick();
        assert!(worker.call().is_some());
        assert_eq!(ask(worker, &good), refused(503, "keys_unavailable"));
        worker.answer_call(&set(&[("a", of())]));
        assert_eq!(ask(worker, &good).0, 200, "at once, without another tick");
        assert_eq!(ask(worker, &token("a", other())), refused(401, "signature"));
        assert_eq!(worker.call(), None);
    }
}

#[test]
fn the_call_is_what_the_configuration_says() {
    let fields = json!({"upstream": "idp:8443", "authority": "ID.example.com:8443",
        "scheme": "http", "path": "/certs?v=1", "timeout": "1500ms"});
    let gateway = Gateway::new(Dialect::Kong, 1, &config_with(fields));
    gateway.tick();
    let expected = HttpCall {
        method: "GET",
        headers: vec![("accept", "application/json")],
        body: Vec::new(),
        upstream: "idp:8443".to_owned(),
        scheme: "http",
        authority: "id.example.com:8443".to_owned(),
        path: "/certs?v=1".to_owned(),
        timeout: Span::from_millis(1500),
    };
    assert_eq!(gateway.call(), expected);
    let gateway = Gateway::new(Dialect::Kong, 1, &config());
    gateway.tick();
    assert_eq!(
        (gateway.call().scheme, gateway.call().timeout),
        ("https", secs(3))
    );
}

#[test]
fn one_worker_asks_for_all_whatever_the_order_of_their_ticks() {
    for (dialect, workers, seed) in cases() {
        let gateway = Gateway::new(dialect, workers, &config());
        let dice = SeededEntropy::new(seed);
        let shuffled = || {
            let mut order: Vec<usize> = (0..workers).collect();
            for last in (1..workers).rev() {
                order.swap(last, dice.below(last as u64 + 1) as usize);
            }
            order.into_iter().map(|number| gateway.worker(number))
        };
        for refresh in 1..=3_u64 {
            let kid = refresh.to_string();
            let whole = secs(600);
            assert!(refresh == 1 || gateway.until_asked(whole).is_some());
            for _ in 0..3 {
                shuffled().for_each(Worker::tick);
            }
            assert_eq!(gateway.asking().len(), 1, "{dialect:?} {workers} {seed}");
            gateway.answer(&set(&[(&kid, of())]));
            for worker in shuffled() {
                worker.tick();
                assert!(
                    passes(worker, &token(&kid, of())),
                    "{dialect:?} {workers} {seed}"
                );
            }
            assert_eq!(gateway.fetches("ok"), refresh);
            assert!(gateway.asking().is_empty(), "{dialect:?} {workers} {seed}");
        }
    }
}

fn cases() -> impl Iterator<Item = (Dialect, usize, u64)> {
    let seeds = |(dialect, workers)| (0..4).map(move |seed| (dialect, workers, seed));
    let workers = |dialect| [1, 2, 4].map(|workers| (dialect, workers));
    Dialect::BOTH.into_iter().flat_map(workers).flat_map(seeds)
}

#[test]
fn of_two_that_find_a_fetch_due_at_the_same_moment_one_asks() {
    for dialect in Dialect::BOTH {
        let gateway = Gateway::new(dialect, 1, &config());
        let (world, others) = (gateway.world.clone(), Arc::new(AtomicU32::new(0)));
        let asked = Arc::clone(&others);
        gateway.world.zone.before_next_set(move |_| {
            let other: Worker<JwtAuth> = world.worker(&config().to_string()).unwrap();
            other.tick();
            asked.fetch_add(u32::from(other.call().is_some()), Ordering::SeqCst);
        });
        gateway.tick();
        assert_eq!(
            others.load(Ordering::SeqCst),
            1,
            "{dialect:?}: the other was first"
        );
        assert!(gateway.asking().is_empty(), "{dialect:?}");
    }
}

#[test]
fn a_policy_that_is_off_asks_nobody() {
    let mut off = config();
    off["mode"] = json!("off");
    let gateway = Gateway::new(Dialect::Envoy, 2, &off);
    assert_eq!(gateway.until_asked(secs(60)), None);
    assert!(gateway.world.zone.is_empty());
}

#[test]
fn workers_that_wait_for_one_another_look_often_enough() {
    let gateway = Gateway::new(Dialect::Envoy, 1, &config());
    assert_eq!(gateway.worker(0).policy.tick_every(), TICK);
}

/// Two workers have fetched a set of two keys and a third one that is none.
fn with_a_key_of_no_use() -> Gateway {
    let gateway = Gateway::new(Dialect::Envoy, 2, &config());
    let mut document = jwks(&[("a", of()), ("b", other())]);
    document["keys"]
        .as_array_mut()
        .unwrap()
        .push(json!({"kty": "oct", "k": "AAAA"}));
    gateway.fetch(&ok(document.to_string()));
    gateway
}

#[test]
fn what_came_is_logged_and_shown() {
    let gateway = with_a_key_of_no_use();
    let changed = "plugin=jwt_auth event=keys_changed provider=p keys=2 skipped=1";
    let skipped = "plugin=jwt_auth event=key_skipped provider=p key=\"keys[2]\" \
                   why=\"a secret has no place in a set of public keys; expected `secret`\"";
    assert_eq!(gateway.worker(0).telemetry.lines(), [skipped, changed]);
    // Only who has fetched it knows why.
    assert_eq!(gateway.worker(1).telemetry.lines(), [changed]);
    assert_eq!(metric(gateway.worker(0), "jwks_skipped.provider.p"), 1);
    for worker in &gateway.workers {
        assert_eq!(metric(worker, "jwks_keys.provider.p"), 2);
        let now = gateway.world.clock.read().unix_secs();
        assert_eq!(metric(worker, "jwks_fetched_at.provider.p"), now);
    }
}

#[test]
fn all_workers_show_the_same_of_what_came() {
    let gateway = with_a_key_of_no_use();
    let [one, other] = [0, 1].map(|number| gateway.worker(number));
    assert_eq!(one.telemetry.lines().last(), other.telemetry.lines().last());
    for name in ["keys", "skipped", "fetched_at"] {
        let name = format!("jwks_{name}.provider.p");
        assert_eq!(metric(one, &name), metric(other, &name), "{name}");
    }
}

#[test]
fn only_a_policy_that_is_on_and_has_a_set_to_fetch_fetches() {
    use portcullis_policy::Policy as _;
    let fetches = |config: &Value| {
        Gateway::new(Dialect::Kong, 1, config)
            .worker(0)
            .policy
            .fetches()
    };
    assert!(fetches(&config()));
    let mut off = config();
    off["mode"] = json!("off");
    assert!(!fetches(&off));
    let mut fixed = config();
    let secret = json!([{"secret": {"value": "a-secret-of-thirty-two-bytes-or-more"}}]);
    fixed["providers"]["p"]["algorithms"] = json!(["HS256"]);
    fixed["providers"]["p"]["keys"] = secret;
    assert!(!fetches(&fixed));
}
