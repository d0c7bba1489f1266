//! `circuit_breaker`, row by row.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{Sent, Subject, Then, everywhere};

const CONFIG: &str = r#"{
    "breakers":[{"name":"qdrant","match":{"paths":[{"prefix":"/collections"}]},
        "trip":{"consecutive_failures":5},"open_for":{"initial":"30s"},"half_open":{"probe_lease":"35s"}}],
    "status":{"path":"/breakers"}}"#;

fn search() -> Sent {
    Sent::get("/collections/docs")
}

fn open(subject: &mut dyn Subject) {
    for _ in 0..5 {
        assert_eq!(
            subject.exchange(search(), Then::Upstream(503)).refused,
            None
        );
    }
}

fn state(subject: &mut dyn Subject) -> String {
    let seen = subject.ask(Sent::get("/breakers"));
    assert_eq!(seen.status(), 200);
    let states: serde_json::Value = serde_json::from_str(&seen.body).expect("JSON");
    states["qdrant"].as_str().expect("a state").to_owned()
}

#[test]
fn the_fifth_failure_in_a_row_opens_and_nothing_passes_then() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        assert_eq!(state(subject), "closed");
        for _ in 0..4 {
            subject.exchange(search(), Then::Upstream(503));
        }
        assert_eq!(state(subject), "closed");
        assert_eq!(
            subject.exchange(search(), Then::Upstream(500)).refused,
            None
        );
        assert_eq!(state(subject), "open");
        let seen = subject.ask(search());
        assert_eq!(
            (seen.status(), seen.header("retry-after")),
            (503, Some("30"))
        );
        subject.advance_millis(29_500);
        assert_eq!(subject.ask(search()).header("retry-after"), Some("1"));
        assert_eq!(
            subject.ask(Sent::get("/other")).refused,
            None,
            "not on this breaker's paths"
        );
        assert_eq!(subject.metric("circuit_breaker_failures.breaker.qdrant"), 5);
        assert_eq!(subject.metric("circuit_breaker_rejected.breaker.qdrant"), 2);
        assert_eq!(
            subject.metric("circuit_breaker_transitions.breaker.qdrant.to.open"),
            1
        );
        assert_eq!(subject.metric("circuit_breaker_state.breaker.qdrant"), 2);
        let opened = subject
            .logs()
            .iter()
            .filter(|line| line.contains("event=opened"))
            .count();
        assert_eq!(opened, 1, "one line for a transition");
    });
}

#[test]
fn a_success_in_between_starts_the_count_again() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        for fine in [200, 404, 400, 429, 501] {
            for _ in 0..4 {
                subject.exchange(search(), Then::Upstream(502));
            }
            subject.exchange(search(), Then::Upstream(fine));
        }
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn what_says_nothing_of_the_upstream_neither_lengthens_a_row_nor_ends_it() {
    for then in [Then::ClientGone, Then::OtherFilter(503)] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            for _ in 0..4 {
                subject.exchange(search(), Then::Upstream(500));
            }
            for _ in 0..6 {
                subject.exchange(search(), then);
            }
            assert_eq!(state(subject), "closed", "{then:?}");
            subject.exchange(search(), Then::Upstream(500));
            assert_eq!(state(subject), "open", "{then:?}");
        });
    }
}

#[test]
fn failures_that_are_switched_off_are_not_counted() {
    let failures = r#""failures":{"status":[500],"connection":false,"timeout":false}"#;
    let config = CONFIG.replace(r#""trip":"#, &format!(r#"{failures},"trip":"#));
    for then in [Then::Upstream(503), Then::ConnectFailure, Then::Timeout] {
        everywhere::<CircuitBreaker>(&config, |subject| {
            for _ in 0..6 {
                subject.exchange(search(), then);
            }
            assert_eq!(state(subject), "closed", "{then:?}");
            for _ in 0..5 {
                subject.exchange(search(), Then::Upstream(500));
            }
            assert_eq!(state(subject), "open", "{then:?}");
        });
    }
}

#[test]
fn half_open_admits_exactly_one_probe_whose_success_closes() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        open(subject);
        subject.advance_millis(30_000);
        let (probe, handle) = subject.begin(search());
        assert_eq!(probe.refused, None);
        for _ in 0..19 {
            assert_eq!(subject.ask(search()).status(), 503);
        }
        assert_eq!(state(subject), "half_open");
        subject.finish(handle, Then::Upstream(200));
        assert_eq!(state(subject), "closed");
        assert_eq!(subject.ask(search()).refused, None);
        assert_eq!(subject.metric("circuit_breaker_state.breaker.qdrant"), 0);
    });
}

