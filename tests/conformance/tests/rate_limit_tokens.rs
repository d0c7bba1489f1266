//! `rate_limit`: what bodies of requests and of answers say, row by row, on the hosts that show them.

use portcullis_conformance::{
    FilterSubject, Handle, ModuleSubject, Seen, Sent, Subject, Then, module, token,
    where_bodies_are_shown,
};
use portcullis_edge::Edge;
use portcullis_rate_limit::RateLimit;
use portcullis_sim::Dialect;
use portcullis_testhost::Host;
use serde_json::json;

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];

/// 1,000 units: a token of the prompt is one, one of the answer four.
const BUDGET: &str = r#"{"capacity":64,"log":"usage","limits":[{"name":"tokens","key":["client_address"],"quota":1000,"window":"1h",
    "cost":{"tokens":{"input":1,"output":4},"reserve":{"input":10,"output":{"default":50,"at_most":200}}}}]}"#;

fn post() -> Sent {
    Sent::new("POST", "/v1/chat/completions").with("x-request-id", "one-request")
}

fn admitted(subject: &mut dyn Subject, body: &str) -> Handle {
    let (seen, handle) = subject.send(post(), body.as_bytes());
    assert_eq!(seen.refused, None, "{seen:?}");
    handle
}

fn left_of(headers: &[(String, String)]) -> Option<u32> {
    let mut named = headers.iter().filter(|(name, _)| name == "ratelimit");
    let (_, state) = named.next()?;
    let left = state.split(";r=").nth(1)?.split(';').next()?;
    left.parse().ok()
}

