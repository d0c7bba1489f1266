//! The limiter as it is meant, written to be read: it keeps every request that it admitted, and
//! judges each new one by them. It shares no code with the product, and its clock never goes back.

use std::collections::HashMap;

/// How requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Fixed,
    Sliding,
    Bucket,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 3] = [Self::Fixed, Self::Sliding, Self::Bucket];

    /// As a configuration names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed_window",
            Self::Sliding => "sliding_window",
            Self::Bucket => "token_bucket",
        }
    }
}

/// How much may be used. Times are in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) algorithm: Algorithm,
    pub(crate) quota: i128,
    pub(crate) window: i128,
    pub(crate) burst: i128,
}

/// A request that was admitted.
#[derive(Clone, Copy, Debug)]
struct Admitted {
    at: i128,
    cost: i128,
}

/// What one key was admitted so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Vec<Admitted>);

pub(crate) const SECOND: i128 = 1_000_000_000;

impl Quota {
    /// What may be used at once by one that has used nothing.
    pub(crate) fn most(&self) -> i128 {
        match self.algorithm {
            Algorithm::Fixed | Algorithm::Sliding => self.quota,
            Algorithm::Bucket => self.burst,
        }
    }

    /// What may still be used at once; whatever costs as much or less is admitted.
    pub(crate) fn remaining(&self, history: &History, now: i128) -> i128 {
        let in_window = |number: i128| -> i128 {
            let of_it = |admitted: &&Admitted| admitted.at.div_euclid(self.window) == number;
            history.0.iter().filter(of_it).map(|a| a.cost).sum()
        };
        let number = now.div_euclid(self.window);
        match self.algorithm {
            Algorithm::Fixed => self.quota - in_window(number),
            Algorithm::Sliding => {
                let parts = self.parts(history).into_iter();
                let counting = parts.filter(|part| self.end(part) > now);
                self.quota - counting.map(|part| part.cost).sum::<i128>()
            }
            Algorithm::Bucket => {
                // From no earlier request on may more be admitted than burst + quota * t / window.
                let mut since = 0;
                let mut remaining = self.burst;
                for admitted in history.0.iter().rev() {
                    since += admitted.cost;
                    let dripped = self.quota * (now - admitted.at);
                    let left = (self.burst - since) * self.window + dripped;
                    remaining = remaining.min(left.div_euclid(self.window));
                }
                remaining
            }
        }
    }

    /// What a sliding window takes to have come at once: for a small quota what came in one tick, for
    /// a larger one what came within a twelfth of the window. Ticks are a 32,768th of it.
    fn parts(&self, history: &History) -> Vec<Admitted> {
        let tick = (self.window + 32_767) / 32_768;
        let span = if self.quota <= 12 {
            0
        } else {
            self.window / tick / 12
        };
        let mut parts: Vec<Admitted> = Vec::new();
        for admitted in &history.0 {
            let at = admitted.at / tick * tick;
            match parts.last_mut() {
                Some(last) if at - last.at <= span * tick => last.cost += admitted.cost,
                _ => parts.push(Admitted { at, ..*admitted }),
            }
        }
        parts
    }

    /// When a part counts no more: after a window, less a 64th of it and at most a second.
    fn end(&self, part: &Admitted) -> i128 {
        part.at + self.window - (self.window / 64).min(SECOND)
    }

    /// A span in which a sliding window never admits more than its quota.
    pub(crate) fn sure(&self) -> i128 {
        let grace = (self.window / 64).min(SECOND) + (self.window + 32_767) / 32_768;
        let part = if self.quota <= 12 {
            0
        } else {
            self.window / 12
        };
        self.window - grace - part
    }

    /// Whole seconds, one at least, until a request of that cost would be admitted.
    pub(crate) fn retry_after(&self, history: &History, cost: i128, now: i128) -> i128 {
        let admitted_in = |secs: i128| self.remaining(history, now + secs * SECOND) >= cost;
        first(1, admitted_in)
    }

