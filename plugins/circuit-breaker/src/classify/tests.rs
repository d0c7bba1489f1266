use Origin::*;

use portcullis_policy::{Clock, ClockUnavailable, Timestamp};

use super::*;

const STATUS: Outcome = Outcome::Failure(Cause::Status);
const CONNECTION: Outcome = Outcome::Failure(Cause::Connection);
const TIMEOUT: Outcome = Outcome::Failure(Cause::Timeout);
use Outcome::{Ignored, Success};

const START: u64 = 1_000;

/// At so many milliseconds after [`START`].
struct At(u64);
impl Clock for At {
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        self.now()
    }
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        Ok(Timestamp::from_unix_secs(START).after(Span::from_millis(self.0)))
    }
}

const fn client(sent: Sent) -> Client<'static> {
    Client {
        sent,
        deadline: None,
        clock: &At(0),
    }
}

/// Has waited for so long, of a second.
fn waiting(clock: &At) -> Client<'_> {
    Client {
        sent: Sent::Whole,
        deadline: Some(Timestamp::from_unix_secs(START + 1)),
        clock,
    }
}

const WHOLE: &Client<'static> = &client(Sent::Whole);
const SENDING: &Client<'static> = &client(Sent::HeadOnly);

fn classifier(json: &str) -> Classifier {
    Classifier::new(&serde_json::from_str(json).unwrap())
}

#[test]
fn every_end_of_a_request_is_classified() {
    let all = classifier("{}");
    // origin, listed status, other status, broke later, head unread, no response
    for (origin, listed, other, later, unread, nothing) in [
        (Upstream, STATUS, Success, Success, Ignored, Ignored),
        (Unknown, STATUS, Success, Success, Ignored, Ignored),
        (Lost, STATUS, Success, Success, Ignored, CONNECTION),
        (
            ConnectionFailed,
            CONNECTION,
            CONNECTION,
            CONNECTION,
            CONNECTION,
            CONNECTION,
        ),
        (
            BrokenOff, CONNECTION, CONNECTION, CONNECTION, CONNECTION, CONNECTION,
        ),
        (
            Reset, CONNECTION, CONNECTION, CONNECTION, CONNECTION, CONNECTION,
        ),
        (TimedOut, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT),
        (Idle, TIMEOUT, TIMEOUT, Ignored, Ignored, TIMEOUT),
        (MaxDuration, TIMEOUT, TIMEOUT, Success, Ignored, TIMEOUT),
        (Gateway, Ignored, Ignored, Ignored, Ignored, Ignored),
        (ClientGone, Ignored, Ignored, Success, Ignored, Ignored),
    ] {
        assert_eq!(all.head(503, None, origin, WHOLE), listed, "{origin:?}");
        assert_eq!(all.head(200, None, origin, WHOLE), other, "{origin:?}");
        assert_eq!(all.rest(origin, || None, WHOLE), later, "{origin:?}");
        assert_eq!(all.unread(origin, WHOLE), unread, "{origin:?}");
        assert_eq!(all.nothing(origin, WHOLE), nothing, "{origin:?}");
    }
}