#[test]
fn a_probe_that_fails_opens_again_and_one_that_vanishes_frees_its_place() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        open(subject);
        subject.advance_millis(30_000);
        subject.exchange(search(), Then::Upstream(500));
        assert_eq!(state(subject), "open");
        subject.advance_millis(30_000);
        let (lost, _) = subject.begin(search());
        assert_eq!(lost.refused, None);
        assert_eq!(subject.ask(search()).status(), 503);
        subject.advance_millis(35_001);
        let (next, handle) = subject.begin(search());
        assert_eq!(next.refused, None, "the lease is over");
        subject.finish(handle, Then::Upstream(200));
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn a_slow_probe_keeps_nobody_waiting_for_longer_than_its_lease_and_is_heard_when_it_comes() {
    for (status, after) in [(200, "closed"), (503, "open")] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            open(subject);
            subject.advance_millis(30_000);
            let (probe, slow) = subject.begin(search());
            assert_eq!(probe.refused, None);
            for (millis, wait) in [(0, "1"), (5_000, "5"), (20_000, "10")] {
                subject.advance_millis(millis);
                let seen = subject.ask(search());
                assert_eq!(
                    (seen.status(), seen.header("retry-after")),
                    (503, Some(wait))
                );
            }
            subject.advance_millis(10_000);
            let (second, other) = subject.begin(search());
            assert_eq!(second.refused, None, "the lease is over");
            assert_eq!(subject.ask(search()).header("retry-after"), Some("1"));
            subject.finish(slow, Then::Upstream(status));
            assert_eq!(state(subject), after);
            // The other was sent before that.
            subject.finish(other, Then::Upstream(503));
            assert_eq!(state(subject), after);
        });
    }
}

#[test]
fn a_probe_whose_client_leaves_or_that_another_filter_answers_gives_its_place_back() {
    for then in [
        Then::ClientGone,
        Then::OtherFilter(403),
        Then::OtherFilter(503),
    ] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            open(subject);
            subject.advance_millis(30_000);
            assert_eq!(subject.exchange(search(), then).refused, None);
            assert_eq!(state(subject), "half_open", "{then:?}");
            assert_eq!(
                subject.exchange(search(), Then::Upstream(200)).refused,
                None,
                "{then:?}"
            );
            assert_eq!(state(subject), "closed");
        });
    }
}

#[test]
fn what_the_upstream_did_counts_and_what_others_did_does_not() {
    for (then, counts, on_kong) in [
        (Then::Upstream(500), true, true),
        (Then::Upstream(504), true, true),
        (Then::Upstream(501), false, false),
        (Then::Upstream(404), false, false),
        (Then::ConnectFailure, true, true),
        (Then::Timeout, true, true),
        (Then::Hangs, true, true),
        (Then::HangsForLong, true, true),
        (Then::HangsForItsCluster, true, true),
        (Then::Resets, true, true),
        (Then::LivesLong, false, false),
        // Kong does not tell of it.
        (Then::BreaksOff, true, false),
        (Then::OtherFilter(503), false, false),
        (Then::OtherFilter(403), false, false),
        (Then::ClientGone, false, false),
    ] {
        everywhere::<CircuitBreaker>(CONFIG, |subject| {
            for _ in 0..5 {
                subject.exchange(search(), then);
            }
            let expected = if subject.is_kong() { on_kong } else { counts };
            assert_eq!(state(subject) == "open", expected, "{then:?}");
        });
    }
}

/// Kong tells nobody.
#[test]
fn an_answer_that_breaks_off_after_its_head_is_counted_and_logged() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        subject.exchange(search(), Then::BreaksOff);
        subject.exchange(search(), Then::Upstream(200));
        let told = u64::from(!subject.is_kong());
        assert_eq!(
            subject.metric("circuit_breaker_broken_off.breaker.qdrant"),
            told
        );
        let line = "plugin=circuit_breaker event=broken_off breaker=qdrant cause=connection";
        let lines = subject.logs();
        assert_eq!(
            lines.iter().filter(|told| told.ends_with(line)).count() as u64,
            told
        );
    });
}

#[test]
fn a_late_answer_of_an_earlier_period_changes_nothing() {
    everywhere::<CircuitBreaker>(CONFIG, |subject| {
        let (_, late) = subject.begin(search());
        open(subject);
        subject.finish(late, Then::Upstream(200));
        assert_eq!(state(subject), "open");
        subject.advance_millis(30_000);
        let (_, probe) = subject.begin(search());
        subject.finish(probe, Then::Upstream(200));
        assert_eq!(state(subject), "closed");
    });
}

#[test]
fn shadow_counts_and_lets_pass_and_off_does_nothing() {
    for mode in ["shadow", "off"] {
        let config = CONFIG.replacen('{', &format!(r#"{{"mode":"{mode}","#), 1);
        everywhere::<CircuitBreaker>(&config, |subject| {
            for _ in 0..8 {
                assert_eq!(
                    subject.exchange(search(), Then::Upstream(503)).refused,
                    None
                );
            }
            let transitions = subject.metric("circuit_breaker_transitions.breaker.qdrant.to.open");
            assert_eq!(transitions, u64::from(mode == "shadow"));
            assert_eq!(subject.metric("circuit_breaker_rejected.breaker.qdrant"), 0);
            if mode == "shadow" {
                assert_eq!(state(subject), "open");
                let refused = subject.metric("circuit_breaker_shadow_rejected.breaker.qdrant");
                assert_eq!(refused, 3);
            }
        });
    }
}
