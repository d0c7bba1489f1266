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
