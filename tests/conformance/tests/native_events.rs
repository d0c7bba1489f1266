//! Native code under whatever order of events Envoy could come up with, on several streams at once, with faults and panics in
//! between: nothing ends the process, what was refused stays refused, and what was counted adds up.

use portcullis_conformance::{ENV, START_UNIX_SECS, token};
use portcullis_modulehost::{
    Envoy, Header, Outcome, RouteConfig, Stream, advance_millis, forget, have_clock_panic,
    set_clock, set_variable, take_log,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What happens next.
#[derive(Clone, Debug)]
enum Event {
    Request {
        token: bool,
        ends: bool,
        own_route: bool,
        fails: Option<&'static str>,
    },
    Body(usize),
    Respond(usize, u16),
    Whole(usize),
    End(usize, Option<&'static str>),
    Forget(usize),
    Tick,
    Wait(u64),
    ClockPanics(bool),
    Replace,
    DropRoute,
    AnswerCall(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let stream = 0..6_usize;
    let details = prop::option::of(prop::sample::select(vec![
        "downstream_remote_disconnect",
        "upstream_reset_after_response_started{connection_termination}",
        "max_duration_timeout",
        "",
    ]));
    let fails = prop::option::weighted(
        0.1,
        prop::sample::select(vec!["headers", "x-service-token", "x-user-id"]),
    );
    prop_oneof![
        6 => (any::<bool>(), any::<bool>(), any::<bool>(), fails).prop_map(|(token, ends, own_route, fails)| {
            Event::Request { token, ends, own_route, fails }
        }),
        2 => stream.clone().prop_map(Event::Body),
        4 => (stream.clone(), prop::sample::select(vec![200, 404, 500, 503])).prop_map(|(at, status)| Event::Respond(at, status)),
        3 => stream.clone().prop_map(Event::Whole),
        4 => (stream.clone(), details).prop_map(|(at, details)| Event::End(at, details)),
        1 => stream.prop_map(Event::Forget),
        2 => Just(Event::Tick),
        1 => (0..40_000_u64).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::ClockPanics),
        1 => Just(Event::Replace),
        1 => Just(Event::DropRoute),
        1 => any::<bool>().prop_map(Event::AnswerCall),
    ]
}

fn config() -> Value {
    json!({
        "jwt_auth": {
            "providers": {
                "d": {
                    "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
                    "keys": [{ "secret": { "env": "JWT_SECRET_KEY" } }],
                    "forward": { "claims": { "sub": "x-user-id" } },
                },
                "far": {
                    "issuer": "https://far.example", "audiences": ["rag-api"], "algorithms": ["RS256"],
                    "keys": [{ "remote_jwks": { "upstream": "idp", "authority": "far.example", "path": "/jwks", "wait": "2s" } }],
                },
            },
            "rules": [{ "require": { "any_of": ["d", "far"] } }],
        },
        "rate_limit": {
            "limits": [{ "name": "l", "key": ["client_address"], "quota": 20, "window": "10s" }],
            "capacity": 64, "on_error": "allow",
        },
        "circuit_breaker": { "breakers": [{
            "name": "b", "trip": { "consecutive_failures": 3 }, "open_for": { "initial": "5s" },
        }] },
        "service_token": { "credential": {
            "kind": "static", "secrets": [{ "id": "a", "env": "INTER_SERVICE_SECRET" }],
        } },
    })
}

fn headers(with_token: bool) -> Vec<Header> {
    let pairs = [
        (":method", "GET"),
        (":path", "/a"),
        (":authority", "rag"),
        ("x-service-token", "forged"),
    ];
    let mut headers: Vec<Header> = pairs
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .into();
    if with_token {
        let token = format!("Bearer {}", token::token());
        headers.push(("authorization".to_owned(), token.into_bytes()));
    }
    headers
}

/// A stream, and whether it was let pass.
struct Living {
    stream: Stream,
    passes: bool,
}

fn fails_at(what: Option<&'static str>) -> fn(&str) -> bool {
    match what {
        Some("headers") => |what| what == "headers",
        Some("x-service-token") => |what| what == "x-service-token",
        Some(_) => |what| what == "x-user-id",
        None => |_| false,
    }
}

fn run(events: Vec<Event>) {
    set_clock(START_UNIX_SECS * 1_000_000_000);
    forget();
    have_clock_panic(false);
    for (name, value) in ENV {
        set_variable(name, value);
    }
    let config = config().to_string();
    let mut envoy = Envoy::start("edge", &config).unwrap();
    let mut route = Some(RouteConfig::new("edge", &config).unwrap());
    let mut living: Vec<Living> = Vec::new();
    // A configuration that is gone serves the streams that it has.
    let mut before: Vec<(Envoy, Vec<Living>)> = Vec::new();
    for event in events {
        match event {
            Event::Request {
                token,
                ends,
                own_route,
                fails,
            } => {
                let headers = headers(token);
                let (stream, outcome) = match (&route, own_route) {
                    (Some(route), true) => envoy.request_on(route, "192.0.2.1:1", headers),
                    _ => envoy.request_with("192.0.2.1:1", headers, ends, |stream| {
                        stream.fail(fails_at(fails));
                    }),
                };
                let passes = outcome == Outcome::Continue;
                if passes {
                    assert!(token, "nobody passes without a token");
                    let secrets = stream
                        .sent()
                        .iter()
                        .filter(|(name, _)| name == "x-service-token");
                    let secrets: Vec<_> = secrets.map(|(_, value)| value.clone()).collect();
                    assert_eq!(secrets, [ENV[2].1.as_bytes()]);
                }
                living.push(Living { stream, passes });
            }
            Event::Body(at) => {
                if let Some(living) = living.get_mut(at) {
                    let outcome = living.stream.body();
                    assert!(
                        living.passes || outcome != Outcome::Continue,
                        "a body went on alone"
                    );
                }
            }
            Event::Respond(at, status) => {
                if let Some(living) = living.get_mut(at).filter(|living| living.passes) {
                    let head = vec![(":status".to_owned(), status.to_string().into_bytes())];
                    living.stream.respond(head, "via_upstream", true);
                }
            }
            Event::Whole(at) => {
                if let Some(living) = living.get_mut(at).filter(|living| living.passes) {
                    living.stream.respond_whole(Vec::new());
                }
            }
            Event::End(at, details) => {
                if at < living.len() {
                    living.remove(at).stream.end(details);
                    envoy.settle();
                }
            }
            Event::Forget(at) => {
                if at < living.len() {
                    drop(living.remove(at));
                }
            }
            Event::Tick => envoy.tick(),
            Event::Wait(millis) => advance_millis(millis),
            Event::ClockPanics(panics) => have_clock_panic(panics),
            Event::Replace => {
                have_clock_panic(false);
                let next = Envoy::start("edge", &config).unwrap();
                let old = std::mem::replace(&mut envoy, next);
                before.push((old, std::mem::take(&mut living)));
            }
            Event::DropRoute => route = None,
            Event::AnswerCall(well) => {
                if let Some(id) = envoy.calls().first().map(|call| call.id) {
                    let set =
                        portcullis_issuer::jwks(&[("k", portcullis_issuer::Key::of("RS256"))]);
                    let set = set.to_string();
                    envoy.answer(id, well.then_some((200, set.as_bytes())));
                }
            }
        }
        for living in &mut living {
            // What was held goes on, or is answered, of its own accord.
            if !living.passes && living.stream.look() == Outcome::Continue {
                living.passes = true;
            }
        }
    }
    have_clock_panic(false);
    // Whatever panicked, no request waits for longer than it may.
    for _ in 0..100 {
        advance_millis(50);
        envoy.tick();
    }
    for living in living.iter_mut().filter(|living| !living.passes) {
        assert_ne!(
            living.stream.look(),
            Outcome::Held,
            "a request waits for ever"
        );
    }
    // Whoever still holds something lets go of it in any order.
    drop(living);
    for (mut envoy, living) in before {
        drop(living);
        envoy.tick();
    }
    envoy.tick();
    take_log();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_ends_the_process_or_lets_anybody_pass(events in prop::collection::vec(event(), 1..60)) {
        run(events);
    }
}
