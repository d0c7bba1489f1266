//! What a request's end says about the upstream.
//!
//! With the response's head:
//!
//! | who made it                    | a listed status     | any other status    |
//! | ------------------------------ | ------------------- | ------------------- |
//! | upstream, or nobody tells      | failure             | success             |
//! | connection failed, or broke    | failure, if counted | failure, if counted |
//! | timeout                        | failure, if counted | failure, if counted |
//! | nothing moved, or too long     | as a timeout of a whole request, else ignored | the same |
//! | gateway or filter, client gone | ignored             | ignored             |
//!
//! The status is HTTP's or, of a gRPC request, also gRPC's, where it stands in the head.
//!
//! At the end of a stream whose head was seen and was no failure: a connection that broke and a
//! timeout are failures, if they are counted; so is a listed gRPC status in the trailers. What the
//! gateway or a filter had answered is ignored, and so is a stream in which nothing moved: nobody
//! knows whether the client read on. Everything else leaves it a success, also that it has lived for
//! as long as the gateway lets a stream live.
//!
//! At the end of a stream without a response:
//!
//! | who ended it                   | logged              | dropped without a log |
//! | ------------------------------ | ------------------- | --------------------- |
//! | connection failed, or broke    | failure, if counted | failure, if counted   |
//! | timeout                        | failure, if counted | failure, if counted   |
//! | nothing moved, or too long     | as a timeout of a whole request, else ignored | the same |
//! | gateway or filter, client gone | ignored             | ignored               |
//! | upstream                       | ignored             | ignored               |
//! | nobody tells                   | ignored             | of a whole request failure, if connections are counted |
//!
//! The last cell is Kong's: with its `error_page`, a connection that failed and an answer that did
//! not come in time show neither a response nor a log, only the end of the request's context. The
//! two can't be told apart. A client that went away is logged (499), and Envoy logs whatever it
//! was, so that neither is taken for one.
//!
//! Where a breaker waits for an answer's first content, or counts a stream that stalls, the head alone is no success: it is one with
//! the first content. A stream that stalls is a failure at that moment, and one that its client leaves before any content is
//! ignored.
//!
//! Once a client's own deadline is over, what it brings about is ignored: a timeout, a stream that
//! the upstream gives up, the upstream's word for it (504, gRPC's 4), and what nobody tells of.
//!
//! A gateway's own answer in the stead of an upstream that was not reached, or of a client that did
//! not send on, may have any of the statuses 408, 502, 503 and 504: with one of these it is asked
//! who made it even if none is listed.

use portcullis_policy::{Origin, Sent, Span};

use crate::config::FailuresConfig;
use crate::deadline::Client;

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
    /// A stream in which nothing comes.
    Stall,
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

