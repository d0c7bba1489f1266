//! What a request costs on the warm path, and what a flood costs.

use portcullis_conformance::token::token;
use portcullis_conformance::{FilterSubject, Sent, Subject, Then};
use portcullis_sim::Dialect;

/// As in `envoy/edge.yaml`: one limit, one breaker, two claims forwarded, all header families.
const EDGE: &str = r#"{
    "jwt_auth":{"providers":{"dashboard":{
            "issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{"secret":{"env":"JWT_SECRET_KEY"},"kid":"k1"}],
            "forward":{"claims":{"sub":"x-user-id","scope":"x-user-scopes"}}}},
        "rules":[{"match":{"paths":[{"prefix":"/api"}]},"require":{"any_of":["dashboard"],"scopes":["rag:read"]}}]},
    "rate_limit":{"limits":[{"name":"per_ip","key":["client_address"],"quota":100000,"window":"1m"}],"before_auth":["per_ip"]},
    "circuit_breaker":{"breakers":[{"name":"rag","match":{"paths":[{"prefix":"/api"}]},"trip":{"consecutive_failures":5}}]},
    "service_token":{"credential":{"kind":"static","secrets":[{"id":"a","env":"INTER_SERVICE_SECRET"}]}}}"#;

fn request() -> Sent {
    let sent =
        Sent::get("/api/v1/rag/search?q=x").with("authorization", &format!("Bearer {}", token()));
    (0..10).fold(sent, |sent, n| sent.with(&format!("x-header-{n}"), "value"))
}

#[test]
fn the_warm_path_of_edge_keeps_within_its_budget() {
    for dialect in Dialect::BOTH {
        let mut subject = FilterSubject::new("edge", dialect, EDGE, 1);
        // A breaker that has failed before and is closed again: its slot is there to be read.
        (&mut subject as &mut dyn Subject).exchange(request(), Then::Upstream(503));
        for _ in 0..3 {
            subject.ask(request());
        }
        subject.host.reset_calls();
        assert_eq!(subject.ask(request()).refused, None);
        let calls = subject.host.calls();
        println!(
            "{dialect:?}: {} calls return a value, {} do not, {} callbacks, {} bytes in, {} bytes out\n{:#?}\n{:#?}",
            calls.value_calls(),
            calls.other_calls(),
            calls.callbacks().values().sum::<u64>(),
            calls.bytes_in(),
            calls.bytes_out(),
            calls.hostcalls(),
            calls.callbacks(),
        );
        // On Kong a request's version of HTTP is asked for, too: whether it may have a body that it did not announce.
        let most = if dialect == Dialect::Envoy { 6 } else { 7 };
        assert!(calls.value_calls() <= most, "{dialect:?}");
        assert!(calls.callbacks().values().sum::<u64>() <= 6, "{dialect:?}");
        // On Kong response headers are set one by one: whether a whole list can be put back there
        // was never measured.
        let most = if dialect == Dialect::Envoy { 8 } else { 14 };
        assert!(
            calls.other_calls() <= most,
            "{dialect:?}: {}",
            calls.other_calls()
        );
    }
}

#[test]
fn a_million_random_keys_leave_memory_where_it_was() {
    for dialect in Dialect::BOTH {
        let config = r#"{"limits":[{"name":"key","key":["header:x-key"],"quota":10,"window":"1m"}],"capacity":4096}"#;
        let mut subject = FilterSubject::new("rate_limit", dialect, config, 1);
        let flood = |subject: &mut FilterSubject, from: u64, count: u64| {
            for key in from..from + count {
                let key = format!("{:016x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                assert_eq!(
                    subject.exchange_plain(Sent::get("/").with("x-key", &key)),
                    None
                );
            }
        };
        flood(&mut subject, 0, 50_000);
        let (memory, zone, keys) = (
            subject.host.memory_bytes(0),
            subject.host.zone().bytes(),
            subject.host.zone().len(),
        );
        flood(&mut subject, 50_000, 950_000);
        assert_eq!(subject.host.memory_bytes(0), memory, "{dialect:?}");
        assert_eq!(subject.host.zone().bytes(), zone, "{dialect:?}");
        assert_eq!(
            (keys, subject.host.zone().len()),
            (4096 / 8 + 2, 4096 / 8 + 2)
        );
        assert_eq!(subject.host.open_streams(0), 0);
        assert!(subject.metric("rate_limit_evictions.limit.key") > 900_000);
        let handle = subject.begin(Sent::get("/").with("x-key", "last")).1;
        subject.finish(handle, Then::Upstream(200));
    }
}
