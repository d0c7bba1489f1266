//! What is made of many samples: a median, and how far it may be off.

/// Samples of one subject, in microseconds: by start of its gateway, then by round.
pub type Samples = Vec<Vec<f64>>;

/// A subject's samples, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The gateway: what was measured in one process has that process' bias in common.
    pub gateway: &'a str,
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

/// A figure of the costs of several subjects, by `of` in their order; and its spread by the bootstrap: starts and rounds
/// are drawn again and again from those that there were.
#[must_use]
pub fn estimate(series: &[Series<'_>], of: impl Fn(&[f64]) -> f64) -> Estimate {
    /// So many times.
    const DRAWS: usize = 1_000;
    let costs: Vec<f64> = series.iter().map(|series| cost(series.samples)).collect();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| of(&drawn_costs(series, &mut dice)))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |part: usize| drawn.get(DRAWS * part / 100).copied().unwrap_or(f64::NAN);
    Estimate {
        value: of(&costs),
        low: at(5),
        high: at(95),
    }
}

fn drawn_costs(series: &[Series<'_>], dice: &mut Dice) -> Vec<f64> {
    let mut draws: Vec<(&str, Vec<Start>)> = Vec::new();
    let mut costs = Vec::new();
    for one in series {
        let known = draws
            .iter()
            .position(|(gateway, _)| *gateway == one.gateway);
        let at = known.unwrap_or_else(|| {
            draws.push((one.gateway, drawn_places(one.samples, dice)));
            draws.len() - 1
        });
        let starts = draws
            .get(at)
            .map(|(_, starts)| &starts[..])
            .unwrap_or_default();
        costs.push(median(starts.iter().map(|Start { start, rounds }| {
            let samples = one
                .samples
                .get(*start)
                .map(|rounds| &rounds[..])
                .unwrap_or_default();
            median(
                rounds
                    .iter()
                    .filter_map(|round| samples.get(*round).copied()),
            )
        })));
    }
    costs
}

/// A start that was drawn, and those of its rounds that were.
struct Start {
    start: usize,
    rounds: Vec<usize>,
}

fn drawn_places(samples: &Samples, dice: &mut Dice) -> Vec<Start> {
    let starts = (0..samples.len()).map(|_| {
        let start = dice.below(samples.len());
        let count = samples.get(start).map_or(0, Vec::len);
        let rounds = (0..count).map(|_| dice.below(count)).collect();
        Start { start, rounds }
    });
    starts.collect()
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
            let series = Series {
                gateway: "a",
                samples,
            };
            estimate(&[series], |costs| costs[0])
        };
        let (calm, wild) = (of(&samples(0.0)), of(&samples(5.0)));
        assert_eq!((calm.value, calm.low, calm.high), (100.0, 100.0, 100.0));
        assert!(wild.low < wild.value && wild.value < wild.high, "{wild:?}");
    }

    #[test]
    fn what_one_process_has_in_common_is_no_spread_of_a_difference() {
        let base: Samples = vec![vec![50.0; 3], vec![60.0; 3], vec![70.0; 3]];
        let whole: Samples = base
            .iter()
            .map(|rounds| rounds.iter().map(|v| v + 7.0).collect())
            .collect();
        let added = |gateways: [&str; 2]| {
            let series = [
                Series {
                    gateway: gateways[0],
                    samples: &whole,
                },
                Series {
                    gateway: gateways[1],
                    samples: &base,
                },
            ];
            estimate(&series, |costs| costs[0] - costs[1])
        };
        let same = added(["a", "a"]);
        assert_eq!((same.low, same.high), (7.0, 7.0));
        let two = added(["a", "b"]);
        assert!(two.low < 7.0 && two.high > 7.0, "{two:?}");
    }
}
