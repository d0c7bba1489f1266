//! How much is withdrawn at a time.
//!
//! As much as was spent lately: what was spent since the engine answered last, for as long as a second; four times that while a
//! burst goes on, which is how a gateway that begins with the least comes to what it needs in a few calls. Never more than a part
//! (`share`) of the quota, nor of what the engine has left, so that the last of a quota is given out one by one, and a gateway that
//! comes late finds something. What requests wait for is always asked for.

use portcullis_policy::Span;

use crate::quota::Spending;

/// How much a gateway withdraws at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizing {
    /// Of a quota, and of what is left of it, in millionths.
    pub(crate) share: u32,
    pub(crate) at_least: u32,
    pub(crate) at_most: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) want: u32,
    /// So much is granted, where there is as much, whatever part of the rest that is.
    pub(crate) least: u32,
}

const MILLION: u64 = 1_000_000;

impl Sizing {
    /// The most that a lease has for what may come.
    pub(crate) fn largest(&self, quota: u32) -> u32 {
        self.part(quota)
            .max(self.at_least)
            .min(self.at_most)
            .min(quota)
    }

    /// What to ask for. `need`: what requests wait for.
    pub(crate) fn ask(&self, quota: u32, need: u32, spending: &Spending) -> Ask {
        const SECOND: u64 = 1_000_000_000;
        const BURST: u64 = 250_000_000;
        let spent = u64::from(spending.spent);
        let demand = match spending.since.map(Span::as_nanos) {
            None => spent,
            Some(since) if since <= BURST => spent.saturating_mul(4),
            Some(since) => {
                let a_second = u128::from(spent).saturating_mul(u128::from(SECOND));
                let a_second = a_second.div_ceil(u128::from(since.max(1)));
                let half_more = a_second.saturating_mul(3).div_ceil(2);
                u64::try_from(half_more).unwrap_or(u64::MAX)
            }
        };
        let demand = u32::try_from(demand).unwrap_or(u32::MAX);
        let least = need.max(self.at_least).min(quota);
        Ask {
            want: demand.min(self.largest(quota)).max(least),
            least,
        }
    }

    /// The same of an engine that gives all of it or nothing: as much as is there, by what it said last.
    pub(crate) fn ask_whole(&self, quota: u32, need: u32, spending: &Spending) -> u32 {
        let Ask { want, least } = self.ask(quota, need, spending);
        match spending.left {
            None => want,
            Some(left) => want.min(self.part(left).max(least)).min(left.max(1)),
        }
    }

    fn part(&self, whole: u32) -> u32 {
        let part = u64::from(whole).saturating_mul(self.share.into()) / MILLION;
        u32::try_from(part).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZING: Sizing = Sizing {
        share: 100_000,
        at_least: 1,
        at_most: 1_000,
    };

    fn spent(spent: u32, millis: Option<u64>) -> Spending {
        Spending {
            spent,
            since: millis.map(Span::from_millis),
            ..Spending::default()
        }
    }

    #[test]
    fn a_lease_is_what_is_spent_in_a_second_and_half_more_and_four_times_as_much_in_a_burst() {
        for (quota, need, spending, want, least) in [
            (600, 0, spent(0, None), 1, 1),
            (600, 3, spent(0, None), 3, 3),
            (600, 1, spent(4, Some(10)), 16, 1),
            (600, 1, spent(20, Some(2_000)), 15, 1),
            (600, 1, spent(1_000, Some(10)), 60, 1),
            (600, 100, spent(1_000, Some(10)), 100, 100),
            (600, 1_000, spent(0, None), 600, 600),
            (1_000_000, 1, spent(1_000_000, Some(10)), 1_000, 1),
            (5, 1, spent(10, Some(10)), 1, 1),
        ] {
            assert_eq!(
                SIZING.ask(quota, need, &spending),
                Ask { want, least },
                "{spending:?}"
            );
        }
    }

    #[test]
    fn of_an_engine_that_gives_all_or_nothing_no_more_is_asked_than_it_has_left() {
        let with_left = |left| Spending {
            left: Some(left),
            ..spent(100, Some(10))
        };
        for (left, asked) in [(600, 60), (100, 10), (5, 1), (1, 1), (0, 1)] {
            assert_eq!(SIZING.ask_whole(600, 1, &with_left(left)), asked, "{left}");
        }
        assert_eq!(SIZING.ask_whole(600, 20, &with_left(8)), 8);
    }
}
