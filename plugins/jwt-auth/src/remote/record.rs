//! What workers share of one remote key set, and when which of them fetches it.

use std::hash::Hasher as _;

use portcullis_policy::{Layout, Reader, Span, Timestamp, Writer};
use siphasher::sip::SipHasher24;

/// The shared record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the last good set came; the epoch: never.
    pub(crate) fetched_at: Timestamp,
    /// The last good set.
    pub(crate) document: DocumentId,
    /// How many of its keys can't be used.
    pub(crate) skipped: u32,
    /// How many fetches were begun: the name of the last one.
    attempt: u64,
    /// When the last one was begun; the epoch: never.
    attempted_at: Timestamp,
    /// Whether it is under way, as far as is known.
    under_way: bool,
    /// How many have failed since the last good one.
    failures: u32,
}

/// What tells a document from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocumentId {
    pub(crate) hash: [u8; 16],
    /// In bytes.
    pub(crate) length: u32,
}

/// How often a set is fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) refresh: Span,
    pub(crate) refetch_min_interval: Span,
    /// How long a fetch may be under way: whoever began it is gone after that.
    pub(crate) lease: Span,
}

impl Schedule {
    /// Longest time between two attempts while the issuer does not answer.
    const LONGEST_PAUSE: Span = Span::from_secs(30);
}

impl Layout for Record {
    const FORMAT: &'static str = "jwt_auth/jwks/1";

    fn encode(&self, to: &mut Writer) {
        to.u64(self.fetched_at.unix_nanos());
        to.bytes(&self.document.hash);
        to.u32(self.document.length);
        to.u32(self.skipped);
        to.u64(self.attempt);
        to.u64(self.attempted_at.unix_nanos());
        to.u8(self.under_way.into());
        to.u32(self.failures);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            fetched_at: Timestamp::from_unix_nanos(from.u64()?),
            document: DocumentId {
                hash: from.array()?,
                length: from.u32()?,
            },
            skipped: from.u32()?,
            attempt: from.u64()?,
            attempted_at: Timestamp::from_unix_nanos(from.u64()?),
            under_way: match from.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            failures: from.u32()?,
        })
    }
}

impl Record {
    const NEVER: Timestamp = Timestamp::from_unix_nanos(0);

    /// Whether a set was ever fetched.
    pub(crate) fn has_document(&self) -> bool {
        self.fetched_at != Self::NEVER
    }

    /// Whether its last fetch was begun later than the other's.
    pub(crate) fn is_later_than(&self, other: &Self) -> bool {
        self.attempted_at > other.attempted_at
    }

    /// Whether its last fetch was begun after that time.
    pub(crate) fn is_after(&self, time: Timestamp) -> bool {
        self.attempted_at > time
    }

    /// Whether the last fetch that was begun is this one.
    pub(crate) const fn is_attempt(&self, attempt: u64) -> bool {
        self.attempt == attempt
    }

    /// Whether a fetch was begun at or after that time.
    pub(crate) fn was_attempted_since(&self, since: Timestamp) -> bool {
        self.attempted_at >= since
    }

    /// Whether somebody fetches.
    pub(crate) fn is_under_way(&self, now: Timestamp, schedule: &Schedule) -> bool {
        self.under_way && now.since(self.attempted_at) < schedule.lease
    }

    /// Whether a fetch is due; `wanted`: a token had a `kid` that the set lacks.
    pub(crate) fn is_due(&self, now: Timestamp, wanted: bool, schedule: &Schedule) -> bool {
        // Workers read the clock before they see each other's writes: a little earlier is no sign.
        let is_set_back = |date: Timestamp| date.since(now) > schedule.lease;
        if self.attempted_at == Self::NEVER || is_set_back(self.attempted_at) {
            // Never tried, or the clock was set back: no date in here says anything.
            return true;
        }
        let since_attempt = now.since(self.attempted_at);
        if self.under_way && since_attempt < schedule.lease {
            return false;
        }
        let failures = self.failures.saturating_add(self.under_way.into());
        if wanted && since_attempt >= schedule.refetch_min_interval {
            return true;
        }
        if failures > 0 || !self.has_document() {
            return since_attempt >= pause(failures, schedule);
        }
        now.since(self.fetched_at) >= early(schedule.refresh, self.fetched_at)
            || is_set_back(self.fetched_at)
    }

    /// The record with a fetch under way, and that fetch's name.
    pub(crate) fn begun(&self, now: Timestamp) -> (Self, u64) {
        let attempt = self.attempt.wrapping_add(1);
        let failures = self.failures.saturating_add(self.under_way.into());
        let begun = Self {
            attempt,
            attempted_at: now,
            under_way: true,
            failures,
            ..self.clone()
        };
        (begun, attempt)
    }

    /// The record with a fetch that has brought a set; `None` when another has been begun since.
    pub(crate) fn succeeded(
        &self,
        attempt: u64,
        now: Timestamp,
        document: DocumentId,
        skipped: u32,
    ) -> Option<Self> {
        (self.attempt == attempt).then(|| self.served_alone(now, document, skipped))
    }

