//! Answers that begin and then say nothing, or say it late.

use portcullis_policy::Policy as _;

use super::*;

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const WORD: &[u8] = b"data: {\"response\":\"word\"}\n\n";
const PING: &[u8] =
    b": ping\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";

const STALL: &str = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":3},"failures":{"stall":"5s"},
    "half_open":{"successes_to_close":1}}],"status":{"path":"/status"}}"#;
const SLOW: &str = r#"{"breakers":[{"name":"a","trip":{"slow_first_token":{"above":0.5,"slower_than":"10s","window":"1m","minimum_requests":4}},
    "half_open":{"successes_to_close":1}}],"status":{"path":"/status"}}"#;

fn begun(worker: &Breaker) -> Flow {
    let mut flow = admitted(worker);
    worker.respond_with(&mut flow, 200, Origin::Upstream, &EVENTS);
    flow
}

/// So much time passes, with a tick each tenth of a second.
fn pass(worker: &Breaker, secs: u64) {
    for _ in 0..secs * 10 {
        worker.clock.advance(Span::from_millis(100));
        worker.tick();
    }
}

#[test]
fn a_stream_of_which_nothing_comes_has_failed_at_that_moment() {
    let worker = breaker(STALL);
    let streams: Vec<_> = (0..3).map(|_| begun(&worker)).collect();
    pass(&worker, 5);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    pass(&worker, 1);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "stalled.breaker.a"), 3);
    assert_eq!(metric(&worker, "failures.breaker.a"), 3);
    // What becomes of them later is nobody's business.
    for (flow, origin) in
        streams
            .into_iter()
            .zip([Origin::Upstream, Origin::Reset, Origin::ClientGone])
    {
        worker.end(flow, origin);
    }
    assert_eq!(metric(&worker, "failures.breaker.a"), 3);
    assert_eq!(metric(&worker, "successes.breaker.a"), 0);
}

#[test]
fn one_that_says_something_now_and_then_is_fine_however_long_it_takes() {
    let worker = breaker(STALL);
    let mut streams: Vec<_> = (0..3).map(|_| begun(&worker)).collect();
    for _ in 0..20 {
        pass(&worker, 4);
        streams.iter_mut().for_each(|flow| worker.chunk(flow, WORD));
    }
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    streams
        .into_iter()
        .for_each(|flow| worker.end(flow, Origin::Upstream));
    assert_eq!(metric(&worker, "successes.breaker.a"), 3);
    // In the middle it is silence, too.
    let mut streams: Vec<_> = (0..3).map(|_| begun(&worker)).collect();
    streams.iter_mut().for_each(|flow| worker.chunk(flow, WORD));
    pass(&worker, 6);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
}

#[test]
fn how_long_answers_take_to_say_something_is_counted_where_that_is_looked_for() {
    let worker = breaker(SLOW);
    for secs in [2, 7, 90] {
        let mut flow = begun(&worker);
        worker.chunk(&mut flow, PING);
        pass(&worker, secs);
        worker.chunk(&mut flow, WORD);
        worker.chunk(&mut flow, WORD);
        worker.end(flow, Origin::Upstream);
    }
    // One that has said nothing took no time to do so.
    worker.end(begun(&worker), Origin::Upstream);
    let within = |bound: &str| {
        metric(
            &worker,
            &format!("first_token_ms_bucket.breaker.a.le.{bound}"),
        )
    };
    let counted = ["1000", "2500", "5000", "10000", "60000", "+Inf"].map(within);
    assert_eq!(counted, [0, 1, 1, 2, 2, 3]);
    assert_eq!(metric(&worker, "first_token_ms_sum.breaker.a"), 99_000);
}

