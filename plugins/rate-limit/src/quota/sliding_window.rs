//! The window that ends now: at most the quota in it, from the instants at which requests came.
//!
//! A small quota, of [`PARTS`] at most, keeps the instant of each request. A larger one keeps parts
//! of a twelfth of the window, each beginning with its first request, and takes all of a part to have
//! come then. Instants are kept in ticks of a 32,768th of the window, rounded down. A part counts
//! from its beginning for a window less a 64th, at most a second: whoever sends on the beat of the
//! window does so only to the precision of a network. Both together are the grace.
//!
//! Both errors are on one side:
//!
//! - **It never refuses whoever keeps to the quota.** What counts at an instant came within the
//!   window before it, since nothing is taken to have come later than it did. So where a request
//!   is refused, it and what was admitted in that window are more than the quota.
//! - **No span of a window less the grace, and for a large quota less a twelfth of the window, holds
//!   more than the quota.** What counts at its last request is at least what was admitted in that
//!   span, since nothing is taken to have come earlier than by a part's length; and a request is
//!   admitted only where what counts and itself are at most the quota.
//!
//! At most [`PARTS`] parts count at once: they begin more than a twelfth of a window apart; and of
//! a small quota each holds one request at least.

use portcullis_policy::{Span, Timestamp};

use super::log::{Log, PARTS};
use super::{Decision, LATEST, Quota};

/// Ticks in a window, or a few less where it does not divide.
const TICKS: u64 = 1 << 15;

/// Of a long window, nanoseconds.
const LONGEST_GRACE: u64 = 1_000_000_000;

pub(super) fn charge(quota: &Quota, used: Log, cost: u32, now: Timestamp) -> (Decision, Log) {
    let now = now.unix_nanos();
    let latest = used.latest().unwrap_or(0).saturating_mul(tick(quota));
    // Workers read the clock before they see each other's writes: time does not go back for a key.
    let at = now.max(latest);
    let mut next = used;
    next.forget_before(earliest(quota, at));
    let wait = wait(quota, &next, cost, at);
    let begin = at.checked_div(tick(quota)).unwrap_or(0);
    let admitted = wait == 0;
    let charged = if admitted && cost > 0 {
        next.add(begin, span(quota), cost)
    } else {
        begin
    };
    let late = at.saturating_sub(now);
    let idle = idle_at(quota, &next).unix_nanos();
    let decision = Decision {
        charged: admitted.then_some(charged),
        remaining: quota.quota.saturating_sub(next.used()),
        reset: Span::from_nanos(idle.saturating_sub(now)),
        retry_after: Span::from_nanos(if admitted {
            0
        } else {
            wait.saturating_add(late)
        }),
    };
    (decision, next)
}

pub(super) fn precedes(quota: &Quota, now: Timestamp, used: &Log) -> bool {
    let latest = used.latest().unwrap_or(0).saturating_mul(tick(quota));
    latest > now.unix_nanos().saturating_add(LATEST)
}

pub(super) fn exhausted(quota: &Quota, now: Timestamp) -> Log {
    let mut log = Log::default();
    let begin = now.unix_nanos().checked_div(tick(quota)).unwrap_or(0);
    log.add(begin, 0, quota.quota);
    log
}

pub(super) fn longest(quota: &Quota) -> Span {
    Span::from_nanos(quota.nanos().saturating_add(LATEST))
}

pub(super) fn give_back(mut used: Log, begin: u64, cost: u32) -> Log {
    used.take(begin, cost);
    used
}

pub(super) fn idle_at(quota: &Quota, used: &Log) -> Timestamp {
    let end = used.latest().map_or(0, |latest| end(quota, latest));
    Timestamp::from_unix_nanos(end)
}

/// Nanoseconds until a request of that cost is admitted; 0: at once.
fn wait(quota: &Quota, used: &Log, cost: u32, at: u64) -> u64 {
    let room = quota.quota.saturating_sub(cost);
    let mut left = used.used();
    if cost == 0 || left <= room {
        return 0;
    }
    let mut wait = 0;
    for (begin, used) in used.earliest_first() {
        left = left.saturating_sub(used);
        wait = end(quota, begin).saturating_sub(at);
        if left <= room {
            break;
        }
    }
    wait.max(1)
}

/// When the part that begins then counts no more.
fn end(quota: &Quota, begin: u64) -> u64 {
    let begin = begin.saturating_mul(tick(quota));
    begin.saturating_add(counts_for(quota))
}

/// The earliest tick at which a part that counts can begin.
fn earliest(quota: &Quota, at: u64) -> u64 {
    let ended = at.checked_sub(counts_for(quota));
    let ended = ended.and_then(|ended| ended.checked_div(tick(quota)));
    ended.map_or(0, |tick| tick.saturating_add(1))
}

/// How long a part counts.
fn counts_for(quota: &Quota) -> u64 {
    let grace = quota.nanos().checked_div(64).unwrap_or(0);
    quota.nanos().saturating_sub(grace.min(LONGEST_GRACE))
}

/// Ticks that a part spans.
fn span(quota: &Quota) -> u64 {
    let parts = u64::try_from(PARTS).unwrap_or(1);
    if u64::from(quota.quota) <= parts {
        return 0;
    }
    let ticks = quota.nanos().checked_div(tick(quota)).unwrap_or(0);
    ticks.checked_div(parts).unwrap_or(0)
}

/// Nanoseconds in a tick.
fn tick(quota: &Quota) -> u64 {
    quota.nanos().div_ceil(TICKS)
}
