//! Fixed windows: at most the quota in each, aligned to the clock.

use super::{Place, Quota, Used};

/// Nanoseconds until a request of that cost is admitted; 0: at once.
pub(super) fn wait(quota: &Quota, used: &Used, place: Place, cost: u32, elapsed: u64) -> u64 {
    if count(used, place).saturating_add(cost) <= quota.quota {
        0
    } else {
        quota.nanos().saturating_sub(elapsed).max(1)
    }
}

/// Requests left in the window.
pub(super) fn remaining(quota: &Quota, used: &Used, place: Place) -> u32 {
    quota.quota.saturating_sub(count(used, place))
}

fn count(used: &Used, place: Place) -> u32 {
    match place {
        Place::Current => used.current,
        Place::Previous => used.previous,
    }
}
