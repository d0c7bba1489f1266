//! Runs the parts: starts, and rounds in which all that is compared takes turns.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::gateway::{Gateway, Program};
use crate::machine::Cores;
use crate::parts::{Part, Subject};
use crate::progress::Progress;
use crate::stats::Samples;
use crate::traffic::{CLIENTS, Clients, Traffic};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How often each gateway is started.
    pub starts: u32,
    /// Rounds for each start.
    pub rounds: u32,
    /// CPU time of one subject in one round.
    pub slice: Duration,
    /// How long a gateway is loaded before, until V8 has compiled for good what is hot.
    pub warm_up: Duration,
}

impl Plan {
    /// Under half an hour.
    pub const FULL: Self = Self {
        starts: 4,
        rounds: 10,
        slice: Duration::from_millis(100),
        warm_up: Duration::from_millis(1_000),
    };

    /// A few minutes; the figures stray more.
    pub const QUICK: Self = Self {
        starts: 1,
        rounds: 6,
        slice: Duration::from_millis(50),
        warm_up: Duration::from_millis(400),
    };

    /// How long a part takes, roughly.
    fn expected(&self, part: &Part) -> Duration {
        self.expected_of_start(part) * self.starts_of(part)
    }

    /// How often a part's gateways are started. Where all is measured in one process, its bias is in every figure and
    /// in what is taken off.
    fn starts_of(&self, part: &Part) -> u32 {
        match part.gateways.len() {
            1 => self.starts.div_ceil(2),
            _ => self.starts,
        }
    }

    fn expected_of_start(&self, part: &Part) -> Duration {
        let gateways = u32::try_from(part.gateways.len()).unwrap_or(u32::MAX);
        let subjects = u32::try_from(part.subjects.len()).unwrap_or(u32::MAX);
        let before = part.subjects.iter().flat_map(|subject| &subject.before);
        let before = before
            .map(|(_, _, times)| PER_REQUEST * *times)
            .sum::<Duration>();
        PER_GATEWAY * gateways + (self.warm_up + self.round() * self.rounds) * subjects + before
    }

    fn round(&self) -> Duration {
        self.slice + self.slice / 5
    }
}

/// What a start takes, and a request: for the time that is left.
const PER_GATEWAY: Duration = Duration::from_millis(1_500);
const PER_REQUEST: Duration = Duration::from_micros(100);

/// A part, and what came out, in the order of its subjects.
#[derive(Debug)]
pub struct Measured {
    /// The part.
    pub part: Part,
    /// The samples of each of its subjects.
    pub samples: Vec<Samples>,
}

/// Who takes part.
pub struct Bench<'a> {
    /// What gateways are started from.
    pub program: Program<'a>,
    /// The load and the upstream.
    pub traffic: Traffic,
    /// Where they run.
    pub cores: Cores,
    /// How much is measured.
    pub plan: Plan,
}

impl Bench<'_> {
    /// Measures all parts, one after the other.
    ///
    /// # Errors
    /// A gateway does not start, or does not answer as it must.
    pub fn run(&self, parts: Vec<Part>) -> Result<Vec<Measured>> {
        let expected = parts.iter().map(|part| self.plan.expected(part)).sum();
        let mut progress = Progress::new(expected);
        let parts = parts.into_iter().map(|part| {
            let name = part.name;
            self.part(part, &mut progress)
                .with_context(|| format!("in the part {name}"))
        });
        parts.collect()
    }

    fn part(&self, part: Part, progress: &mut Progress) -> Result<Measured> {
        let mut samples = vec![Samples::new(); part.subjects.len()];
        let starts = self.plan.starts_of(&part);
        for start in 1..=starts {
            let at = || format!("{}: start {start} of {starts}", part.name);
            progress.say(at);
            let gateways = self.start(&part)?;
            let mut runners = part
                .subjects
                .iter()
                .map(|subject| Runner::new(self, subject, &gateways[part.gateway_of(subject)?]))
                .collect::<Result<Vec<_>>>()?;
            for round in 1..=self.plan.rounds {
                progress.say(|| format!("{}, round {round} of {}", at(), self.plan.rounds));
                // Every other round goes the other way: what grows steadily is so no subject's burden.
                let mut order: Vec<_> = (0..runners.len()).collect();
                if round % 2 == 0 {
                    order.reverse();
                }
                for at in order {
                    let sample = runners[at].sample()?;
                    match samples[at].get_mut(start as usize - 1) {
                        Some(rounds) => rounds.push(sample),
                        None => samples[at].push(vec![sample]),
                    }
                }
            }
            progress.done(self.plan.expected_of_start(&part));
        }
        Ok(Measured { part, samples })
    }

    /// All of a part's gateways, which start side by side.
    fn start(&self, part: &Part) -> Result<Vec<Gateway>> {
        let mut gateways = Vec::new();
        for plan in &part.gateways {
            gateways.push(Gateway::start(self.program, &plan.bootstrap, plan.workers)?);
        }
        for (gateway, plan) in gateways.iter_mut().zip(&part.gateways) {
            let cores = self.cores.of_gateway(plan.workers);
            let serves = gateway.wait(&self.traffic, cores);
            serves.with_context(|| format!("the gateway {}", plan.name))?;
        }
        Ok(gateways)
    }
}