/// Gateway Timeout (RFC 9110, section 15.6.5).
const GATEWAY_TIMEOUT: u16 = 504;
/// gRPC's status of a deadline that is over.
const DEADLINE_EXCEEDED: u8 = 4;

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
        self.statuses.contains(&status) || matches!(status, 408 | 502..=504)
    }

    /// A response's head. `grpc`: the gRPC status in it, of a gRPC request.
    pub(crate) fn head(
        &self,
        status: u16,
        grpc: Option<u8>,
        origin: Origin,
        client: &Client<'_>,
    ) -> Outcome {
        match origin {
            Origin::Upstream | Origin::Lost | Origin::Unknown => {
                if !self.statuses.contains(&status) {
                    self.answered(grpc, client)
                } else if status == GATEWAY_TIMEOUT && client.gave_up() {
                    Outcome::Ignored
                } else {
                    Outcome::Failure(Cause::Status)
                }
            }
            Origin::ConnectionFailed => self.broken(),
            Origin::Reset | Origin::BrokenOff => self.cut_off(client),
            Origin::TimedOut => self.timed_out(client),
            Origin::Idle | Origin::MaxDuration => self.silent(client),
            Origin::Gateway | Origin::ClientGone => Outcome::Ignored,
        }
    }

    /// The end of a stream whose head was no failure. `grpc`: the gRPC status in its trailers, of a
    /// gRPC request.
    pub(crate) fn rest(
        &self,
        origin: Origin,
        grpc: impl FnOnce() -> Option<u8>,
        client: &Client<'_>,
    ) -> Outcome {
        match origin {
            Origin::ConnectionFailed => self.broken(),
            Origin::Reset | Origin::BrokenOff => self.cut_off(client),
            Origin::TimedOut => self.timed_out(client),
            Origin::Gateway | Origin::Idle => Outcome::Ignored,
            Origin::Upstream | Origin::Lost | Origin::Unknown => self.answered(grpc(), client),
            Origin::ClientGone | Origin::MaxDuration => Outcome::Success,
        }
    }

    /// The end of a stream whose head was no failure, and of which nothing has come that was waited for.
    pub(crate) fn unsaid(
        &self,
        origin: Origin,
        grpc: impl FnOnce() -> Option<u8>,
        client: &Client<'_>,
    ) -> Outcome {
        match origin {
            Origin::ClientGone | Origin::MaxDuration => Outcome::Ignored,
            _ => self.rest(origin, grpc, client),
        }
    }

    /// Whether a stream whose head was no failure was broken off from behind the gateway, counted or
    /// not; by what.
    pub(crate) fn breaks_off(origin: Origin, client: &Client<'_>) -> Option<Cause> {
        match origin {
            Origin::ConnectionFailed | Origin::Reset | Origin::BrokenOff => {
                (!client.gave_up()).then_some(Cause::Connection)
            }
            Origin::TimedOut => (!client.gave_up()).then_some(Cause::Timeout),
            Origin::Gateway
            | Origin::Idle
            | Origin::MaxDuration
            | Origin::ClientGone
            | Origin::Upstream
            | Origin::Lost
            | Origin::Unknown => None,
        }
    }

    /// The end of a stream whose response had a head that the gateway could not show.
    pub(crate) fn unread(&self, origin: Origin, client: &Client<'_>) -> Outcome {
        match origin {
            Origin::ConnectionFailed => self.broken(),
            Origin::Reset | Origin::BrokenOff => self.cut_off(client),
            Origin::TimedOut => self.timed_out(client),
            Origin::Upstream
            | Origin::Gateway
            | Origin::Idle
            | Origin::MaxDuration
            | Origin::ClientGone
            | Origin::Lost
            | Origin::Unknown => Outcome::Ignored,
        }
    }

    /// The end of a stream without a response.
    pub(crate) fn nothing(&self, origin: Origin, client: &Client<'_>) -> Outcome {
        match origin {
            Origin::Idle | Origin::MaxDuration => self.silent(client),
            // Of a request that is not whole nothing has gone on to the upstream.
            Origin::Lost => match client.sent {
                Sent::Whole => self.cut_off(client),
                Sent::HeadOnly => Outcome::Ignored,
            },
            origin @ (Origin::Upstream
            | Origin::ConnectionFailed
            | Origin::Reset
            | Origin::TimedOut
            | Origin::BrokenOff
            | Origin::Gateway
            | Origin::ClientGone
            | Origin::Unknown) => self.unread(origin, client),
        }
    }

    fn answered(&self, grpc: Option<u8>, client: &Client<'_>) -> Outcome {
        match grpc {
            Some(DEADLINE_EXCEEDED)
                if self.grpc_statuses.contains(&DEADLINE_EXCEEDED) && client.gave_up() =>
            {
                Outcome::Ignored
            }
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

    /// Servers give up a stream whose deadline is over.
    fn cut_off(&self, client: &Client<'_>) -> Outcome {
        match client.gave_up() {
            true => Outcome::Ignored,
            false => self.broken(),
        }
    }

    fn timed_out(&self, client: &Client<'_>) -> Outcome {
        match self.timeout {
            Counted::AsFailure if !client.gave_up() => Outcome::Failure(Cause::Timeout),
            Counted::AsFailure | Counted::Not => Outcome::Ignored,
        }
    }

    /// Before a head, a bound of the gateway that does not tell who kept whom waiting: the upstream,
    /// if it had all of the request.
    fn silent(&self, client: &Client<'_>) -> Outcome {
        match client.sent {
            Sent::Whole => self.timed_out(client),
            Sent::HeadOnly => Outcome::Ignored,
        }
    }
}

impl Cause {
    /// A fixed word for logs.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::GrpcStatus => "grpc_status",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Stall => "stall",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests;
