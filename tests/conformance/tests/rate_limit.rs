//! `rate_limit`, row by row.

use portcullis_conformance::{Sent, Subject, Then, everywhere};
use portcullis_rate_limit::RateLimit;

fn limits(limit: &str, rest: &str) -> String {
    format!(
        r#"{{"capacity":64,"limits":[{{"name":"per_ip","key":["client_address"],"quota":3,"window":"1m",{limit}"mode":"enforce"}}]{rest}}}"#
    )
}

fn admitted(subject: &mut dyn Subject, requests: usize, sent: &Sent) -> usize {
    (0..requests)
        .filter(|_| subject.ask(sent.clone()).refused.is_none())
        .count()
}

#[test]
fn a_quota_is_admitted_and_no_more_and_the_next_window_starts_afresh() {
    for algorithm in ["fixed_window", "sliding_window"] {
        let config = limits(&format!(r#""algorithm":"{algorithm}","#), "");
        everywhere::<RateLimit>(&config, |subject| {
            assert_eq!(admitted(subject, 7, &Sent::get("/")), 3);
            assert_eq!(admitted(subject, 7, &Sent::get("/").from("192.0.2.2")), 3);
            subject.advance_millis(120_000);
            assert_eq!(admitted(subject, 7, &Sent::get("/")), 3);
            assert_eq!(subject.metric("rate_limit_allowed.limit.per_ip"), 9);
            assert_eq!(subject.metric("rate_limit_limited.limit.per_ip"), 12);
        });
    }
}

/// By default: in bursts across the boundaries of aligned windows, and evenly.
#[test]
fn who_keeps_to_the_quota_is_never_refused_and_who_does_not_is() {
    for (quota, each, pause) in [
        (10, 10, 60_000),
        (50, 50, 60_000),
        (10, 1, 6_000),
        (50, 10, 12_000),
    ] {
        let config = format!(
            r#"{{"capacity":64,"limits":[{{"name":"l","key":["constant"],"quota":{quota},"window":"1m"}}]}}"#
        );
        everywhere::<RateLimit>(&config, |subject| {
            subject.advance_millis(50_000);
            for round in 0..12 {
                let admitted = admitted(subject, each, &Sent::get("/"));
                assert_eq!(admitted, each, "round {round} of {each} of {quota}");
                subject.advance_millis(pause - 3);
            }
            assert_eq!(admitted(subject, quota + 5, &Sent::get("/")), each);
        });
    }
}

#[test]
fn a_refusal_is_a_429_with_retry_after_both_header_families_and_a_problem_document() {
    everywhere::<RateLimit>(&limits(r#""algorithm":"fixed_window","#, ""), |subject| {
        subject.advance_millis(20_000);
        admitted(subject, 3, &Sent::get("/"));
        let seen = subject.ask(Sent::get("/a?token=x").with("x-request-id", "id-1"));
        assert_eq!(seen.status(), 429);
        for (name, value) in [
            ("content-type", "application/problem+json"),
            ("retry-after", "40"),
            ("ratelimit-policy", r#""per_ip";q=3;w=60"#),
            ("ratelimit", r#""per_ip";r=0;t=40"#),
            ("x-ratelimit-limit", "3"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "40"),
            ("x-ratelimit-limit-minute", "3"),
            ("x-ratelimit-remaining-minute", "0"),
        ] {
            assert_eq!(seen.header(name), Some(value), "{name}");
        }
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        assert!(body["type"].as_str().unwrap().ends_with("/quota-exceeded"));
        assert_eq!(
            (&body["status"], &body["request_id"]),
            (&429.into(), &"id-1".into())
        );
        let lines = subject.logs();
        let refusals: Vec<_> = lines
            .iter()
            .filter(|line| line.contains("event=refused"))
            .collect();
        assert_eq!(refusals.len(), 1, "{lines:?}");
        let (line, caller) = refusals[0].split_once(" caller=").unwrap();
        assert!(line.ends_with(
            "plugin=rate_limit event=refused reason=quota_exceeded limit=per_ip status=429 method=GET path=/a request_id=id-1"
        ), "{refusals:?}");
        assert!(caller.starts_with("k.") && caller.len() == 34, "{caller}");
    });
}

#[test]
fn an_admitted_answer_says_what_is_left() {
    everywhere::<RateLimit>(&limits("", ""), |subject| {
        let (seen, handle) = subject.begin(Sent::get("/"));
        assert_eq!(seen.refused, None);
        let headers = subject.finish(handle, Then::Upstream(200));
        let value = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(value("ratelimit"), Some(r#""per_ip";r=2;t=60"#));
        assert_eq!(value("x-ratelimit-remaining-minute"), Some("2"));
    });
}

#[test]
fn shadow_and_off_refuse_nobody() {
    for (mode, counted) in [("shadow", 4), ("off", 0)] {
        everywhere::<RateLimit>(&limits("", &format!(r#","mode":"{mode}""#)), |subject| {
            assert_eq!(admitted(subject, 7, &Sent::get("/")), 7);
            assert_eq!(
                subject.metric("rate_limit_shadow_limited.limit.per_ip"),
                counted
            );
            assert_eq!(subject.metric("rate_limit_limited.limit.per_ip"), 0);
            let (_, handle) = subject.begin(Sent::get("/"));
            let headers = subject.finish(handle, Then::Upstream(200));
            let told = headers.iter().find(|(name, _)| name.contains("ratelimit"));
            assert_eq!(told, None, "{mode}");
            if mode == "shadow" {
                let line = "event=shadow_refused reason=quota_exceeded";
                assert!(subject.logs().iter().any(|told| told.contains(line)));
            }
        });
    }
}

#[test]
fn a_proxy_that_is_trusted_names_the_client_and_nobody_else_does() {
    let config = limits(
        "",
        r#","client_address":{"trusted_proxies":["10.0.0.0/8"]}"#,
    );
    everywhere::<RateLimit>(&config, |subject| {
        let behind = |client: &str| {
            Sent::get("/")
                .from("10.1.1.1")
                .with("x-forwarded-for", client)
        };
        assert_eq!(admitted(subject, 4, &behind("198.51.100.1")), 3);
        assert_eq!(admitted(subject, 4, &behind("198.51.100.2, 10.9.9.9")), 3);
        let direct = |n: usize| Sent::get("/").with("x-forwarded-for", &format!("198.51.100.{n}"));
        assert_eq!(
            (0..9)
                .filter(|n| subject.ask(direct(*n)).refused.is_none())
                .count(),
            3
        );
    });
}

#[test]
fn all_limits_must_admit_and_a_refusal_by_one_charges_no_other() {
    let config = r#"{"capacity":64,"limits":[
        {"name":"wide","key":["client_address"],"quota":10,"window":"1m","algorithm":"fixed_window"},
        {"name":"narrow","match":{"paths":[{"prefix":"/query"}]},"key":["header:x-user"],"quota":2,"window":"1m","algorithm":"fixed_window"}]}"#;
    everywhere::<RateLimit>(config, |subject| {
        assert_eq!(
            admitted(subject, 5, &Sent::get("/query").with("x-user", "u")),
            2
        );
        assert_eq!(admitted(subject, 20, &Sent::get("/search")), 8);
    });
}

#[test]
fn a_request_without_its_key_is_skipped_refused_or_shares_a_count_as_configured() {
    for (missing, expected) in [("skip", 5), ("deny", 0), ("share", 3)] {
        let config = format!(
            r#"{{"capacity":64,"limits":[{{"name":"user","key":["header:x-user"],"quota":3,"window":"1m","when_key_missing":"{missing}"}}]}}"#
        );
        everywhere::<RateLimit>(&config, |subject| {
            assert_eq!(admitted(subject, 5, &Sent::get("/")), expected, "{missing}");
            assert_eq!(admitted(subject, 5, &Sent::get("/").with("x-user", "u")), 3);
        });
    }
}

#[test]
fn preflights_are_not_counted_unless_switched_on() {
    let preflight = Sent::new("OPTIONS", "/")
        .with("origin", "http://a")
        .with("access-control-request-method", "GET");
    for (rest, expected) in [("", 9), (r#","cors_preflight":"check""#, 3)] {
        everywhere::<RateLimit>(&limits("", rest), |subject| {
            assert_eq!(admitted(subject, 9, &preflight), expected);
        });
    }
}

#[test]
fn a_grpc_client_gets_its_refusal_as_a_status() {
    everywhere::<RateLimit>(&limits("", ""), |subject| {
        let call = Sent::new("POST", "/pkg.Service/Call").with("content-type", "application/grpc");
        admitted(subject, 3, &call);
        let seen = subject.ask(call);
        assert!(seen.refused.is_some());
        // As a policy it is still the adapter's to put into words.
        if seen.status() == 200 {
            assert_eq!(seen.header("grpc-status"), Some("8"));
        }
    });
}

#[test]
fn whoever_waits_for_the_longest_of_all_that_refuse_is_admitted() {
    let second = r#"{"name":"second","key":["client_address"],"quota":1,"window":"1s","algorithm":"fixed_window"}"#;
    let hour = r#"{"name":"hour","key":["client_address"],"quota":2,"window":"1h","algorithm":"fixed_window"}"#;
    for limits in [[second, hour], [hour, second]] {
        let config = format!(r#"{{"capacity":64,"limits":[{}]}}"#, limits.join(","));
        everywhere::<RateLimit>(&config, |subject| {
            assert_eq!(admitted(subject, 1, &Sent::get("/")), 1);
            subject.advance_millis(1_000);
            assert_eq!(admitted(subject, 1, &Sent::get("/")), 1);
            let seen = subject.ask(Sent::get("/"));
            assert_eq!(seen.status(), 429);
            let wait = seen.header("retry-after").unwrap().to_owned();
            assert_eq!(wait, "3599");
            assert_eq!(seen.header("x-ratelimit-reset"), Some(&*wait));
            let state = seen.header("ratelimit").unwrap();
            assert!(state.contains(r#""second";r=0;t=1"#), "{state}");
            assert!(state.contains(r#""hour";r=0;t=3599"#), "{state}");
            assert!(
                subject
                    .logs()
                    .iter()
                    .any(|line| line.contains("limit=hour"))
            );
            subject.advance_millis(3_598_000);
            assert_eq!(admitted(subject, 1, &Sent::get("/")), 0);
            subject.advance_millis(1_000);
            assert_eq!(admitted(subject, 1, &Sent::get("/")), 1);
        });
    }
}

#[test]
fn a_flood_of_keys_gets_its_quota_and_nobody_elses_counts_whatever_the_order() {
    let per_key = r#"{"name":"per_key","key":["header:k"],"quota":1,"window":"24h","algorithm":"fixed_window"}"#;
    let per_ip = r#"{"name":"per_ip","key":["client_address"],"quota":5,"window":"1h","algorithm":"fixed_window"}"#;
    for limits in [[per_key, per_ip], [per_ip, per_key]] {
        let config = format!(r#"{{"capacity":64,"limits":[{}]}}"#, limits.join(","));
        everywhere::<RateLimit>(&config, |subject| {
            let with = |n: usize| Sent::get("/").with("k", &format!("k{n}"));
            assert_eq!(admitted(subject, 2, &with(0).from("192.0.2.9")), 1);
            let passed = (1..300)
                .filter(|n| subject.ask(with(*n)).refused.is_none())
                .count();
            assert_eq!(passed, 5);
            assert_eq!(admitted(subject, 2, &with(0).from("192.0.2.9")), 0);
            assert_eq!(subject.metric("rate_limit_evictions.limit.per_key"), 0);
        });
    }
}

#[test]
fn every_form_of_an_address_is_understood_and_what_is_none_is_counted() {
    let config = limits(
        "",
        r#","client_address":{"trusted_proxies":["10.0.0.0/8","unix"]}"#,
    );
    everywhere::<RateLimit>(&config, |subject| {
        let behind = |line: &str| {
            Sent::get("/")
                .from("10.1.1.1")
                .with("x-forwarded-for", line)
        };
        for (one, other) in [
            ("[2001:db8:0:1::1]", "2001:db8:0:1::2"),
            ("[2001:db8:0:2::1]:443", "[2001:db8:0:2::1%eth0]"),
            ("198.51.100.1:80", "198.51.100.1,,10.2.2.2,"),
        ] {
            assert_eq!(admitted(subject, 2, &behind(one)), 2, "{one}");
            assert_eq!(admitted(subject, 9, &behind(other)), 1, "{other}");
        }
        assert_eq!(subject.metric("rate_limit_address_unreadable"), 0);
        assert_eq!(admitted(subject, 2, &behind("unknown")), 2);
        assert_eq!(subject.metric("rate_limit_address_unreadable"), 2);
        let local = Sent::get("/")
            .from("unix:/run/x")
            .with("x-forwarded-for", "198.51.100.2");
        assert_eq!(admitted(subject, 9, &local), 3);
        assert_eq!(admitted(subject, 9, &behind("198.51.100.2, unix:")), 0);
    });
}

#[test]
fn clients_of_a_unix_socket_that_nobody_trusts_are_one() {
    everywhere::<RateLimit>(&limits("", ""), |subject| {
        let local = |n: usize| {
            let line = format!("198.51.100.{n}");
            Sent::get("/")
                .from("unix:/run/x")
                .with("x-forwarded-for", &line)
        };
        let passed = (0..9)
            .filter(|n| subject.ask(local(*n)).refused.is_none())
            .count();
        assert_eq!(passed, 3);
        assert_eq!(
            subject.metric("rate_limit_errors.reason.client_address_unknown"),
            0
        );
    });
}

/// What becomes of a request, and whether its client has one less afterwards.
#[test]
fn what_the_gateway_could_not_serve_is_given_back_and_nothing_else_is() {
    for (kept, rest) in [(false, ""), (true, r#""when_unserved":"charge","#)] {
        let config = limits(&format!(r#""algorithm":"fixed_window",{rest}"#), "");
        everywhere::<RateLimit>(&config, |subject| {
            // Two that were served, after any number that were not.
            for (then, charged) in [
                (Then::OtherFilter(503), false),
                (Then::OtherFilter(503), false),
                (Then::OtherFilter(503), false),
                (Then::OtherFilter(403), true),
                (Then::Upstream(503), true),
                (Then::Upstream(200), true),
            ] {
                if kept && !charged {
                    continue;
                }
                let (seen, handle) = subject.begin(Sent::get("/"));
                assert_eq!(seen.refused, None, "{then:?}");
                subject.finish(handle, then);
            }
            assert_eq!(subject.ask(Sent::get("/")).status(), 429, "{rest}");
        });
        everywhere::<RateLimit>(&config, |subject| {
            let passed = (0..9).filter(|_| {
                subject
                    .exchange(Sent::get("/"), Then::OtherFilter(503))
                    .refused
                    .is_none()
            });
            assert_eq!(passed.count(), if kept { 3 } else { 9 });
        });
    }
}

#[test]
fn what_is_given_back_is_shown_as_left() {
    everywhere::<RateLimit>(&limits(r#""algorithm":"fixed_window","#, ""), |subject| {
        for (then, remaining) in [
            (Then::Upstream(200), "2"),
            (Then::OtherFilter(503), "2"),
            (Then::Upstream(200), "1"),
        ] {
            let (_, handle) = subject.begin(Sent::get("/"));
            let headers = subject.finish(handle, then);
            let shown = headers
                .iter()
                .find(|(name, _)| name == "x-ratelimit-remaining");
            let shown = shown.map(|(_, value)| value.as_str());
            assert_eq!(shown, Some(remaining), "{then:?}");
        }
    });
}