    /// Whole seconds until the window ends, the bucket is full, or nothing counts any more.
    pub(crate) fn reset(&self, history: &History, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::Fixed => {
                let left = self.window - now.rem_euclid(self.window);
                (left + SECOND - 1).div_euclid(SECOND)
            }
            Algorithm::Sliding => {
                let last = self
                    .parts(history)
                    .last()
                    .map_or(now, |part| self.end(part));
                ((last - now).max(0) + SECOND - 1).div_euclid(SECOND)
            }
            Algorithm::Bucket => first(0, |secs| {
                self.remaining(history, now + secs * SECOND) == self.burst
            }),
        }
    }
}

/// The first number from `least` on for which `holds`, which then holds for all later ones.
fn first(least: i128, holds: impl Fn(i128) -> bool) -> i128 {
    let (mut fails, mut known) = (least - 1, least);
    while !holds(known) {
        (fails, known) = (known, known * 2 + 1);
    }
    while known - fails > 1 {
        let middle = (fails + known) / 2;
        if holds(middle) {
            known = middle;
        } else {
            fails = middle;
        }
    }
    known
}

/// What a limit makes of one request: `None` where it does not count it.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Of {
        key: Vec<Option<String>>,
        cost: i128,
    },
    KeyMissing,
}

/// A limit as it stands in the list.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) quota: Quota,
    pub(crate) shadow: bool,
}

impl Limit {
    fn allowance(&self, remaining: i128, reset: i128, refuses: bool) -> Allowance {
        Allowance {
            name: self.name.clone(),
            window: (self.quota.window + SECOND - 1) / SECOND,
            remaining,
            reset,
            refuses,
        }
    }
}

/// Where a client stands with a limit, in requests and whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    pub(crate) name: String,
    pub(crate) window: i128,
    pub(crate) remaining: i128,
    /// Until the reset, or until a request is admitted that this limit refused.
    pub(crate) reset: i128,
    pub(crate) refuses: bool,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed(Vec<Allowance>),
    Exhausted {
        retry_after: i128,
        allowances: Vec<Allowance>,
    },
    KeyMissing,
}

/// The limiter.
pub(crate) struct Reference {
    limits: Vec<Limit>,
    histories: HashMap<(usize, Vec<Option<String>>), History>,
}

impl Reference {
    pub(crate) fn new(limits: Vec<Limit>) -> Self {
        Self {
            limits,
            histories: HashMap::new(),
        }
    }

    /// A request at `now` of which each limit is asked what is given: all admit it, or none is
    /// charged.
    pub(crate) fn request(&mut self, asked: &[Option<Asked>], now: i128) -> Outcome {
        let enforced = self
            .limits
            .iter()
            .zip(asked)
            .filter(|(limit, _)| !limit.shadow);
        if enforced
            .into_iter()
            .any(|(_, asked)| matches!(asked, Some(Asked::KeyMissing)))
        {
            return Outcome::KeyMissing;
        }
        let mut charges = Vec::new();
        let mut before = Vec::new();
        for (index, (limit, asked)) in self.limits.iter().zip(asked).enumerate() {
            let (key, cost) = match asked {
                None | Some(Asked::KeyMissing) => continue,
                Some(Asked::Of { key, cost }) => ((index, key.clone()), *cost),
            };
            let none = History::default();
            let history = self.histories.get(&key).unwrap_or(&none);
            let remaining = limit.quota.remaining(history, now);
            let admitted = cost == 0 || remaining >= cost;
            if !limit.shadow {
                let reset = if admitted {
                    limit.quota.reset(history, now)
                } else {
                    limit.quota.retry_after(history, cost, now)
                };
                before.push(limit.allowance(remaining, reset, !admitted));
            }
            if admitted {
                charges.push((key, cost));
            }
        }
        let waits = before.iter().filter(|allowance| allowance.refuses);
        if let Some(retry_after) = waits.map(|allowance| allowance.reset).max() {
            let allowances = before;
            return Outcome::Exhausted {
                retry_after,
                allowances,
            };
        }
        let mut allowances = Vec::new();
        for (key, cost) in charges {
            let limit = &self.limits[key.0];
            let history = self.histories.entry(key).or_default();
            if cost > 0 {
                history.0.push(Admitted { at: now, cost });
            }
            if !limit.shadow {
                let remaining = limit.quota.remaining(history, now);
                let reset = limit.quota.reset(history, now);
                allowances.push(limit.allowance(remaining, reset, false));
            }
        }
        Outcome::Passed(allowances)
    }
}
