//! What a request's end says about the upstream.
//!
//! With the response's head:
//!
//! | who made it                    | a listed status     | any other status    |
//! | ------------------------------ | ------------------- | ------------------- |
//! | upstream, or nobody tells      | failure             | success             |
//! | connection failed, or broke    | failure, if counted | failure, if counted |
//! | timeout                        | failure, if counted | failure, if counted |
//! | gateway or filter, client gone | ignored             | ignored             |
//!
//! The status is HTTP's or, of a gRPC request, also gRPC's, where it stands in the head.
//!
//! At the end of a stream whose head was seen and was no failure: a connection that broke and a
//! timeout are failures, if they are counted; so is a listed gRPC status in the trailers. What the
//! gateway or a filter had answered is ignored; everything else leaves it a success.
//!
//! At the end of a stream without a response:
//!
//! | who ended it                   | logged              | dropped without a log |
//! | ------------------------------ | ------------------- | --------------------- |
//! | connection failed, or broke    | failure, if counted | failure, if counted   |
//! | timeout                        | failure, if counted | failure, if counted   |
//! | gateway or filter, client gone | ignored             | ignored               |
//! | upstream                       | ignored             | ignored               |
//! | nobody tells                   | ignored             | failure, if connections are counted |
//!
//! The last cell is Kong's: with its `error_page`, a connection that failed and an answer that did
//! not come in time show neither a response nor a log, only the end of the request's context. The
//! two can't be told apart. A client that went away is logged (499), and Envoy logs whatever it
//! was, so that neither is taken for one.
//!
//! A gateway's own answer in the stead of an upstream that was not reached may have any of the
//! statuses 502, 503 and 504: with one of these it is asked who made it even if none is listed.

use portcullis_policy::{Ending, Origin, Span};

use crate::config::FailuresConfig;

/// What a request says about the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It works.
    Success,
    /// It does not.
    Failure(Cause),
    /// Nothing.
    Ignored,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Status,
    GrpcStatus,
    Connection,
    Timeout,
    /// A probe that was slow, where slowness opens.
    Slow,
}

/// How long the upstream took to its response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    Slow,
}

impl Pace {
    /// `limit`: what is longer is slow.
    pub(crate) fn of(taken: Span, limit: Span) -> Self {
        if taken > limit {
            Self::Slow
        } else {
            Self::Quick
        }
    }
}

/// Whether a cause counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    AsFailure,
    Not,
}

/// What counts as a failure.
#[derive(Clone, Debug)]
pub(crate) struct Classifier {
    statuses: Vec<u16>,
    grpc_statuses: Vec<u8>,
    connection: Counted,
    timeout: Counted,
}

impl Classifier {
    pub(crate) fn new(config: &FailuresConfig) -> Self {
        let counted = |flag| match flag {
            true => Counted::AsFailure,
            false => Counted::Not,
        };
        Self {
            statuses: config.status.0.iter().map(|status| status.get()).collect(),
            grpc_statuses: config.grpc_status.0.iter().map(|code| code.get()).collect(),
            connection: counted(config.connection),
            timeout: counted(config.timeout),
        }
    }

    /// Whether a response of this status may be anything but a success, so that its origin is worth
    /// a host call.
    pub(crate) fn suspects(&self, status: u16) -> bool {
        self.statuses.contains(&status) || matches!(status, 502..=504)
    }

    /// A response's head. `grpc`: the gRPC status in it, of a gRPC request.
    pub(crate) fn head(&self, status: u16, grpc: Option<u8>, origin: Origin) -> Outcome {
        match origin {
            Origin::Upstream | Origin::Unknown => {
                if self.statuses.contains(&status) {
                    Outcome::Failure(Cause::Status)
                } else {
                    self.answered(grpc)
                }
            }
            Origin::ConnectionFailed | Origin::BrokenOff => self.broken(),
            Origin::TimedOut => self.timed_out(),
            Origin::Gateway | Origin::ClientGone => Outcome::Ignored,
        }
    }

    /// The end of a stream whose head was no failure. `grpc`: the gRPC status in its trailers, of a
    /// gRPC request.
    pub(crate) fn rest(&self, origin: Origin, grpc: impl FnOnce() -> Option<u8>) -> Outcome {
        match origin {
            Origin::ConnectionFailed | Origin::BrokenOff => self.broken(),
            Origin::TimedOut => self.timed_out(),
            Origin::Gateway => Outcome::Ignored,
            Origin::Upstream | Origin::Unknown => self.answered(grpc()),
            Origin::ClientGone => Outcome::Success,
        }
    }

    /// The end of a stream whose response had a head that the gateway could not show.
    pub(crate) fn unread(&self, origin: Origin) -> Outcome {
        match origin {
            Origin::ConnectionFailed | Origin::BrokenOff => self.broken(),
            Origin::TimedOut => self.timed_out(),
            Origin::Upstream | Origin::Gateway | Origin::ClientGone | Origin::Unknown => {
                Outcome::Ignored
            }
        }
    }