/// A subject, and its gateway.
struct Runner<'a> {
    bench: &'a Bench<'a>,
    subject: &'a Subject,
    gateway: &'a Gateway,
    clients: Clients,
    /// So many requests fill a slice.
    times: u32,
}

impl<'a> Runner<'a> {
    /// Connects, does what is to be done before, and warms up.
    fn new(bench: &'a Bench<'a>, subject: &'a Subject, gateway: &'a Gateway) -> Result<Self> {
        let made = Self::cold(bench, subject, gateway).and_then(|mut runner| {
            runner.warm_up()?;
            Ok(runner)
        });
        made.with_context(|| failed(subject, gateway))
    }

    fn cold(bench: &'a Bench<'a>, subject: &'a Subject, gateway: &'a Gateway) -> Result<Self> {
        let connect = |listener, ask| bench.traffic.connect(gateway.address(listener)?, ask);
        for (listener, ask, times) in &subject.before {
            bench.traffic.send(&mut connect(listener, ask)?, *times)?;
        }
        Ok(Self {
            bench,
            subject,
            gateway,
            clients: connect(subject.listener, &subject.ask)?,
            times: CLIENTS,
        })
    }

    fn warm_up(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let cost = self.load()?;
            if begun.elapsed() >= self.bench.plan.warm_up {
                self.times = fill(self.bench.plan.slice, cost / self.times);
                return Ok(());
            }
            // Never longer than what is left.
            let quarter = self.bench.plan.warm_up / 4;
            self.times = fill(quarter, cost / self.times);
        }
    }

    /// What one request costs, in microseconds.
    fn sample(&mut self) -> Result<f64> {
        let cost = self
            .load()
            .with_context(|| failed(self.subject, self.gateway))?;
        Ok(cost.as_secs_f64() * 1e6 / f64::from(self.times))
    }

    /// What all requests of a slice cost.
    fn load(&mut self) -> Result<Duration> {
        let before = self.gateway.cpu_time()?;
        self.bench.traffic.send(&mut self.clients, self.times)?;
        let cost = self.gateway.cpu_time()?.saturating_sub(before);
        self.gateway.forget_log()?;
        Ok(cost)
    }
}

/// How many requests of this cost fill a slice; each client sends one at least.
fn fill(slice: Duration, cost: Duration) -> u32 {
    let times = slice.as_secs_f64() / cost.as_secs_f64().max(1e-6);
    (times as u32).max(CLIENTS)
}

fn failed(subject: &Subject, gateway: &Gateway) -> String {
    let said = gateway.last_lines();
    if said.is_empty() {
        subject.name.clone()
    } else {
        format!("{}; its gateway said last:\n{said}", subject.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_filled_and_no_client_left_out() {
        let slice = Duration::from_millis(200);
        assert_eq!(fill(slice, Duration::from_micros(100)), 2_000);
        assert_eq!(fill(slice, Duration::from_millis(100)), CLIENTS);
        assert_eq!(fill(slice, Duration::ZERO), 200_000);
    }
}
