//! Fixed windows: at most the quota in each, aligned to the clock.

use super::{Place, Quota, Window};

/// Nanoseconds until a request is admitted; 0: at once.
pub(super) fn wait(quota: &Quota, used: &Window, place: Place, elapsed: u64) -> u64 {
    if count(used, place) < quota.quota {
        0
    } else {
        quota.nanos().saturating_sub(elapsed).max(1)
    }
}

/// Requests left in the window.
pub(super) fn remaining(quota: &Quota, used: &Window, place: Place) -> u32 {
    quota.quota.saturating_sub(count(used, place))
}

fn count(used: &Window, place: Place) -> u32 {
    match place {
        Place::Current => used.current,
        Place::Previous => used.previous,
    }
}
