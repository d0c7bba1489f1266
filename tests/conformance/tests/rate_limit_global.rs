//! `rate_limit`: limits that an engine counts for several gateways, row by row.

use portcullis_conformance::{Sent, Subject, everywhere};
use portcullis_rate_limit::RateLimit;

const CONFIG: &str = r#"{"capacity":64,"limits":[{"name":"all","key":["constant"],"quota":10,"window":"1h","algorithm":"fixed_window",
    "scope":"global"}],"global":{"engine":"redis","upstream":"engine","authority":"engine.internal","domain":"rag","local_share":0.2}}"#;

fn admitted(subject: &mut dyn Subject) -> usize {
    (0..20)
        .take_while(|_| subject.ask(Sent::get("/")).refused.is_none())
        .count()
}

/// Ticks until there is a call.
fn call(subject: &mut dyn Subject) {
    for _ in 0..100 {
        subject.tick();
        if let Some(call) = subject.call() {
            assert_eq!(call, ["engine", "http", "engine.internal", "/"]);
            return;
        }
        subject.advance_millis(50);
    }
    panic!("no call");
}

#[test]
fn what_was_withdrawn_is_spent_and_then_it_is_as_the_engine_says() {
    everywhere::<RateLimit>(CONFIG, |subject| {
        // On credit: a lease, which is a tenth of the quota.
        assert_eq!(admitted(subject), 1);
        call(subject);
        subject.answer_call(Some((200, r#"{"EVALSHA":[4,5,1800000,1800000,7]}"#)));
        let seen = subject.ask(Sent::get("/"));
        assert_eq!(seen.refused, None);
        assert_eq!(admitted(subject), 3 + 1, "and one on credit");
        let refused = subject.ask(Sent::get("/"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        call(subject);
        // Nothing is left for 20 minutes.
        subject.answer_call(Some((200, r#"{"EVALSHA":[0,0,1200000,1200000,7]}"#)));
        let refused = subject.ask(Sent::get("/"));
        assert_eq!(refused.refused, Some(429));
        assert_eq!(refused.header("retry-after"), Some("1200"));
        // Natively the second call is made as soon as little is left, and counters go with events.
        subject.tick();
        let settled = subject.metric("rate_limit_lease_settled.limit.all");
        assert!((1..=2).contains(&settled), "{settled}");
        assert_eq!(subject.metric("rate_limit_lease_units.limit.all"), 4);
    });
}

#[test]
fn while_the_engine_is_away_a_gateway_admits_its_share_and_says_so_once() {
    everywhere::<RateLimit>(CONFIG, |subject| {
        assert_eq!(admitted(subject), 1);
        call(subject);
        subject.answer_call(Some((503, "")));
        assert_eq!(admitted(subject), 2, "a fifth of ten");
        subject.advance_millis(200);
        call(subject);
        subject.answer_call(None);
        assert_eq!(admitted(subject), 0);
        let lines = subject.logs();
        let away = lines
            .iter()
            .filter(|line| line.contains("event=engine_away"));
        assert_eq!(away.count(), 1, "{lines:?}");
        subject.advance_millis(500);
        call(subject);
        subject.answer_call(Some((200, r#"{"EVALSHA":[3,6,1800000,1800000,7]}"#)));
        assert_eq!(admitted(subject), 3 + 1);
    });
}

#[test]
fn an_answer_that_makes_no_sense_is_as_good_as_none() {
    for nonsense in [
        "",
        "{}",
        "[1,2,3,4,5]",
        r#"{"EVALSHA":null}"#,
        r#"{"EVALSHA":[1,2,3]}"#,
        r#"{"EVALSHA":[-1,2,3,4,5]}"#,
        r#"{"EVALSHA":[1.5,2,3,4,5]}"#,
        r#"{"EVALSHA":[1,2,3,4,5,6,7,8,9,10]}"#,
        r#"{"EVALSHA":[false,"ERR no"]}"#,
        r#"{"EVALSHA":[1,2,3,4,99999999999999999999999]}"#,
    ] {
        everywhere::<RateLimit>(CONFIG, |subject| {
            assert_eq!(admitted(subject), 1);
            call(subject);
            subject.answer_call(Some((200, nonsense)));
            assert_eq!(admitted(subject), 2, "{nonsense}");
        });
    }
}
