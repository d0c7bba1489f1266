//! Requests that are held until the key has come that their token needs.

use std::time::Duration;

use portcullis_conformance::{START_UNIX_SECS, module};
use portcullis_sim::Dialect;
use portcullis_testhost::{CallReply, End, Exchange, FailRule, Host, Outcome, Request, Response};

use super::*;

/// A provider whose keys are fetched, and waited for.
fn waits() -> String {
    let remote = json!({
        "upstream": "idp", "authority": "id.example.com", "path": "/certs", "wait": "2s"
    });
    let forward = json!({"claims": {"sub": "x-user-id"}});
    let provider = json!({"keys": [{"remote_jwks": remote}], "forward": forward});
    config(provider, json!({}))
}

fn waits_in(filter: &str) -> String {
    match filter {
        "edge" => format!(r#"{{"jwt_auth":{}}}"#, waits()),
        _ => waits(),
    }
}

fn host(filter: &str, workers: usize) -> Host {
    let config = waits_in(filter);
    Host::builder(Dialect::Envoy)
        .workers(workers)
        .now_unix_nanos(START_UNIX_SECS * 1_000_000_000)
        .build(&module(filter), config.as_bytes())
        .unwrap_or_else(|error| panic!("{filter}: {error}"))
}

/// A request with this token, which its client says is alice's.
fn ask(host: &mut Host, worker: usize, token: &str) -> Exchange {
    let request = Request::get("/api/x")
        .header("authorization", &format!("Bearer {token}"))
        .header("x-user-id", "forged");
    host.request(worker, request).expect("no trap")
}

fn tick(host: &mut Host, worker: usize) {
    host.advance(Duration::from_millis(100));
    host.tick(worker).expect("no trap");
}

fn answer(host: &mut Host, reply: CallReply) {
    let token = host.pending_calls().first().expect("a call").token;
    host.reply_to_call(token, reply).expect("no trap");
}

fn keys(kids: &[&str]) -> CallReply {
    let keys: Vec<_> = kids.iter().map(|kid| (*kid, Key::of("EdDSA"))).collect();
    CallReply::status(200).body(portcullis_issuer::jwks(&keys).to_string())
}

fn named(kid: &str) -> String {
    good(json!({"kid": kid}), json!({}))
}

fn both(test: impl Fn(&str)) {
    for filter in ["jwt_auth", "edge"] {
        test(filter);
    }
}

#[test]
fn a_request_that_is_there_before_the_keys_goes_on_once_they_are() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let mut held = ask(&mut host, 0, &named("d1"));
        let mut forged = ask(
            &mut host,
            0,
            &token(
                Key::other("EdDSA"),
                "EdDSA",
                json!({"kid": "d1"}),
                json!({}),
            ),
        );
        assert_eq!(
            (&held.outcome, &forged.outcome),
            (&Outcome::Paused, &Outcome::Paused)
        );
        tick(&mut host, 0);
        host.resume(&mut held).expect("no trap");
        assert_eq!(held.outcome, Outcome::Paused, "{filter}: nothing has come");
        answer(&mut host, keys(&["d1"]));
        host.resume(&mut held).expect("no trap");
        host.resume(&mut forged).expect("no trap");
        let Outcome::Continue { headers } = &held.outcome else {
            panic!("{filter}: {:?}", held.outcome);
        };
        let sent = |name: &str| headers.iter().find(|(known, _)| known == name);
        assert_eq!(sent("authorization"), None, "{filter}");
        let claims = with(json!({}));
        let sub = claims["sub"].as_str().map(str::as_bytes);
        assert_eq!(
            sent("x-user-id").map(|(_, value)| value.as_slice()),
            sub,
            "{filter}"
        );
        assert_eq!(forged.outcome.local_status(), Some(401), "{filter}");
        host.respond(&mut held, Response::upstream(200))
            .expect("no trap");
        host.finish(held, End::Complete).expect("no trap");
        host.finish(forged, End::Complete).expect("no trap");
        tick(&mut host, 0);
        assert_eq!(host.metric("jwt_auth_held"), Some(2), "{filter}");
        assert_eq!(
            host.metric("jwt_auth_allowed.provider.company"),
            Some(1),
            "{filter}"
        );
        assert_eq!(
            host.metric("jwt_auth_denied.reason.signature"),
            Some(1),
            "{filter}"
        );
    });
}