    /// The end of a stream without a response.
    pub(crate) fn nothing(&self, ending: &dyn Ending) -> Outcome {
        match ending.origin() {
            Origin::Unknown if ending.is_dropped() => self.broken(),
            origin => self.unread(origin),
        }
    }

    fn answered(&self, grpc: Option<u8>) -> Outcome {
        match grpc {
            Some(code) if self.grpc_statuses.contains(&code) => Outcome::Failure(Cause::GrpcStatus),
            _ => Outcome::Success,
        }
    }

    const fn broken(&self) -> Outcome {
        match self.connection {
            Counted::AsFailure => Outcome::Failure(Cause::Connection),
            Counted::Not => Outcome::Ignored,
        }
    }

    const fn timed_out(&self) -> Outcome {
        match self.timeout {
            Counted::AsFailure => Outcome::Failure(Cause::Timeout),
            Counted::Not => Outcome::Ignored,
        }
    }
}

impl Cause {
    /// A fixed word for logs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::GrpcStatus => "grpc_status",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use Origin::*;

    use super::*;

    const STATUS: Outcome = Outcome::Failure(Cause::Status);
    const CONNECTION: Outcome = Outcome::Failure(Cause::Connection);
    const TIMEOUT: Outcome = Outcome::Failure(Cause::Timeout);
    use Outcome::{Ignored, Success};

    struct End(Origin, bool);
    impl Ending for End {
        fn origin(&self) -> Origin {
            self.0
        }
        fn is_dropped(&self) -> bool {
            self.1
        }
    }

    fn classifier(json: &str) -> Classifier {
        Classifier::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn every_end_of_a_request_is_classified() {
        let all = classifier("{}");
        // origin, listed status, other status, broke later, head unread, logged, dropped
        for (origin, listed, other, later, unread, logged, dropped) in [
            (
                Upstream, STATUS, Success, Success, Ignored, Ignored, Ignored,
            ),
            (
                Unknown, STATUS, Success, Success, Ignored, Ignored, CONNECTION,
            ),
            (
                ConnectionFailed,
                CONNECTION,
                CONNECTION,
                CONNECTION,
                CONNECTION,
                CONNECTION,
                CONNECTION,
            ),
            (
                BrokenOff, CONNECTION, CONNECTION, CONNECTION, CONNECTION, CONNECTION, CONNECTION,
            ),
            (
                TimedOut, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT, TIMEOUT,
            ),
            (
                Gateway, Ignored, Ignored, Ignored, Ignored, Ignored, Ignored,
            ),
            (
                ClientGone, Ignored, Ignored, Success, Ignored, Ignored, Ignored,
            ),
        ] {
            assert_eq!(all.head(503, None, origin), listed, "{origin:?}");
            assert_eq!(all.head(200, None, origin), other, "{origin:?}");
            assert_eq!(all.rest(origin, || None), later, "{origin:?}");
            assert_eq!(all.unread(origin), unread, "{origin:?}");
            assert_eq!(all.nothing(&End(origin, false)), logged, "{origin:?}");
            assert_eq!(all.nothing(&End(origin, true)), dropped, "{origin:?}");
        }
    }

    #[test]
    fn what_is_not_counted_is_ignored_and_not_a_success() {
        let statuses = classifier(r#"{"status":[500],"connection":false,"timeout":false}"#);
        assert_eq!(statuses.head(500, None, Upstream), STATUS);
        assert_eq!(statuses.head(503, None, Upstream), Success);
        for origin in [ConnectionFailed, BrokenOff, TimedOut] {
            assert_eq!(statuses.head(500, None, origin), Ignored);
            assert_eq!(statuses.rest(origin, || None), Ignored);
        }
        assert_eq!(statuses.nothing(&End(Unknown, true)), Ignored);
    }

    #[test]
    fn only_statuses_that_may_be_a_failure_are_looked_into() {
        let listed = classifier(r#"{"status":[429]}"#);
        for (status, suspect) in [
            (200, false),
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
            assert_eq!(all.head(200, Some(code), Upstream), expected, "{code}");
            assert_eq!(all.head(200, Some(code), Unknown), expected, "{code}");
            assert_eq!(all.rest(Upstream, || Some(code)), expected, "{code}");
        }
        // What the gateway says in gRPC is still the gateway's, and a client that left cut it short.
        assert_eq!(all.head(200, Some(14), Gateway), Ignored);
        assert_eq!(all.head(200, Some(14), ConnectionFailed), CONNECTION);
        assert_eq!(all.rest(ClientGone, || Some(14)), Success);
        let none = classifier(r#"{"grpc_status":[]}"#);
        assert_eq!(none.head(200, Some(14), Upstream), Success);
    }

    #[test]
    fn slow_is_longer_than_the_limit() {
        let limit = Span::from_secs(2);
        assert_eq!(Pace::of(limit, limit), Pace::Quick);
        assert_eq!(Pace::of(Span::from_nanos(2_000_000_001), limit), Pace::Slow);
    }
}
