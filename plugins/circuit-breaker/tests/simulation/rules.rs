//! What can be said of an upstream, and what of it counts, by the tables of `docs/circuit_breaker.md`.

use portcullis_policy::Origin;

use crate::request::End;

/// What a request says of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// And what failed.
    Failure(&'static str),
    Ignored,
}

/// What counts as a failure.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) status: Vec<u16>,
    pub(crate) grpc_status: Vec<u8>,
    pub(crate) connection: bool,
    pub(crate) timeout: bool,
}

impl Rules {
    fn connection(&self) -> Outcome {
        if self.connection {
            Outcome::Failure("connection")
        } else {
            Outcome::Ignored
        }
    }

    fn timeout(&self) -> Outcome {
        if self.timeout {
            Outcome::Failure("timeout")
        } else {
            Outcome::Ignored
        }
    }

    fn grpc(&self, grpc: Option<u8>) -> Outcome {
        match grpc {
            Some(code) if self.grpc_status.contains(&code) => Outcome::Failure("grpc_status"),
            _ => Outcome::Success,
        }
    }

    /// A bound of the gateway, before a head.
    fn silence(&self, whole: bool) -> Outcome {
        if whole {
            self.timeout()
        } else {
            Outcome::Ignored
        }
    }

    pub(crate) fn head(
        &self,
        status: u16,
        grpc: Option<u8>,
        origin: Origin,
        whole: bool,
    ) -> Outcome {
        match origin {
            Origin::Idle | Origin::MaxDuration => self.silence(whole),
            Origin::Upstream | Origin::Lost | Origin::Unknown if self.status.contains(&status) => {
                Outcome::Failure("status")
            }
            Origin::Upstream | Origin::Lost | Origin::Unknown => self.grpc(grpc),
            Origin::ConnectionFailed | Origin::Reset | Origin::BrokenOff => self.connection(),
            Origin::TimedOut => self.timeout(),
            Origin::Gateway | Origin::ClientGone => Outcome::Ignored,
        }
    }

    pub(crate) fn end_of_fine(&self, end: &End, grpc: Option<u8>) -> Outcome {
        match end.origin {
            Origin::ConnectionFailed | Origin::Reset | Origin::BrokenOff => self.connection(),
            Origin::TimedOut => self.timeout(),
            Origin::Gateway | Origin::Idle => Outcome::Ignored,
            Origin::Upstream | Origin::Lost | Origin::Unknown => self.grpc(grpc),
            Origin::ClientGone | Origin::MaxDuration => Outcome::Success,
        }
    }

    pub(crate) fn end_without_status(&self, origin: Origin) -> Outcome {
        match origin {
            Origin::ConnectionFailed | Origin::Reset | Origin::BrokenOff => self.connection(),
            Origin::TimedOut => self.timeout(),
            Origin::Upstream
            | Origin::Gateway
            | Origin::Idle
            | Origin::MaxDuration
            | Origin::ClientGone
            | Origin::Lost
            | Origin::Unknown => Outcome::Ignored,
        }
    }

    pub(crate) fn end_without_response(&self, end: &End, whole: bool) -> Outcome {
        match end.origin {
            Origin::Idle | Origin::MaxDuration => self.silence(whole),
            // Kong's way of telling of a connection that failed: nothing but the end.
            Origin::Lost if whole => self.connection(),
            Origin::Lost => Outcome::Ignored,
            other => self.end_without_status(other),
        }
    }
}