/// What is left, asked by a request that the upstream refuses, so that it takes nothing.
fn left(subject: &mut dyn Subject) -> Option<u32> {
    let handle = admitted(subject, r#"{"max_tokens":1}"#);
    left_of(&subject.finish(handle, Then::Upstream(429)))
}

#[test]
fn what_a_request_asks_for_is_charged_before_it_goes_on_and_what_it_used_at_its_end() {
    where_bodies_are_shown::<RateLimit>(BUDGET, |subject| {
        let handle = admitted(subject, r#"{"model":"m","max_tokens":100,"messages":[]}"#);
        assert_eq!(left_of(&subject.head_with(handle, 200, &EVENTS)), Some(590));
        for part in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"Hal\"}}]}\r\n\r\nda",
            "ta: {\"choices\":[],\"usage\":{\"prompt_tokens\":40,\"comple",
            "tion_tokens\":15}}\n\ndata: [DONE]\n\n",
        ] {
            subject.answer_part(handle, part.as_bytes());
        }
        subject.finish(handle, Then::Upstream(200));
        assert_eq!(left(subject), Some(1_000 - 40 - 60));
        let counted = |subject: &mut dyn Subject, what: &str| {
            subject.metric(&format!("rate_limit_{what}.limit.tokens"))
        };
        assert_eq!(counted(subject, "input_tokens"), 40);
        assert_eq!(counted(subject, "output_tokens"), 15);
        assert_eq!(counted(subject, "estimated"), 0);
        let logs = subject.logs();
        let line = logs.iter().find(|line| line.contains("event=usage"));
        let line = line.expect("it is logged");
        for pair in [
            "limit=tokens",
            "input=40",
            "output=15",
            "known=told",
            "reserved=410",
            "charged=100",
            "request_id=one-request",
        ] {
            assert!(line.split(' ').any(|found| found == pair), "{pair}: {line}");
        }
    });
}

#[test]
fn who_leaves_pays_for_what_came_and_nobody_for_what_was_not_served() {
    where_bodies_are_shown::<RateLimit>(BUDGET, |subject| {
        let handle = admitted(subject, "{}");
        subject.head_with(handle, 200, &EVENTS);
        subject.answer_part(handle, b"data: {\"response\":\"12345678\"}\n\n");
        subject.finish(handle, Then::ClientGone);
        assert_eq!(left(subject), Some(1_000 - 10 - 8));
        for then in [Then::Upstream(500), Then::OtherFilter(503)] {
            let handle = admitted(subject, "{}");
            subject.finish(handle, then);
            assert_eq!(left(subject), Some(1_000 - 10 - 8), "{then:?}");
        }
        // The upstream has it, and nobody knows what it did.
        let handle = admitted(subject, "{}");
        subject.finish(handle, Then::ClientGone);
        assert_eq!(left(subject), Some(1_000 - 10 - 8 - 210));
    });
}

#[test]
fn a_request_is_refused_before_anything_of_it_goes_on() {
    where_bodies_are_shown::<RateLimit>(BUDGET, |subject| {
        for (body, status) in [
            ("{", 400),
            ("[1,2", 400),
            (r#"{"max_tokens":200}"#, 0),
            (r#"{"max_tokens":200}"#, 429),
        ] {
            let (seen, handle) = subject.send(post(), body.as_bytes());
            assert_eq!(seen.status(), status, "{body}");
            if status != 0 {
                subject.finish(handle, Then::Upstream(200));
            }
        }
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(1_100_000));
        assert_eq!(subject.send(post(), long.as_bytes()).0.status(), 413);
    });
}

#[test]
fn a_request_without_a_body_waits_for_none() {
    where_bodies_are_shown::<RateLimit>(BUDGET, |subject| {
        let (seen, handle) = subject.begin(Sent::get("/v1/models"));
        assert_eq!(seen.refused, None);
        assert_eq!(
            left_of(&subject.finish(handle, Then::Upstream(200))),
            Some(790)
        );
    });
}

#[test]
fn upstreams_are_asked_for_answers_that_can_be_read_unless_it_is_said_otherwise() {
    let asked = |config: &str, expected: &str| {
        where_bodies_are_shown::<RateLimit>(config, |subject| {
            let sent = post().with("accept-encoding", "gzip, br");
            let (seen, handle) = subject.send(sent, b"{}");
            assert_eq!(seen.header("accept-encoding"), Some(expected));
            subject.finish(handle, Then::Upstream(200));
        });
    };
    asked(BUDGET, "identity");
    let as_sent = BUDGET.replacen('{', r#"{"usage":{"accept_encoding":"as_sent"},"#, 1);
    asked(&as_sent, "gzip, br");
}

#[test]
fn a_body_that_is_too_long_goes_no_further_whether_it_says_so_or_not() {
    let config = r#"{"max_body":[{"match":{"paths":[{"prefix":"/upload"}]},"bytes":100000},{"bytes":8}],
        "limits":[{"name":"few","key":["client_address"],"quota":100,"window":"1h"}]}"#;
    where_bodies_are_shown::<RateLimit>(config, |subject| {
        let (seen, _) = subject.begin(Sent::new("POST", "/").with_body(9));
        assert_eq!(seen.status(), 413);
        let (seen, handle) = subject.begin(Sent::new("POST", "/upload").with_body(9));
        assert_eq!(seen.refused, None);
        subject.finish(handle, Then::Upstream(200));
        assert_eq!(subject.metric("rate_limit_body_too_long"), 1);
    });
}

/// One that does not say how long it is goes on until it is too long.
#[test]
fn a_body_of_unknown_length_is_cut_off_where_it_is_too_long() {
    let config = r#"{"max_body":[{"bytes":8}],"limits":[{"name":"few","key":["client_address"],"quota":100,"window":"1h"}]}"#;
    let mut subjects: [Box<dyn Subject>; 3] = [
        Box::new(FilterSubject::new("rate_limit", Dialect::Envoy, config, 1)),
        Box::new(FilterSubject::new("rate_limit", Dialect::Kong, config, 1)),
        Box::new(ModuleSubject::new("rate_limit", config)),
    ];
    for subject in &mut subjects {
        let chunked = Sent::new("POST", "/").with("transfer-encoding", "chunked");
        let (seen, handle) = subject.begin(chunked);
        assert_eq!(seen.refused, None);
        if !subject.is_kong() {
            assert_eq!(subject.send_part(handle, b"12345", false), None);
        }
        let refused = subject.send_part(handle, b"67890", true);
        let refused = refused.filter(|_| !subject.is_kong());
        assert_eq!(
            refused.map(|seen| seen.status()),
            (!subject.is_kong()).then_some(413)
        );
        subject.finish(handle, Then::Upstream(200));
    }
}

/// In `edge` a body is read once the token was looked at, and what the token says goes with the request all the same.
#[test]
fn in_edge_nothing_of_a_strangers_body_is_read_and_a_callers_request_goes_on_as_ever() {
    let config = json!({
        "jwt_auth": {
            "providers": { "d": {
                "issuer": "https://auth.example", "audiences": ["rag-api"], "algorithms": ["HS256"],
                "keys": [{ "secret": { "env": "JWT_SECRET_KEY" } }],
                "forward": { "claims": { "sub": "x-user-id" } },
            } },
            "rules": [{ "require": { "any_of": ["d"] } }],
        },
        "rate_limit": {
            "capacity": 64,
            "limits": [
                { "name": "address", "key": ["client_address"], "quota": 3, "window": "1h" },
                { "name": "tokens", "key": ["claim:sub"], "quota": 1000, "window": "1h",
                  "cost": { "tokens": {}, "reserve": { "output": { "default": 50, "at_most": 200 } } } },
            ],
            "before_auth": ["address"],
        },
    });
    where_bodies_are_shown::<Edge>(&config.to_string(), |subject| {
        let good = || post().with("authorization", &format!("Bearer {}", token::token()));
        let (seen, handle) =
            subject.send(good().with("x-user-id", "forged"), b"{\"max_tokens\":5}");
        assert_eq!(seen.refused, None, "{seen:?}");
        assert_eq!(seen.values("x-user-id"), ["alice"]);
        let headers = subject.finish(handle, Then::Upstream(200));
        assert!(left_of(&headers).is_some());
        let stranger = post().with("authorization", "Bearer a.b.c");
        let (seen, handle) = subject.begin(stranger.with_body(5));
        let is_policy = seen.status() == Seen::WAITS && seen.body == "waits";
        assert!(is_policy || seen.status() == 401, "{seen:?}");
        if is_policy {
            subject.send_part(handle, b"{}   ", true);
        }
        subject.finish(handle, Then::Upstream(200));
        // What a limit refuses is counted nowhere; the next one is the third of its address.
        for (body, status) in [("{", 400), ("{}", 0), ("{}", 429)] {
            let (seen, handle) = subject.send(good(), body.as_bytes());
            assert_eq!(seen.status(), status);
            subject.finish(handle, Then::Upstream(200));
        }
    });
}

#[test]
fn on_kong_what_goes_by_bodies_is_refused_aloud() {
    for config in [
        BUDGET.to_owned(),
        BUDGET.replace(r#"{"default":50,"at_most":200}"#, "50"),
        r#"{"limits":[{"name":"few","key":["client_address"],"quota":100,"window":"1h","cost":{"field":{"json":"n","at_most":5}}}]}"#
            .to_owned(),
    ] {
        let host = Host::builder(Dialect::Kong).root_id("rate_limit");
        let mut host = host.build(&module("rate_limit"), config.as_bytes()).unwrap();
        let said = |line: &str| line.contains("limits[0].cost") && line.contains("bod");
        assert!(host.logs().iter().any(|line| said(&line.text)), "{:?}", host.logs());
        let request = portcullis_testhost::Request::get("/");
        let answer = host.request(0, request).unwrap();
        assert_eq!(answer.outcome.local_status(), Some(503));
    }
    // What stands in the query alone is no body.
    let config = r#"{"limits":[{"name":"few","key":["client_address"],"quota":100,"window":"1h","cost":{"field":{"query":"n","at_most":5}}}]}"#;
    let mut filter = FilterSubject::new("rate_limit", Dialect::Kong, config, 1);
    let (seen, handle) = filter.begin(Sent::get("/?n=4"));
    assert_eq!(seen.refused, None);
    assert_eq!(
        left_of(&filter.finish(handle, Then::Upstream(200))),
        Some(96)
    );
}
