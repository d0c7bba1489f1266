//! A sliding window as it is meant: it keeps what was reported, each with the tenth of a window in
//! which that was.

/// When a share opens a breaker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    /// In millionths; the share must be larger (resilience4j's thresholds: as large).
    pub(crate) above: u64,
    /// In nanoseconds.
    pub(crate) window: u64,
    /// resilience4j: `minimumNumberOfCalls`.
    pub(crate) minimum: u64,
}

/// Requests that were settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) slow: u64,
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            failed: sum.failed + one.failed,
            slow: sum.slow + one.slow,
        })
    }
}

/// What was reported, by tenths of the window since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    newest: u64,
    reported: Vec<(u64, Counts)>,
}

impl Ratio {
    /// Whether so many bad ones of so many are too many.
    pub(crate) fn is_exceeded(&self, requests: u64, bad: u64) -> bool {
        requests >= self.minimum && bad * 1_000_000 > requests * self.above
    }

    fn tenth(&self, now: u64) -> u64 {
        now / (self.window / 10)
    }

    /// When the next tenth begins, at which the oldest is forgotten.
    pub(crate) fn next_tenth(&self, now: u64) -> u64 {
        (self.tenth(now) + 1) * (self.window / 10)
    }
}

impl Window {
    /// Takes in `counts` at `now`. A clock that is set back by the whole window makes it start again.
    pub(crate) fn tell(&mut self, ratio: &Ratio, counts: Counts, now: u64) {
        let tenth = ratio.tenth(now);
        if tenth + 10 <= self.newest {
            *self = Self::default();
        }
        self.newest = self.newest.max(tenth);
        let newest = self.newest;
        self.reported.retain(|(old, _)| old + 10 > newest);
        self.reported.push((tenth, counts));
    }

    /// What of that counts at `now`: the ten newest tenths.
    pub(crate) fn seen(&self, ratio: &Ratio, now: u64) -> Counts {
        let tenth = ratio.tenth(now);
        if tenth + 10 <= self.newest {
            return Counts::default();
        }
        let newest = self.newest.max(tenth);
        let counted = self.reported.iter().filter(|(old, _)| old + 10 > newest);
        counted.map(|(_, counts)| *counts).sum()
    }
}
