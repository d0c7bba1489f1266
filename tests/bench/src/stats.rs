//! What is made of many samples: a median, and how far it may be off.

/// Samples of one subject, in microseconds: by start of its gateway, then by round.
pub type Samples = Vec<Vec<f64>>;

/// A subject's samples.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The samples.
    pub samples: &'a Samples,
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure itself.
    pub value: f64,
    /// Between these it lies in nine of ten runs, as far as this one can tell.
    pub low: f64,
    /// The other end.
    pub high: f64,
}

/// The middle one; of an even number between the two in the middle.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => f64::NAN,
    }
}

/// What a subject costs: the median of its starts, each the median of its rounds.
#[must_use]
pub fn cost(samples: &Samples) -> f64 {
    median(samples.iter().map(|rounds| median(rounds.iter().copied())))
}

/// A figure of the costs of several subjects, by `of` in their order: the median of what it is in each start, where each cost is
/// the median of its rounds. Subjects that run side by side are compared within a start, since a machine that is slow for a while
/// is so for all of them. And its spread by the bootstrap: starts, and rounds of each, are drawn again and again from those that
/// there were, the same for all subjects.
#[must_use]
pub fn estimate(series: &[Series<'_>], of: impl Fn(&[f64]) -> f64) -> Estimate {
    /// So many times.
    const DRAWS: usize = 1_000;
    let starts = series.iter().map(|series| series.samples.len()).min();
    let starts = starts.unwrap_or_default();
    let figure = |starts: &[Start]| median(starts.iter().map(|start| of(&start.costs(series))));
    let all: Vec<_> = (0..starts)
        .map(|start| Start::whole(start, series))
        .collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let drawn = (0..starts).map(|_| Start::drawn(dice.below(starts), series, &mut dice));
            figure(&drawn.collect::<Vec<_>>())
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |part: usize| drawn.get(DRAWS * part / 100).copied().unwrap_or(f64::NAN);
    Estimate {
        value: figure(&all),
        low: at(5),
        high: at(95),
    }
}

/// A start, and those of its rounds that count.
struct Start {
    start: usize,
    rounds: Vec<usize>,
}

impl Start {
    /// All rounds.
    fn whole(start: usize, series: &[Series<'_>]) -> Self {
        let rounds = (0..Self::rounds_of(start, series)).collect();
        Self { start, rounds }
    }

    /// As many as there are, drawn.
    fn drawn(start: usize, series: &[Series<'_>], dice: &mut Dice) -> Self {
        let count = Self::rounds_of(start, series);
        let rounds = (0..count).map(|_| dice.below(count)).collect();
        Self { start, rounds }
    }

    fn rounds_of(start: usize, series: &[Series<'_>]) -> usize {
        let rounds = series.iter().filter_map(|series| series.samples.get(start));
        rounds.map(Vec::len).max().unwrap_or_default()
    }

    /// What each subject cost in it.
    fn costs(&self, series: &[Series<'_>]) -> Vec<f64> {
        let cost = |series: &Series<'_>| {
            let samples = series.samples.get(self.start);
            let samples = samples.map(|rounds| &rounds[..]).unwrap_or_default();
            let rounds = self.rounds.iter();
            median(rounds.filter_map(|round| samples.get(*round).copied()))
        };
        series.iter().map(cost).collect()
    }
}

/// The same numbers in every run (SplitMix64), so that the same samples give the same spread.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(median([5.0, 1.0, 9.0]), 5.0);
        assert_eq!(median([4.0, 1.0, 9.0, 2.0]), 3.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn one_start_that_strays_does_not_count() {
        let samples = vec![vec![10.0, 11.0, 90.0], vec![12.0, 12.0], vec![80.0]];
        assert_eq!(cost(&samples), 12.0);
    }

    #[test]
    fn a_spread_holds_its_figure_and_grows_with_the_strays() {
        let samples = |spread: f64| -> Samples {
            (0..5)
                .map(|start| vec![100.0 + spread * f64::from(start); 3])
                .collect()
        };
        let of = |samples: &Samples| {
            let series = Series { samples };
            estimate(&[series], |costs| costs[0])
        };
        let (calm, wild) = (of(&samples(0.0)), of(&samples(5.0)));
        assert_eq!((calm.value, calm.low, calm.high), (100.0, 100.0, 100.0));
        assert!(wild.low < wild.value && wild.value < wild.high, "{wild:?}");
    }

    #[test]
    fn what_all_have_in_common_is_no_spread_of_a_comparison() {
        // A machine of half the speed in the second start, and a third of it in one round.
        let speed = [[1.0, 1.0, 1.0], [2.0, 3.0, 2.0], [1.0, 1.0, 2.0]];
        let of = |cost: f64| -> Samples {
            let rounds = |start: &[f64; 3]| start.iter().map(|speed| cost * speed).collect();
            speed.iter().map(rounds).collect()
        };
        let (bare, native, ours) = (of(50.0), of(60.0), of(80.0));
        let series = [&bare, &native, &ours].map(|samples| Series { samples });
        let times = |costs: &[f64]| (costs[2] - costs[0]) / (costs[1] - costs[0]);
        let ratio = estimate(&series, times);
        let near = |value: f64| (value - 3.0).abs() < 1e-9;
        assert!(
            near(ratio.value) && near(ratio.low) && near(ratio.high),
            "{ratio:?}"
        );
    }

    #[test]
    fn what_starts_have_not_in_common_is_a_spread() {
        let base: Samples = vec![vec![50.0; 3]; 3];
        let whole: Samples = vec![vec![55.0; 3], vec![57.0; 3], vec![61.0; 3]];
        let series = [&whole, &base].map(|samples| Series { samples });
        let added = estimate(&series, |costs| costs[0] - costs[1]);
        assert_eq!(added.value, 7.0);
        assert!(added.low < 7.0 && added.high > 7.0, "{added:?}");
    }
}
