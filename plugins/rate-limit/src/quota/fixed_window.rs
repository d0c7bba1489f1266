//! Fixed windows: at most the quota in each, aligned to the clock. The count of the window before is
//! remembered, for requests of clocks that are read late or set back.

use portcullis_policy::{Span, Timestamp};

use super::{Count, Decision, Quota};

/// A request's place among the windows: in the one that is counted, or in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Current,
    Previous,
}

pub(super) fn charge(quota: &Quota, used: Count, cost: u32, now: Timestamp) -> (Decision, Count) {
    let number = number(quota, now);
    let (mut used, place) = move_to(quota, used, number);
    let elapsed = now
        .unix_nanos()
        .saturating_sub(number.saturating_mul(quota.nanos()));
    let left = quota.nanos().saturating_sub(elapsed);
    let count = match place {
        Place::Current => &mut used.current,
        Place::Previous => &mut used.previous,
    };
    let next = count.saturating_add(cost);
    let admitted = cost == 0 || next <= quota.quota;
    if admitted {
        *count = next;
    }
    let decision = Decision {
        charged: admitted.then_some(number),
        remaining: quota.quota.saturating_sub(*count),
        reset: Span::from_nanos(left),
        retry_after: Span::from_nanos(if admitted { 0 } else { left.max(1) }),
    };
    (decision, used)
}

pub(super) fn precedes(quota: &Quota, now: Timestamp, used: &Count) -> bool {
    number(quota, now).saturating_add(1) < used.at
}

pub(super) fn exhausted(quota: &Quota, now: Timestamp) -> Count {
    Count {
        at: number(quota, now),
        current: quota.quota,
        previous: quota.quota,
    }
}

pub(super) fn longest(quota: &Quota) -> Span {
    Span::from_nanos(quota.nanos().saturating_mul(2))
}

pub(super) fn give_back(mut used: Count, number: u64, cost: u32) -> Count {
    if used.at == number {
        used.current = used.current.saturating_sub(cost);
    } else if used.at == number.saturating_add(1) {
        used.previous = used.previous.saturating_sub(cost);
    }
    used
}

pub(super) fn idle_at(quota: &Quota, used: &Count) -> Timestamp {
    Timestamp::from_unix_nanos(used.at.saturating_add(1).saturating_mul(quota.nanos()))
}

fn number(quota: &Quota, now: Timestamp) -> u64 {
    now.unix_nanos().checked_div(quota.nanos()).unwrap_or(0)
}

fn move_to(quota: &Quota, used: Count, number: u64) -> (Count, Place) {
    let moved = |current, previous| Count {
        at: number,
        current,
        previous,
    };
    if number == used.at {
        (used, Place::Current)
    } else if number == used.at.saturating_add(1) {
        (moved(0, used.current), Place::Current)
    } else if number > used.at {
        (moved(0, 0), Place::Current)
    } else if number.saturating_add(1) == used.at {
        (used, Place::Previous)
    } else {
        (moved(quota.quota, quota.quota), Place::Current)
    }
}