#[test]
fn it_is_held_for_as_long_as_was_configured_and_decided_on_then() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let mut held = ask(&mut host, 0, &named("d1"));
        for passed in 1..20 {
            tick(&mut host, 0);
            host.resume(&mut held).expect("no trap");
            assert_eq!(held.outcome, Outcome::Paused, "{filter} after {passed}");
        }
        tick(&mut host, 0);
        host.resume(&mut held).expect("no trap");
        assert_eq!(held.outcome.local_status(), Some(503), "{filter}");
        host.finish(held, End::Complete).expect("no trap");
    });
}

#[test]
fn a_fetch_that_fails_ends_the_wait() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let mut held = ask(&mut host, 0, &named("d1"));
        answer(&mut host, CallReply::status(500));
        host.resume(&mut held).expect("no trap");
        assert_eq!(held.outcome.local_status(), Some(503), "{filter}");
        host.finish(held, End::Complete).expect("no trap");
        // The next fetch is not due yet: nothing is worth waiting for.
        let next = ask(&mut host, 0, &named("d1"));
        assert_eq!(next.outcome.local_status(), Some(503), "{filter}");
    });
}

#[test]
fn a_token_of_a_new_key_waits_for_that_and_one_of_a_made_up_key_is_refused_after_one_fetch() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        answer(&mut host, keys(&["d1"]));
        assert!(ask(&mut host, 0, &named("d1")).outcome.is_continue());
        host.advance(Duration::from_secs(10));
        let (mut new, mut made_up) = (
            ask(&mut host, 0, &named("d2")),
            ask(&mut host, 0, &named("d9")),
        );
        assert_eq!(
            (&new.outcome, &made_up.outcome),
            (&Outcome::Paused, &Outcome::Paused)
        );
        // What needs no other key, and what could not hold with any, waits for nothing.
        assert!(ask(&mut host, 0, &named("d1")).outcome.is_continue());
        let expired = good(json!({"kid": "d2"}), json!({"exp": 1_000}));
        assert_eq!(
            ask(&mut host, 0, &expired).outcome.local_status(),
            Some(401)
        );
        tick(&mut host, 0);
        answer(&mut host, keys(&["d1", "d2"]));
        host.resume(&mut new).expect("no trap");
        host.resume(&mut made_up).expect("no trap");
        assert!(new.outcome.is_continue(), "{filter}: {:?}", new.outcome);
        assert_eq!(made_up.outcome.local_status(), Some(401), "{filter}");
        // Within `refetch_min_interval` there is no other fetch.
        let again = ask(&mut host, 0, &named("d8"));
        assert_eq!(again.outcome.local_status(), Some(401), "{filter}");
    });
}

#[test]
fn a_key_that_has_come_is_not_asked_for_again() {
    both(|filter| {
        let mut host = host(filter, 2);
        for worker in [0, 1] {
            tick(&mut host, worker);
        }
        answer(&mut host, keys(&["d1"]));
        host.advance(Duration::from_secs(10));
        // One worker fetches, and the other one hears of it with its tick.
        let mut held = [
            ask(&mut host, 0, &named("d2")),
            ask(&mut host, 1, &named("d2")),
        ];
        for worker in [0, 1, 0, 1] {
            tick(&mut host, worker);
        }
        assert_eq!(host.pending_calls().len(), 1, "{filter}");
        answer(&mut host, keys(&["d1", "d2"]));
        for worker in [0, 1] {
            tick(&mut host, worker);
            host.resume(&mut held[worker]).expect("no trap");
            assert!(held[worker].outcome.is_continue(), "{filter} {worker}");
        }
        for _ in 0..150 {
            for worker in [0, 1] {
                tick(&mut host, worker);
            }
        }
        assert!(host.pending_calls().is_empty(), "{filter}");
    });
}

#[test]
fn a_worker_goes_on_with_its_requests_when_another_has_brought_the_keys() {
    both(|filter| {
        let mut host = host(filter, 2);
        tick(&mut host, 0);
        tick(&mut host, 1);
        assert_eq!(host.pending_calls().len(), 1);
        let mut held = ask(&mut host, 1, &named("d1"));
        assert_eq!(held.outcome, Outcome::Paused, "{filter}");
        answer(&mut host, keys(&["d1"]));
        tick(&mut host, 1);
        host.resume(&mut held).expect("no trap");
        assert!(held.outcome.is_continue(), "{filter}: {:?}", held.outcome);
    });
}

#[test]
fn a_client_that_leaves_while_it_is_held_is_forgotten() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let gone = ask(&mut host, 0, &named("d1"));
        let mut stays = ask(&mut host, 0, &named("d1"));
        host.finish(gone, End::ClientGone).expect("no trap");
        answer(&mut host, keys(&["d1"]));
        host.resume(&mut stays).expect("no trap");
        assert!(stays.outcome.is_continue(), "{filter}: {:?}", stays.outcome);
        assert_eq!(host.open_streams(0), 1, "{filter}");
    });
}

