//! Rounds, in which all that is measured takes turns.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::stats::median;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of which the price is asked.
    Asked,
    /// The same without what is priced.
    Without,
}

/// Does something so many times and says how much CPU time it took.
pub type Run<'a> = Box<dyn FnMut(Side, u32) -> Result<Duration> + 'a>;

/// Something to be measured.
pub struct Subject<'a> {
    /// What it is called.
    pub name: String,
    /// Whether there is anything to be taken off.
    pub has_without: bool,
    /// Does it.
    pub run: Run<'a>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// CPU time of one run.
    pub slice: Duration,
    /// Most rounds.
    pub rounds: u32,
    /// After which no other round begins, for a machine that is busy. There are at least three.
    pub at_most: Duration,
}

/// What came out, in microseconds.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is called.
    pub name: String,
    /// The price: the median of the rounds' differences.
    pub price: f64,
    /// From which the price strays no further in half of the rounds.
    pub spread: f64,
    /// What is asked, whole: the median.
    pub whole: f64,
    /// Rounds.
    pub rounds: usize,
}

/// Measures all subjects in turns; `progress` hears which round begins, of how many at most.
///
/// # Errors
/// A run failed.
pub fn measure(
    mut subjects: Vec<Subject<'_>>,
    plan: &Plan,
    mut progress: impl FnMut(u32, u32),
) -> Result<Vec<Figure>> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for subject in &mut subjects {
        let fill = subject.calibrate(plan.slice);
        times.push(fill.with_context(|| subject.name.clone())?);
    }
    let mut samples = vec![Vec::new(); subjects.len()];
    for round in 1..=plan.rounds {
        if round > 3 && begun.elapsed() > plan.at_most {
            break;
        }
        progress(round, plan.rounds);
        for ((subject, times), samples) in subjects.iter_mut().zip(&times).zip(&mut samples) {
            let sample = subject.sample(*times, round);
            samples.push(sample.with_context(|| subject.name.clone())?);
        }
    }
    let figures = subjects.iter().zip(&samples);
    Ok(figures
        .map(|(subject, samples)| Figure::of(&subject.name, samples))
        .collect())
}

/// One round's figures, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Sample {
    whole: f64,
    price: f64,
}

impl Subject<'_> {
    /// How many times fill a slice.
    fn calibrate(&mut self, slice: Duration) -> Result<u32> {
        let mut times = 1_u32;
        loop {
            let took = (self.run)(Side::Asked, times)?;
            if took * 8 >= slice {
                let fill = f64::from(times) * slice.as_secs_f64() / took.as_secs_f64();
                return Ok(fill.ceil() as u32);
            }
            times = times.saturating_mul(2);
        }
    }

    /// Every other round begins with the other side: what grows steadily is so no side's burden.
    fn sample(&mut self, times: u32, round: u32) -> Result<Sample> {
        let mut one =
            |side| anyhow::Ok((self.run)(side, times)?.as_secs_f64() * 1e6 / f64::from(times));
        let (whole, without) = match (self.has_without, round % 2) {
            (false, _) => (one(Side::Asked)?, 0.0),
            (true, 0) => (one(Side::Asked)?, one(Side::Without)?),
            (true, _) => {
                let without = one(Side::Without)?;
                (one(Side::Asked)?, without)
            }
        };
        Ok(Sample {
            whole,
            price: whole - without,
        })
    }
}

impl Figure {
    fn of(name: &str, samples: &[Sample]) -> Self {
        let price = median(samples.iter().map(|sample| sample.price));
        Self {
            name: name.to_owned(),
            price,
            spread: median(samples.iter().map(|sample| (sample.price - price).abs())),
            whole: median(samples.iter().map(|sample| sample.whole)),
            rounds: samples.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_the_difference_of_both_sides() {
        let plan = Plan {
            slice: Duration::from_millis(10),
            rounds: 5,
            at_most: Duration::MAX,
        };
        let subject = |name: &str, has_without, micros: [u64; 2]| Subject {
            name: name.to_owned(),
            has_without,
            run: Box::new(move |side, times| {
                Ok(Duration::from_micros(micros[side as usize]) * times)
            }),
        };
        let subjects = vec![subject("a", true, [70, 50]), subject("b", false, [5, 0])];
        let mut rounds = Vec::new();
        let figures = measure(subjects, &plan, |round, _| rounds.push(round)).unwrap();
        assert_eq!(rounds, [1, 2, 3, 4, 5]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
        assert!(
            near(figures[0].price, 20.0) && near(figures[0].whole, 70.0),
            "{figures:?}"
        );
        assert!(
            near(figures[1].price, 5.0) && near(figures[1].spread, 0.0),
            "{figures:?}"
        );
        assert_eq!(figures[0].rounds, 5);
    }
}
