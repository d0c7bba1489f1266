//! What a request's callbacks say of the upstream, one after the other.

use portcullis_policy::Origin;
use portcullis_sim::Dialect;

use crate::generate::Guard;
use crate::op::{Standing, Ticket};
use crate::request::{Head, Step};
use crate::rules::Outcome;

/// A request as one breaker knows it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) ticket: Ticket,
    /// When it was admitted; `None` where the clock could not be read.
    pub(crate) started: Option<u64>,
    progress: Progress,
    /// Whether all of its request has come.
    pub(crate) whole: bool,
}

/// What a step brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    /// The head of a success, which may break off yet.
    Success,
    /// A probe's body has come.
    Body,
    Settled(Settled),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    /// A head without a status has come, so late.
    Unread {
        slow: bool,
    },
    /// A head that is no failure has come, so late.
    Fine {
        slow: bool,
    },
    Settled,
}

/// How a request is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    pub(crate) slow: bool,
    /// What broke it off after a head that was fine.
    pub(crate) broke: Option<&'static str>,
}

impl Case {
    pub(crate) fn new(ticket: Ticket, started: Option<u64>, whole: bool) -> Self {
        Self {
            ticket,
            started,
            whole,
            progress: Progress::Waiting,
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.progress == Progress::Settled
    }

    /// Hears of a step at `now` (`None`: the clock can't be read); says what that brings, and how it
    /// settles it, which it does once. `failing`: its worker knows of failures on record.
    pub(crate) fn hear(
        &mut self,
        guard: &Guard,
        step: &Step,
        speaks_grpc: bool,
        now: Option<u64>,
        dialect: Dialect,
        failing: bool,
    ) -> Heard {
        let slow = match (now, self.started) {
            (Some(now), Some(started)) => {
                guard.settings.slow.is_some()
                    && now.saturating_sub(started) > guard.settings.slower_than
            }
            _ => false,
        };
        let grpc = |code: Option<u8>| if speaks_grpc { code } else { None };
        let rules = &guard.rules;
        let (outcome, slow) = match (step, self.progress) {
            (Step::Body, progress) => {
                self.whole = true;
                if self.started.is_some() {
                    self.started = now;
                }
                return match (progress, self.ticket.standing) {
                    (Progress::Waiting, Standing::Probe) => Heard::Body,
                    _ => Heard::Nothing,
                };
            }
            (_, Progress::Settled)
            | (Step::Head(_), Progress::Unread { .. } | Progress::Fine { .. }) => {
                return Heard::Nothing;
            }
            (Step::GiveBack, _) => (Outcome::Ignored, false),
            (Step::Head(Head { status: None, .. }), Progress::Waiting) => {
                self.progress = Progress::Unread { slow };
                return Heard::Nothing;
            }
            (Step::Head(head), Progress::Waiting) => {
                let outcome = self.of_head(guard, head, grpc(head.grpc), dialect, failing);
                // Until it has ended it may break off; but a probe's permit must not wait for that.
                if outcome == Outcome::Success && self.ticket.standing != Standing::Probe {
                    self.progress = Progress::Fine { slow };
                    return Heard::Success;
                }
                (outcome, slow)
            }
            (Step::End(end), Progress::Waiting) => {
                (rules.end_without_response(end, self.whole), slow)
            }
            (Step::End(end), Progress::Unread { slow }) => {
                (rules.end_without_status(end.origin), slow)
            }
            (Step::End(end), Progress::Fine { slow }) => {
                (rules.end_of_fine(end, grpc(end.grpc)), slow)
            }
        };
        let broke = match (step, self.progress) {
            (Step::End(end), Progress::Fine { .. }) => match end.origin {
                Origin::ConnectionFailed | Origin::Reset | Origin::BrokenOff => Some("connection"),
                Origin::TimedOut => Some("timeout"),
                _ => None,
            },
            _ => None,
        };
        self.progress = Progress::Settled;
        Heard::Settled(Settled {
            outcome,
            slow,
            broke,
        })
    }

    /// Who made an answer costs a host call, so that it is not asked where only the metrics would
    /// depend on it, or where the end (Envoy's) says it too.
    fn of_head(
        &self,
        guard: &Guard,
        head: &Head,
        grpc: Option<u8>,
        dialect: Dialect,
        failing: bool,
    ) -> Outcome {
        let status = head.status.unwrap_or_default();
        let ends_something = match self.ticket.standing {
            Standing::Plain { after_failures } => after_failures || failing,
            Standing::Probe => true,
            Standing::Lost | Standing::Forced => false,
        };
        let asked = guard.rules.status.contains(&status)
            || status == 408
            || (502..=504).contains(&status)
            || grpc.unwrap_or_default() != 0
            || ends_something
            || (guard.settings.has_ratio() && dialect == Dialect::Kong);
        let origin = if asked { head.origin } else { Origin::Upstream };
        guard.rules.head(status, grpc, origin, self.whole)
    }
}