#[test]
fn a_probe_has_succeeded_with_the_first_content_and_not_before() {
    for (config, secs) in [(STALL, 6), (SLOW, 11)] {
        let worker = breaker(config);
        let streams: Vec<_> = (0..4).map(|_| begun(&worker)).collect();
        pass(&worker, secs);
        assert_eq!(state(&worker), r#"{"a":"open"}"#, "{config}");
        drop(streams);
        half_a_minute(&worker);
        let stalled = begun(&worker);
        assert_eq!(state(&worker), r#"{"a":"half_open"}"#);
        pass(&worker, secs);
        assert_eq!(state(&worker), r#"{"a":"open"}"#, "{config}");
        worker.end(stalled, Origin::Upstream);
        half_a_minute(&worker);
        half_a_minute(&worker);
        let mut probe = begun(&worker);
        worker.chunk(&mut probe, WORD);
        assert_eq!(state(&worker), r#"{"a":"closed"}"#, "{config}");
        worker.end(probe, Origin::Upstream);
    }
}

#[test]
fn what_is_no_text_is_no_first_token() {
    let worker = breaker(SLOW);
    let mut streams: Vec<_> = (0..4).map(|_| begun(&worker)).collect();
    for _ in 0..11 {
        pass(&worker, 1);
        streams.iter_mut().for_each(|flow| worker.chunk(flow, PING));
    }
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    assert_eq!(metric(&worker, "slow.breaker.a"), 4);
    let worker = breaker(SLOW);
    for _ in 0..6 {
        let mut flow = begun(&worker);
        worker.chunk(&mut flow, PING);
        pass(&worker, 9);
        worker.chunk(&mut flow, WORD);
        // The rest may take as long as it takes.
        pass(&worker, 30);
        worker.end(flow, Origin::Upstream);
    }
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    assert_eq!(metric(&worker, "slow.breaker.a"), 0);
}

#[test]
fn a_client_that_leaves_before_anything_was_said_says_nothing() {
    let worker = breaker(STALL);
    for _ in 0..2 {
        let flow = begun(&worker);
        pass(&worker, 6);
        worker.end(flow, Origin::ClientGone);
    }
    // No success has come between.
    let left = begun(&worker);
    worker.end(left, Origin::ClientGone);
    assert_eq!(metric(&worker, "ignored.breaker.a"), 1);
    let flow = begun(&worker);
    pass(&worker, 6);
    assert_eq!(state(&worker), r#"{"a":"open"}"#);
    worker.end(flow, Origin::ClientGone);
}

/// What a client does not read is no silence of the upstream's.
#[test]
fn an_answer_that_has_come_whole_or_far_is_not_watched_any_more() {
    for whole in [true, false] {
        let worker = breaker(STALL);
        let mut streams: Vec<_> = (0..4).map(|_| begun(&worker)).collect();
        for flow in &mut streams {
            worker.chunk(flow, WORD);
            match whole {
                true => worker.policy.on_response_whole(flow),
                false => (0..2_000).for_each(|_| worker.chunk(flow, WORD)),
            }
        }
        pass(&worker, 30);
        assert_eq!(state(&worker), r#"{"a":"closed"}"#);
        assert_eq!(metric(&worker, "stalled.breaker.a"), 0);
    }
}

#[test]
fn a_clock_that_leaps_makes_no_silence() {
    let worker = breaker(STALL);
    let _streams: Vec<_> = (0..4).map(|_| begun(&worker)).collect();
    worker.tick();
    worker.clock.advance(Span::from_secs(3_600));
    worker.tick();
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
}

#[test]
fn a_document_and_a_stream_that_nobody_knows_have_their_first_token_with_their_first_bytes() {
    for (media, bytes) in [
        (
            "application/json",
            &b"{\"choices\":[{\"message\":{\"content\":\"wo"[..],
        ),
        ("text/event-stream", b"data: {\"token\":\"x\"}\n\n"),
        ("text/plain", b"x"),
    ] {
        let worker = breaker(SLOW);
        for _ in 0..6 {
            let mut flow = admitted(&worker);
            worker.respond_with(&mut flow, 200, Origin::Upstream, &[("content-type", media)]);
            worker.chunk(&mut flow, bytes);
            pass(&worker, 20);
            worker.end(flow, Origin::Upstream);
        }
        assert_eq!(metric(&worker, "slow.breaker.a"), 0, "{media}");
    }
}

#[test]
fn an_answer_without_a_body_is_a_success_when_it_has_ended() {
    let worker = breaker(STALL);
    let flow = begun(&worker);
    worker.end(flow, Origin::Upstream);
    assert_eq!(metric(&worker, "successes.breaker.a"), 1);
    // One of a failure's status is settled by its head, as ever.
    let mut flow = admitted(&worker);
    worker.respond_with(&mut flow, 503, Origin::Upstream, &EVENTS);
    assert_eq!(metric(&worker, "failures.breaker.a"), 1);
    pass(&worker, 6);
    worker.end(flow, Origin::Upstream);
    assert_eq!(metric(&worker, "failures.breaker.a"), 1);
}