#[test]
fn what_is_not_counted_is_ignored_and_not_a_success() {
    let statuses = classifier(r#"{"status":[500],"connection":false,"timeout":false}"#);
    assert_eq!(statuses.head(500, None, Upstream, WHOLE), STATUS);
    assert_eq!(statuses.head(503, None, Upstream, WHOLE), Success);
    for origin in [ConnectionFailed, BrokenOff, TimedOut] {
        assert_eq!(statuses.head(500, None, origin, WHOLE), Ignored);
        assert_eq!(statuses.rest(origin, || None, WHOLE), Ignored);
    }
    assert_eq!(statuses.nothing(Lost, WHOLE), Ignored);
}

#[test]
fn while_the_client_was_still_sending_silence_is_nobodys_failure() {
    let all = classifier("{}");
    for origin in [Idle, MaxDuration] {
        assert_eq!(all.head(408, None, origin, SENDING), Ignored);
        assert_eq!(all.nothing(origin, SENDING), Ignored);
    }
    assert_eq!(all.nothing(Lost, SENDING), Ignored);
    // Its clock starts when the request is whole.
    assert_eq!(all.head(504, None, TimedOut, SENDING), TIMEOUT);
    assert_eq!(all.head(503, None, ConnectionFailed, SENDING), CONNECTION);
}

#[test]
fn what_a_clients_own_deadline_brings_about_is_no_failure() {
    const GRPC: Outcome = Outcome::Failure(Cause::GrpcStatus);
    let all = classifier("{}");
    // After so many milliseconds of its second: the gateway's own bounds, then the client's.
    for (millis, counts) in [
        (0, true),
        (989, true),
        (990, false),
        (1_000, false),
        (60_000, false),
    ] {
        let clock = &At(millis);
        let client = &waiting(clock);
        let unless = |failure| if counts { failure } else { Ignored };
        for origin in [TimedOut, Idle, MaxDuration] {
            assert_eq!(
                all.head(504, None, origin, client),
                unless(TIMEOUT),
                "{origin:?}"
            );
            assert_eq!(all.nothing(origin, client), unless(TIMEOUT));
        }
        assert_eq!(all.rest(TimedOut, || None, client), unless(TIMEOUT));
        for origin in [Reset, BrokenOff] {
            assert_eq!(all.head(503, None, origin, client), unless(CONNECTION));
            assert_eq!(all.rest(origin, || None, client), unless(CONNECTION));
        }
        assert_eq!(all.nothing(Lost, client), unless(CONNECTION));
        assert_eq!(all.head(200, Some(4), Upstream, client), unless(GRPC));
        assert_eq!(all.rest(Upstream, || Some(4), client), unless(GRPC));
        assert_eq!(all.head(504, None, Upstream, client), unless(STATUS));
        // These no deadline brings about.
        assert_eq!(all.head(503, None, Upstream, client), STATUS);
        assert_eq!(all.head(200, Some(14), Upstream, client), GRPC);
        assert_eq!(all.head(503, None, ConnectionFailed, client), CONNECTION);
    }
}

#[test]
fn only_statuses_that_may_be_a_failure_are_looked_into() {
    let listed = classifier(r#"{"status":[429]}"#);
    for (status, suspect) in [
        (200, false),
        (408, true),
        (429, true),
        (500, false),
        (502, true),
        (504, true),
    ] {
        assert_eq!(listed.suspects(status), suspect, "{status}");
    }
}

#[test]
fn a_listed_grpc_status_of_the_upstream_is_a_failure_in_the_head_and_in_the_trailers() {
    const GRPC: Outcome = Outcome::Failure(Cause::GrpcStatus);
    let all = classifier("{}");
    for (code, expected) in [
        (0, Success),
        (4, GRPC),
        (5, Success),
        (14, GRPC),
        (255, Success),
    ] {
        assert_eq!(
            all.head(200, Some(code), Upstream, WHOLE),
            expected,
            "{code}"
        );
        assert_eq!(
            all.head(200, Some(code), Unknown, WHOLE),
            expected,
            "{code}"
        );
        assert_eq!(all.rest(Upstream, || Some(code), WHOLE), expected, "{code}");
    }
    // What the gateway says in gRPC is still the gateway's, and a client that left cut it short.
    assert_eq!(all.head(200, Some(14), Gateway, WHOLE), Ignored);
    assert_eq!(all.head(200, Some(14), ConnectionFailed, WHOLE), CONNECTION);
    assert_eq!(all.rest(ClientGone, || Some(14), WHOLE), Success);
    let none = classifier(r#"{"grpc_status":[]}"#);
    assert_eq!(none.head(200, Some(14), Upstream, WHOLE), Success);
}

#[test]
fn slow_is_longer_than_the_limit() {
    let limit = Span::from_secs(2);
    assert_eq!(Pace::of(limit, limit), Pace::Quick);
    assert_eq!(Pace::of(Span::from_nanos(2_000_000_001), limit), Pace::Slow);
}
