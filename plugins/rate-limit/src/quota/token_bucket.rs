//! A bucket of `burst` tokens into which `quota` tokens drip in each window, kept as one point in
//! time: when it will be full again (the generic cell rate algorithm, ITU-T I.371; its "theoretical
//! arrival time").
//!
//! In any span of `t` it admits at most `burst + quota · t / window`. Time is counted in parts of a
//! nanosecond, `quota` of them to one, in which a token takes exactly `window`: nothing is rounded.
//! A point in time stays under 2^64 · 10^9 < 2^94, a bucket under 10^9 · 2^55 < 2^85.

use portcullis_policy::{Span, Timestamp};

use super::{Count, Decision, LATEST, Quota};

pub(super) fn charge(quota: &Quota, used: Count, cost: u32, now: Timestamp) -> (Decision, Count) {
    let (now, full) = (point(quota, now), full_at(quota, &used));
    let spent = full.saturating_sub(now);
    let price = token(quota).saturating_mul(u128::from(cost));
    let missing = spent.saturating_add(price).saturating_sub(capacity(quota));
    let admitted = cost == 0 || missing == 0;
    let spent = if admitted {
        spent.saturating_add(price)
    } else {
        spent
    };
    let left = capacity(quota).saturating_sub(spent);
    let remaining = left.checked_div(token(quota)).unwrap_or(0);
    let next = stored(quota, now.saturating_add(spent));
    let decision = Decision {
        charged: admitted.then_some(next.at),
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        reset: nanos(quota, spent),
        retry_after: if admitted {
            Span::ZERO
        } else {
            nanos(quota, missing)
        },
    };
    let used = if admitted && cost > 0 { next } else { used };
    (decision, used)
}

pub(super) fn precedes(quota: &Quota, now: Timestamp, used: &Count) -> bool {
    let spent = full_at(quota, used).saturating_sub(point(quota, now));
    let latest = u128::from(LATEST).saturating_mul(parts(quota));
    spent > capacity(quota).saturating_add(latest)
}

pub(super) fn exhausted(quota: &Quota, now: Timestamp) -> Count {
    stored(quota, point(quota, now).saturating_add(capacity(quota)))
}

/// How long an empty bucket takes to be full, with the time by which a clock may be late.
pub(super) fn longest(quota: &Quota) -> Span {
    let latest = u128::from(LATEST).saturating_mul(parts(quota));
    nanos(quota, capacity(quota).saturating_add(latest))
}

pub(super) fn idle_at(used: &Count) -> Timestamp {
    Timestamp::from_unix_nanos(used.at.saturating_add(1))
}

/// `full`: when the bucket was to be full after that charge. If it has been, the charge has dripped
/// in again, and what is missing now was taken by others.
pub(super) fn give_back(quota: &Quota, used: Count, full: u64, cost: u32, now: Timestamp) -> Count {
    if now.unix_nanos() >= full {
        return used;
    }
    let price = token(quota).saturating_mul(u128::from(cost));
    stored(quota, full_at(quota, &used).saturating_sub(price))
}

/// Parts of a nanosecond.
fn parts(quota: &Quota) -> u128 {
    u128::from(quota.quota.max(1))
}

/// What a token takes to drip in.
fn token(quota: &Quota) -> u128 {
    u128::from(quota.nanos())
}

/// What an empty bucket takes to be full.
fn capacity(quota: &Quota) -> u128 {
    token(quota).saturating_mul(u128::from(quota.burst))
}

fn point(quota: &Quota, now: Timestamp) -> u128 {
    u128::from(now.unix_nanos()).saturating_mul(parts(quota))
}

/// Parts as whole nanoseconds, rounded up: nobody is told to come too early.
fn nanos(quota: &Quota, span: u128) -> Span {
    Span::from_nanos(u64::try_from(span.div_ceil(parts(quota))).unwrap_or(u64::MAX))
}

/// The part of a nanosecond is of `quota` parts; with another quota than it was written with it is
/// wrong by less than a nanosecond.
fn full_at(quota: &Quota, used: &Count) -> u128 {
    let whole = u128::from(used.at).saturating_mul(parts(quota));
    whole.saturating_add(u128::from(used.current).min(parts(quota)))
}

fn stored(quota: &Quota, full_at: u128) -> Count {
    let whole = full_at.checked_div(parts(quota)).unwrap_or(0);
    let part = full_at.checked_rem(parts(quota)).unwrap_or(0);
    Count {
        at: u64::try_from(whole).unwrap_or(u64::MAX),
        current: u32::try_from(part).unwrap_or(0),
        previous: 0,
    }
}
