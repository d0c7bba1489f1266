//! The warm path: what most requests go through, of which the cost is held.

use serde_json::Value;

use crate::token::token;
use crate::{Sent, Subject, Then};

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

/// A filter's configuration: `edge`'s, or its part of that.
pub fn config(filter: &str) -> String {
    if filter == "edge" {
        return EDGE.to_owned();
    }
    let mut edge: Value = serde_json::from_str(EDGE).expect("JSON");
    let mut part = edge[filter].take();
    if let Some(part) = part.as_object_mut() {
        part.remove("before_auth");
    }
    part.to_string()
}

/// A request with a good token and ten other headers.
pub fn request() -> Sent {
    let sent =
        Sent::get("/api/v1/rag/search?q=x").with("authorization", &format!("Bearer {}", token()));
    (0..10).fold(sent, |sent, n| sent.with(&format!("x-header-{n}"), "value"))
}

/// Asks until the next request is one of many: the token is in the cache, and the breaker was looked at a millisecond ago.
pub fn up(subject: &mut dyn Subject) {
    subject.exchange(request(), Then::Upstream(503));
    for _ in 0..3 {
        assert_eq!(subject.ask(request()).refused, None);
    }
    subject.advance_millis(1);
}

/// Keeps a table of what was counted where `PORTCULLIS_COUNTS` names a folder: `cargo xtask bench` puts it into
/// `docs/performance.md`.
pub fn keep(file: &str, table: &str) {
    println!("{table}");
    if let Some(folder) = std::env::var_os("PORTCULLIS_COUNTS") {
        let path = std::path::Path::new(&folder).join(file);
        std::fs::write(&path, table).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
