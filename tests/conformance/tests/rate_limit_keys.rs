//! `rate_limit`: buckets, costs, and everything that clients are told apart by.

use portcullis_conformance::{Sent, Subject, Then, everywhere};
use portcullis_rate_limit::RateLimit;

/// One limit of three a minute, with these keys instead of its own.
fn limit(rest: &str) -> String {
    format!(
        r#"{{"capacity":64,"limits":[{{"name":"l","quota":3,"window":"1m",{rest},"mode":"enforce"}}]}}"#
    )
}

fn admitted(subject: &mut dyn Subject, requests: usize, sent: &Sent) -> usize {
    (0..requests)
        .filter(|_| subject.ask(sent.clone()).refused.is_none())
        .count()
}

#[test]
fn a_bucket_gives_its_burst_at_once_and_then_a_token_at_a_time() {
    let config = limit(r#""key":["client_address"],"algorithm":"token_bucket","burst":5"#);
    everywhere::<RateLimit>(&config, |subject| {
        let get = Sent::get("/");
        assert_eq!(admitted(subject, 9, &get), 5);
        let seen = subject.ask(get.clone());
        assert_eq!(
            (seen.status(), seen.header("retry-after")),
            (429, Some("20"))
        );
        assert_eq!(seen.header("ratelimit"), Some(r#""l";r=0;t=20"#));
        assert_eq!(seen.header("ratelimit-policy"), Some(r#""l";q=3;w=60"#));
        subject.advance_millis(19_999);
        assert_eq!(admitted(subject, 3, &get), 0);
        subject.advance_millis(1);
        assert_eq!(admitted(subject, 3, &get), 1);
        subject.advance_millis(600_000);
        assert_eq!(admitted(subject, 9, &get), 5);
        assert_eq!(subject.metric("rate_limit_allowed.limit.l"), 11);
    });
}

#[test]
fn requests_cost_what_their_kind_costs_and_what_costs_nothing_is_told_where_it_stands() {
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        let config = limit(&format!(
            r#""key":["client_address"],"algorithm":"{algorithm}","costs":[
                {{"match":{{"paths":[{{"prefix":"/free"}}]}},"cost":0}},
                {{"match":{{"paths":[{{"prefix":"/dear"}}]}},"cost":2}}]"#
        ));
        everywhere::<RateLimit>(&config, |subject| {
            let left = |subject: &mut dyn Subject, path: &str| {
                let (seen, handle) = subject.begin(Sent::get(path));
                let headers = subject.finish(handle, Then::Upstream(200));
                let value = headers
                    .iter()
                    .find(|(name, _)| name == "x-ratelimit-remaining");
                (seen.status(), value.map(|(_, value)| value.clone()))
            };
            let remaining = |left: &str| (0, Some(left.to_owned()));
            assert_eq!(left(subject, "/free"), remaining("3"), "{algorithm}");
            assert_eq!(left(subject, "/dear"), remaining("1"), "{algorithm}");
            assert_eq!(
                left(subject, "/dear").0,
                429,
                "{algorithm}: as a whole or not at all"
            );
            assert_eq!(left(subject, "/cheap"), remaining("0"), "{algorithm}");
            assert_eq!(left(subject, "/cheap").0, 429, "{algorithm}");
            for _ in 0..5 {
                assert_eq!(left(subject, "/free"), remaining("0"), "{algorithm}");
            }
        });
    }
}

#[test]
fn each_part_of_a_key_tells_apart_what_differs_in_it_and_nothing_else() {
    let get = || Sent::get("/a");
    for (part, same, other) in [
        ("path", Sent::get("/%61?x"), Sent::get("/b")),
        ("method", Sent::get("/b"), Sent::new("POST", "/a")),
        (
            "host",
            get().at("RAG.example:8080"),
            get().at("other.example"),
        ),
        ("query:k", Sent::get("/b?K=%31"), Sent::get("/a?k=2")),
        (
            "cookie:k",
            get().with("cookie", "x=y; k=1"),
            get().with("cookie", "k=2"),
        ),
        ("header:k", get().with("K", "1"), get().with("k", "2")),
    ] {
        let first = match part {
            "query:k" => Sent::get("/a?k=1"),
            "cookie:k" => get().with("cookie", "k=1"),
            "header:k" => get().with("k", "1"),
            _ => get(),
        };
        let config = limit(&format!(r#""key":["{part}"]"#));
        everywhere::<RateLimit>(&config, |subject| {
            assert_eq!(admitted(subject, 2, &first), 2, "{part}");
            assert_eq!(
                admitted(subject, 5, &same.clone().from("192.0.2.9")),
                1,
                "{part}"
            );
            assert_eq!(admitted(subject, 5, &other), 3, "{part}");
        });
    }
}

#[test]
fn what_all_have_in_common_is_one_key() {
    everywhere::<RateLimit>(&limit(r#""key":["constant"]"#), |subject| {
        assert_eq!(admitted(subject, 2, &Sent::get("/a")), 2);
        let other = Sent::new("POST", "/b").from("192.0.2.9");
        assert_eq!(admitted(subject, 5, &other), 1);
    });
}

#[test]
fn paths_with_two_readings_are_counted_together() {
    everywhere::<RateLimit>(&limit(r#""key":["path"]"#), |subject| {
        let paths = ["/a//b", "//", "/x//", "/a//c", "/b//"];
        let passed = paths.map(|path| subject.ask(Sent::get(path)).refused.is_none());
        assert_eq!(passed.iter().filter(|passed| **passed).count(), 3);
    });
}

#[test]
fn a_part_that_is_missing_is_skipped_denied_or_shared() {
    for part in ["query:k", "cookie:k", "header:k"] {
        for (when, passed, status) in [("skip", 5, 0), ("deny", 0, 400), ("share", 3, 429)] {
            let config = limit(&format!(r#""key":["{part}"],"when_key_missing":"{when}""#));
            everywhere::<RateLimit>(&config, |subject| {
                assert_eq!(
                    admitted(subject, 5, &Sent::get("/a?k=")),
                    passed,
                    "{part} {when}"
                );
                assert_eq!(
                    subject.ask(Sent::get("/a")).status(),
                    status,
                    "{part} {when}"
                );
            });
        }
    }
}

#[test]
fn a_claim_is_read_from_the_header_that_a_filter_before_writes() {
    let config = limit(r#""key":["claim:sub"]"#).replacen(
        '{',
        r#"{"claim_headers":{"sub":"x-user-id"},"#,
        1,
    );
    everywhere::<RateLimit>(&config, |subject| {
        let alice = Sent::get("/").with("x-user-id", "alice");
        assert_eq!(admitted(subject, 5, &alice.from("192.0.2.9")), 3);
        assert_eq!(
            admitted(subject, 5, &Sent::get("/").with("x-user-id", "bob")),
            3
        );
        assert_eq!(
            admitted(subject, 5, &Sent::get("/")),
            5,
            "without the claim"
        );
    });
}

#[test]
fn a_client_behind_proxies_is_found_in_the_standard_header() {
    let config = limit(r#""key":["client_address"]"#).replacen(
        '{',
        r#"{"client_address":{"trusted_proxies":["192.0.2.0/24"],"header":"forwarded"},"#,
        1,
    );
    everywhere::<RateLimit>(&config, |subject| {
        let behind = |line: &str| Sent::get("/").with("forwarded", line);
        let client = behind("for=1.1.1.1, for=\"[2001:db8::1]:99\";proto=https, for=192.0.2.7");
        assert_eq!(admitted(subject, 2, &client), 2);
        assert_eq!(
            admitted(subject, 5, &behind("for=\"[2001:db8::2]\"")),
            1,
            "of one /64"
        );
        assert_eq!(admitted(subject, 5, &behind("for=198.51.100.7")), 3);
        assert_eq!(
            admitted(subject, 2, &behind("for=198.51.100.8, for=_hidden")),
            2
        );
        assert_eq!(
            admitted(subject, 5, &behind("nonsense")),
            1,
            "both are the proxy's"
        );
    });
}

#[test]
fn several_values_where_one_belongs_share_one_count_however_they_are_written() {
    let get = || Sent::get("/");
    let junk = |n: usize| format!("j{n}");
    type Kind = fn(Sent, &str) -> Sent;
    let rows: [(&str, Kind); 9] = [
        ("header:x-api-key", |sent, junk| {
            sent.with("x-api-key", "REAL").with("x-api-key", junk)
        }),
        ("header:x-api-key", |sent, junk| {
            sent.with("x-api-key", junk).with("x_api_key", "REAL")
        }),
        ("header:x-api-key", |sent, junk| {
            sent.with("x.api.key", junk).with("x-api-key", "REAL")
        }),
        ("header:x-api-key", |sent, junk| {
            sent.with("x-api-key", &format!("REAL, {junk}"))
        }),
        ("cookie:k", |sent, junk| {
            sent.with("cookie", &format!("k=REAL; k={junk}"))
        }),
        ("cookie:k", |sent, junk| {
            sent.with("cookie", "k=REAL")
                .with("cookie", &format!("k={junk}"))
        }),
        ("query:k", |sent, junk| Sent {
            path: format!("/?k=REAL&K={junk}"),
            ..sent
        }),
        ("query:k", |sent, junk| Sent {
            path: format!("/?k=REAL&k[]={junk}"),
            ..sent
        }),
        ("query:k", |sent, junk| Sent {
            path: format!("/?k=REAL;x={junk}"),
            ..sent
        }),
    ];
    for (part, kind) in rows {
        for (when, passed, status) in [("skip", 3, 429), ("share", 3, 429), ("deny", 0, 400)] {
            let config = limit(&format!(r#""key":["{part}"],"when_key_missing":"{when}""#));
            everywhere::<RateLimit>(&config, |subject| {
                let statuses = (0..8).map(|n| subject.ask(kind(get(), &junk(n))).status());
                let statuses: Vec<u16> = statuses.collect();
                let refused = statuses.iter().filter(|seen| **seen == status).count();
                assert_eq!(refused, 8 - passed, "{part} {when}: {statuses:?}");
            });
        }
    }
}

#[test]
fn another_way_to_write_a_value_is_no_other_key() {
    let get = || Sent::get("/");
    for (part, spellings) in [
        (
            "header:x-api-key",
            [
                get().with("x-api-key", "v"),
                get().with("X_API_KEY", "v"),
                get().with("x.api.key", "v"),
            ],
        ),
        (
            "cookie:k",
            [
                get().with("cookie", "k=v"),
                get().with("cookie", "a=b; k=\"v\""),
                get().with("cookie", "k=%76"),
            ],
        ),
        (
            "query:k",
            ["/?k=v", "/?%4B=%76", "/?x=y&k[]=v"].map(Sent::get),
        ),
        (
            "header_line:x-dn",
            [
                get().with("x-dn", "CN=a, O=b"),
                get().with("X-DN", "CN=a, O=b"),
                get().with("x_dn", "CN=a, O=b"),
            ],
        ),
    ] {
        everywhere::<RateLimit>(&limit(&format!(r#""key":["{part}"]"#)), |subject| {
            let mut passed = 0;
            for sent in spellings.iter().cycle().take(9) {
                passed += usize::from(subject.ask(sent.clone()).refused.is_none());
            }
            assert_eq!(passed, 3, "{part}");
            assert_eq!(subject.metric("rate_limit_skipped.limit.l"), 0, "{part}");
        });
    }
}

#[test]
fn what_is_skipped_is_counted_and_logged_once() {
    everywhere::<RateLimit>(
        &limit(r#""key":["method","header:x-api-key"]"#),
        |subject| {
            assert_eq!(admitted(subject, 7, &Sent::get("/")), 7);
            assert_eq!(subject.metric("rate_limit_skipped.limit.l"), 7);
            let lines = subject.logs();
            let told: Vec<_> = lines
                .iter()
                .filter(|line| line.contains("event=skipped"))
                .collect();
            assert_eq!(told.len(), 1, "{lines:?}");
            assert!(
                told[0].ends_with("event=skipped reason=key_missing limit=l part=header:x-api-key"),
                "{told:?}"
            );
        },
    );
}
