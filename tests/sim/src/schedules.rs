//! How many schedules are tried, what each draws, and how one that failed is tried again.
//!
//! `PORTCULLIS_SCHEDULES` sets how many there are in all; `PORTCULLIS_SEED` runs one seed only.

use std::env;
use std::thread;

use crate::SeededEntropy;

/// Schedules in all of a simulation, unless `PORTCULLIS_SCHEDULES` says otherwise.
const DEFAULT: u64 = 20_000;

/// What is tried: each is one test of that name, and [`Part::run`] is the only way to seeds.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The package that it is a test of.
    pub package: &'static str,
    /// Its test, as `cargo test` knows it.
    pub test: &'static str,
    /// Its share of all schedules, in thousandths.
    pub share: u64,
}

/// How many schedules there are in all: what `PORTCULLIS_SCHEDULES` says, or else `default`.
pub fn schedules_or(default: u64) -> u64 {
    variable("PORTCULLIS_SCHEDULES").unwrap_or(default)
}

impl Part {
    /// Tries each of its schedules; one that fails says how to try it again.
    pub fn run(self, mut schedule: impl FnMut(u64)) {
        let seeds = match variable("PORTCULLIS_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..self.schedules(),
        };
        for seed in seeds {
            let Self { package, test, .. } = self;
            let again = format!(
                "seed {seed} failed; again: PORTCULLIS_SEED={seed} cargo test -p {package} {test}"
            );
            telling(again, || schedule(seed));
        }
    }

    /// How many schedules it tries, rounded up: no part is ever left out.
    fn schedules(self) -> u64 {
        (schedules_or(DEFAULT) * self.share).div_ceil(1_000)
    }
}

/// Panics where the shares of a simulation's parts do not make a whole.
pub fn check_shares(all: &[Part]) {
    assert_eq!(all.iter().map(|part| part.share).sum::<u64>(), 1_000);
    let schedules: u64 = all.iter().map(|part| part.schedules()).sum();
    assert!(schedules >= schedules_or(DEFAULT), "{schedules} schedules");
}

/// Says what it was about when a schedule panics, from whatever depth.
pub fn telling(about: String, schedule: impl FnOnce()) {
    struct Telling(String);
    impl Drop for Telling {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("{}", self.0);
            }
        }
    }
    let _telling = Telling(about);
    schedule();
}

/// What a schedule draws from its seed.
pub struct Draw(SeededEntropy);

impl Draw {
    /// `stream` tells draws of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream;
        Self(SeededEntropy::new(mixed))
    }

    /// A number from `least` to `most`.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        least + self.0.below(most - least + 1)
    }

    /// Once in so many times.
    pub fn once_in(&self, times: u64) -> bool {
        self.0.below(times) == 0
    }

    /// One of them.
    pub fn of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u64) as usize]
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}