    /// The record of a worker that can't share what it has fetched.
    pub(crate) fn served_alone(&self, now: Timestamp, document: DocumentId, skipped: u32) -> Self {
        Self {
            fetched_at: now,
            document,
            skipped,
            under_way: false,
            failures: 0,
            ..self.clone()
        }
    }

    /// The record with a fetch that has failed; `None` when another has been begun since.
    pub(crate) fn failed(&self, attempt: u64, now: Timestamp) -> Option<Self> {
        (self.attempt == attempt && self.under_way).then(|| Self {
            // The pause is one between fetches, however long this one took.
            attempted_at: now,
            under_way: false,
            failures: self.failures.saturating_add(1),
            ..self.clone()
        })
    }
}

/// How long to wait after so many failures in a row: 1 s, 2 s, 4 s and so on.
fn pause(failures: u32, schedule: &Schedule) -> Span {
    let secs = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u64::MAX);
    Span::from_secs(secs)
        .min(Schedule::LONGEST_PAUSE)
        .min(schedule.refresh)
}

/// Up to a tenth less than `refresh`, so that gateways that were started together do not come
/// together for ever. All workers of one agree on it.
fn early(refresh: Span, fetched_at: Timestamp) -> Span {
    let mut hasher = SipHasher24::new();
    hasher.write_u64(fetched_at.unix_nanos());
    let most = (refresh.as_nanos() / 10).max(1);
    let jitter = hasher.finish().checked_rem(most).unwrap_or(0);
    Span::from_nanos(refresh.as_nanos().saturating_sub(jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        refresh: Span::from_secs(600),
        refetch_min_interval: Span::from_secs(10),
        lease: Span::from_secs(5),
    };
    const START: Timestamp = Timestamp::from_unix_secs(1_767_254_400);

    fn at(millis: u64) -> Timestamp {
        START.after(Span::from_millis(millis))
    }

    fn served(fetched_at: Timestamp) -> Record {
        let (begun, _) = Record::default().begun(START);
        begun.served_alone(fetched_at, DocumentId::default(), 0)
    }

    #[test]
    fn a_fetch_is_due_at_its_time_and_not_a_nanosecond_before() {
        let begun = Record::default().begun(START).0;
        let failed = |times: u32| {
            (0..times).fold(Record::default(), |record, _| {
                let (begun, attempt) = record.begun(START);
                begun.failed(attempt, START).unwrap()
            })
        };
        let refresh = early(SCHEDULE.refresh, START);
        for (record, wanted, due_after) in [
            (begun.clone(), false, SCHEDULE.lease),
            (
                begun,
                true,
                SCHEDULE.refetch_min_interval.min(SCHEDULE.lease),
            ),
            (failed(1), false, Span::from_secs(1)),
            (failed(3), false, Span::from_secs(4)),
            (failed(9), false, Schedule::LONGEST_PAUSE),
            (failed(9), true, SCHEDULE.refetch_min_interval),
            (served(START), false, refresh),
            (served(START), true, SCHEDULE.refetch_min_interval),
        ] {
            let due = START.after(due_after);
            let before = due.before(Span::from_nanos(1));
            assert!(
                !record.is_due(before, wanted, &SCHEDULE),
                "{record:?} {wanted}"
            );
            assert!(record.is_due(due, wanted, &SCHEDULE), "{record:?} {wanted}");
        }
    }

    #[test]
    fn a_date_that_is_to_come_by_more_than_a_lease_is_of_a_clock_that_was_set() {
        assert!(Record::default().is_due(START, false, &SCHEDULE));
        let lease = SCHEDULE.lease;
        let more = lease.as_nanos() + 1;
        for (record, date) in [
            (Record::default().begun(at(60_000)).0, at(60_000)),
            (served(at(60_000)), at(60_000)),
        ] {
            assert!(
                !record.is_due(date.before(lease), false, &SCHEDULE),
                "{record:?}"
            );
            assert!(
                record.is_due(date.before(Span::from_nanos(more)), false, &SCHEDULE),
                "{record:?}"
            );
        }
    }

    #[test]
    fn an_answer_to_a_fetch_that_another_has_followed_changes_nothing() {
        let (first, attempt) = Record::default().begun(START);
        let (second, later) = first.begun(at(9_000));
        assert_eq!(
            second.succeeded(attempt, at(9_001), DocumentId::default(), 0),
            None
        );
        assert_eq!(second.failed(attempt, at(9_001)), None);
        let served = second
            .succeeded(later, at(9_001), DocumentId::default(), 2)
            .unwrap();
        assert_eq!(
            (served.skipped, served.failures, served.has_document()),
            (2, 0, true)
        );
        assert_eq!(served.failed(later, at(9_002)), None, "it has ended");
        let failed = second.failed(later, at(9_001)).unwrap();
        assert_eq!((failed.failures, failed.attempted_at), (2, at(9_001)));
    }
}
