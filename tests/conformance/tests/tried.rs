//! `portcullis try` shows what the built filters do: the same requests, one after another, come to the same.

use portcullis_cli::filter::{Filter, Host};
use portcullis_cli::loaded::{Choice, Given, Loaded};
use portcullis_cli::requests::{Asked, line};
use portcullis_cli::source::Source;
use portcullis_cli::trial::record::{Header, Record};
use portcullis_cli::trial::{CLIENT, Fails, Setting, Trial, Upstream};
use portcullis_conformance::token::{token, token_with};
use portcullis_conformance::{ENV, FilterSubject, START_UNIX_SECS, Sent, Subject, Then};
use portcullis_policy::{Span, Timestamp};
use portcullis_sim::Dialect;
use serde_json::json;

const CONFIG: &str = r#"{
    "jwt_auth":{"realm":"rag","providers":{"dashboard":{
            "issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{"secret":{"env":"JWT_SECRET_KEY"},"kid":"k1"}],
            "forward":{"claims":{"sub":"x-user-id"}}}},
        "rules":[{"match":{"paths":[{"exact":"/open"}]},"allow":"anyone"},
            {"match":{"paths":[{"prefix":"/api"}]},"require":{"any_of":["dashboard"]}}]},
    "rate_limit":{"capacity":64,"headers":"both","limits":[
            {"name":"per_ip","key":["client_address"],"quota":20,"window":"1m","algorithm":"sliding_window"},
            {"name":"per_user","key":["claim:sub"],"quota":8,"window":"1m","algorithm":"token_bucket","burst":4}],
        "before_auth":["per_ip"]},
    "circuit_breaker":{"breakers":[{"name":"rag","match":{"paths":[{"prefix":"/api"}]},
        "trip":{"consecutive_failures":3},"open_for":{"initial":"10s","jitter":0}}]},
    "service_token":{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}}"#;

/// Numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn under(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % bound
    }
}

fn some_request(numbers: &mut Numbers, tokens: &[String]) -> Sent {
    let path = [
        "/api/search",
        "/api/search?q=x",
        "/open",
        "/elsewhere",
        "/api//x/../y",
    ];
    let path = path[usize::try_from(numbers.under(16))
        .unwrap()
        .saturating_sub(11)];
    let method = if numbers.under(8) == 0 { "POST" } else { "GET" };
    let mut sent = Sent::new(method, path)
        .from(["192.0.2.1", "192.0.2.2"][usize::from(numbers.under(3) == 0)]);
    if numbers.under(6) > 0 {
        let token = &tokens[usize::try_from(numbers.under(tokens.len() as u64)).unwrap()];
        sent = sent.with("authorization", &format!("Bearer {token}"));
    }
    if numbers.under(4) == 0 {
        sent = sent
            .with("x-user-id", "root")
            .with("X-Service-Token", "forged");
    }
    sent
}

fn some_answer(numbers: &mut Numbers) -> (Then, Upstream) {
    let upstream = Upstream::default();
    match numbers.under(10) {
        0..6 => (Then::Upstream(200), upstream),
        6 | 7 => (
            Then::Upstream(503),
            Upstream {
                status: 503,
                ..upstream
            },
        ),
        8 => (
            Then::ConnectFailure,
            Upstream {
                fails: Some(Fails::Connection),
                ..upstream
            },
        ),
        _ => (
            Then::Timeout,
            Upstream {
                fails: Some(Fails::Timeout),
                ..upstream
            },
        ),
    }
}

fn loaded(host: Host) -> Loaded {
    let source = Source {
        name: "edge.json".to_owned(),
        text: CONFIG.to_owned(),
    };
    let choice = Choice {
        filter: Filter::named("edge").map(|filter| (filter, host)),
        chain: None,
    };
    let named = ENV.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let given = Given {
        named: named.to_vec(),
        ..Given::default()
    };
    Loaded::new(source, choice, given).expect("it can be tried")
}

/// What is compared of headers: those that filters set.
fn compared(headers: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    const NAMES: [&str; 6] = [
        "ratelimit",
        "x-ratelimit",
        "retry-after",
        "x-user-id",
        "x-service-token",
        "authorization",
    ];
    let named = headers.map(|(name, value)| (name.to_ascii_lowercase(), value));
    // On Kong a header can't be removed, only emptied.
    let mut compared: Vec<_> = named
        .filter(|(name, value)| {
            !value.is_empty() && NAMES.iter().any(|known| name.starts_with(known))
        })
        .collect();
    compared.sort();
    compared
}

fn of_trial(headers: &[Header]) -> Vec<(String, String)> {
    let headers = headers.iter();
    compared(headers.map(|header| (header.name.clone(), header.value.clone())))
}

#[test]
fn what_is_tried_comes_as_the_filters_have_it() {
    let (alice, bob) = (token(), token_with(json!({ "sub": "bob" })));
    let expired = token_with(json!({ "exp": 1 }));
    let tokens = [
        alice.clone(),
        alice,
        bob.clone(),
        bob,
        expired,
        "guessed".to_owned(),
    ];
    for (dialect, host) in [(Dialect::Envoy, Host::Envoy), (Dialect::Kong, Host::Kong)] {
        let mut numbers = Numbers(7);
        let mut built = FilterSubject::new("edge", dialect, CONFIG, 1);
        let loaded = loaded(host);
        let setting = Setting {
            at: Timestamp::from_unix_secs(START_UNIX_SECS),
            client: CLIENT,
            answers: Default::default(),
        };
        let trial = Trial::start(&loaded.chain, setting, |configured| {
            loaded.variables(configured)
        });
        let mut trial = trial.expect("it can be tried");
        let mut expected = Vec::new();
        for _ in 0..400 {
            let millis = numbers.under(6_000);
            built.advance_millis(millis);
            built.tick();
            trial.wait(Span::from_millis(millis));
            let sent = some_request(&mut numbers, &tokens);
            let (then, upstream) = some_answer(&mut numbers);
            trial.send(&asked(&sent), &upstream);
            let (seen, handle) = built.begin(sent);
            let answered = built.finish(handle, then);
            expected.push((seen, answered));
        }
        let records = trial.finish();
        let mut refusals = 0;
        for (record, (seen, answered)) in records.iter().zip(expected) {
            let at = format!("{dialect:?}: {record:#?}");
            assert_eq!(refused(record), seen.refused, "{at}");
            let (headers, of_filter) = match &record.backend {
                Some(backend) => (&backend.headers, seen.headers),
                None => (&record.answer.headers, seen.headers),
            };
            assert_eq!(of_trial(headers), compared(of_filter.into_iter()), "{at}");
            if seen.refused.is_none() {
                let answered = compared(answered.into_iter());
                assert_eq!(of_trial(&record.answer.headers), answered, "{at}");
            }
            refusals += usize::from(seen.refused.is_some());
        }
        assert!(
            (100..300).contains(&refusals),
            "{refusals} of 400 are refused"
        );
    }
}

/// The status of a refusal; `None` where the request goes on.
fn refused(record: &Record) -> Option<u16> {
    record.backend.is_none().then_some(record.answer.status)
}

fn asked(sent: &Sent) -> Asked {
    let mut asked = line::parse(&format!("{} {}", sent.method, sent.path)).expect("a request");
    asked.authority.clone_from(&sent.authority);
    asked.client = sent.peer.parse().ok();
    for (name, value) in &sent.headers {
        asked.add(name, value);
    }
    asked
}
