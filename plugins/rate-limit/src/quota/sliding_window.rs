//! The window that ends now, estimated from two fixed ones.
//!
//! The estimate takes the requests of the window before to have been spread evenly over it:
//! `previous · (window − elapsed) / window + current`, rounded up. With requests that were not
//! spread evenly, a span of one window can hold up to `2 · quota − 1` requests in the worst case
//! (all of the earlier ones at the end of their window, the later ones at the end of theirs), and
//! never more than the quota within one aligned window.

use super::{Place, Quota, Used};

/// Nanoseconds until a request of that cost is admitted; 0: at once.
pub(super) fn wait(quota: &Quota, used: &Used, place: Place, cost: u32, elapsed: u64) -> u64 {
    let (previous, current) = counts(quota, used, place);
    let estimate = estimate(quota, previous, current, elapsed);
    if estimate.saturating_add(u64::from(cost)) <= u64::from(quota.quota) {
        return 0;
    }
    let within = admits_from(quota, previous, current, cost);
    match within.filter(|from| *from < quota.nanos()) {
        Some(from) => from.saturating_sub(elapsed).max(1),
        // Not before the next window, in which what is current now is previous.
        None => {
            let left = quota.nanos().saturating_sub(elapsed);
            left.saturating_add(admits_from(quota, current, 0, cost).unwrap_or(quota.nanos()))
                .max(1)
        }
    }
}

/// Requests left now.
pub(super) fn remaining(quota: &Quota, used: &Used, place: Place, elapsed: u64) -> u32 {
    let (previous, current) = counts(quota, used, place);
    let left = u64::from(quota.quota).saturating_sub(estimate(quota, previous, current, elapsed));
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// What counts as previous and as current at a request's place. Of the window before the previous
/// one nothing is known any more: it is taken to have been full.
fn counts(quota: &Quota, used: &Used, place: Place) -> (u32, u32) {
    match place {
        Place::Current => (used.previous, used.current),
        Place::Previous => (quota.quota, used.previous),
    }
}

fn estimate(quota: &Quota, previous: u32, current: u32, elapsed: u64) -> u64 {
    let window = u128::from(quota.nanos());
    let left = window.saturating_sub(u128::from(elapsed));
    // At most 2^32 · 2^64.
    let weighted = u128::from(previous)
        .saturating_mul(left)
        .div_ceil(window.max(1));
    u64::try_from(weighted)
        .unwrap_or(u64::MAX)
        .saturating_add(u64::from(current))
}

/// The earliest time in a window at which the estimate leaves room for a request of that cost.
fn admits_from(quota: &Quota, previous: u32, current: u32, cost: u32) -> Option<u64> {
    let room = quota.quota.checked_sub(current)?.checked_sub(cost)?;
    if previous <= room {
        return Some(0);
    }
    // previous · (window − t) / window ≤ room
    let window = u128::from(quota.nanos());
    let left = u128::from(room)
        .saturating_mul(window)
        .checked_div(u128::from(previous))?;
    u64::try_from(window.saturating_sub(left)).ok()
}