#[test]
fn a_worker_holds_no_more_than_it_has_room_for_and_goes_on_with_some_at_a_time() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let token = named("d1");
        let mut held: Vec<_> = (0..256).map(|_| ask(&mut host, 0, &token)).collect();
        assert!(held.iter().all(|held| held.outcome == Outcome::Paused));
        let more = ask(&mut host, 0, &token);
        assert_eq!(more.outcome.local_status(), Some(503), "{filter}");
        let first = held.remove(0);
        host.finish(first, End::ClientGone).expect("no trap");
        held.push(ask(&mut host, 0, &token));
        assert_eq!(held[255].outcome, Outcome::Paused, "{filter}");
        answer(&mut host, keys(&["d1"]));
        let passed = |host: &mut Host, held: &mut Vec<Exchange>| {
            for held in &mut *held {
                host.resume(held).expect("no trap");
            }
            held.iter()
                .filter(|held| held.outcome.is_continue())
                .count()
        };
        // Those that came first go on first.
        for round in 1..=8 {
            assert_eq!(passed(&mut host, &mut held), round * 32, "{filter}");
            assert!(held[round * 32 - 1].outcome.is_continue(), "{filter}");
            tick(&mut host, 0);
        }
    });
}

#[test]
fn what_the_gateway_answers_while_it_is_held_is_not_decided_on_any_more() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        let mut held = ask(&mut host, 0, &named("d1"));
        let late = Response::timeout().details("stream_idle_timeout");
        host.respond(&mut held, late).expect("no trap");
        answer(&mut host, keys(&["d1"]));
        for _ in 0..30 {
            tick(&mut host, 0);
        }
        host.finish(held, End::Complete).expect("no trap");
        tick(&mut host, 0);
        assert_eq!(
            host.metric("jwt_auth_allowed.provider.company"),
            Some(0),
            "{filter}"
        );
        assert_eq!(
            host.metric("jwt_auth_denied.reason.keys_unavailable"),
            Some(0),
            "{filter}"
        );
    });
}

#[test]
fn a_host_that_fails_to_go_on_with_a_request_is_asked_again_and_nothing_passes_unseen() {
    both(|filter| {
        for (call, goes_on) in [
            ("proxy_set_effective_context", true),
            ("proxy_continue_stream", false),
        ] {
            let mut host = host(filter, 1);
            tick(&mut host, 0);
            let mut held = ask(&mut host, 0, &named("d1"));
            host.fail(FailRule::on(call).first(1));
            answer(&mut host, keys(&["d1"]));
            host.resume(&mut held).expect("no trap");
            assert_eq!(held.outcome, Outcome::Paused, "{filter} {call}");
            tick(&mut host, 0);
            host.resume(&mut held).expect("no trap");
            assert_eq!(held.outcome.is_continue(), goes_on, "{filter} {call}");
            host.finish(held, End::ClientGone).expect("no trap");
        }
    });
}

#[test]
fn what_is_not_about_a_key_that_is_fetched_waits_for_none() {
    both(|filter| {
        let mut host = host(filter, 1);
        tick(&mut host, 0);
        for (token, status) in [
            (good(json!({"kid": "d1", "alg": "HS256"}), json!({})), 401),
            (good(json!({"kid": "d1"}), json!({"aud": "others"})), 401),
            (
                good(
                    json!({"kid": "d1"}),
                    json!({"iss": "https://other.example"}),
                ),
                401,
            ),
            ("no.token.at-all".to_owned(), 401),
        ] {
            let exchange = ask(&mut host, 0, &token);
            assert_eq!(
                exchange.outcome.local_status(),
                Some(status),
                "{filter} {token}"
            );
        }
    });
}

#[test]
fn kong_which_can_not_hold_a_request_is_not_told_to() {
    both(|filter| {
        let config = waits_in(filter);
        let host = Host::builder(Dialect::Kong).build(&module(filter), config.as_bytes());
        let mut host = host.expect("it starts, and refuses every request");
        let logs = host.logs();
        let says = |line: &portcullis_testhost::LogLine| {
            line.text.contains("providers.company.keys") && line.text.contains("`wait`")
        };
        assert!(logs.iter().any(says), "{filter}: {logs:?}");
        let refused = ask(&mut host, 0, &named("d1"));
        assert_eq!(refused.outcome.local_status(), Some(503), "{filter}");
    });
}
