//! How many schedules are tried, and how one that failed is tried again.
//!
//! `PORTCULLIS_SCHEDULES` sets how many there are in all; `PORTCULLIS_SEED` runs one seed only.

use portcullis_sim::SeededEntropy;

/// Schedules in all, unless `PORTCULLIS_SCHEDULES` says otherwise.
pub(crate) const DEFAULT: u64 = 20_000;

/// What is tried: each is one test of that name, and [`Part::run`] is the only way to seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// Its test, as `cargo test` knows it.
    pub(crate) test: &'static str,
    /// Its share of all schedules, in thousandths.
    pub(crate) share: u64,
}

/// Workers one after the other, against the reference.
pub(crate) const SEQUENTIAL: Part = Part {
    test: "every_answer_and_state_is_the_one_of_the_reference",
    share: 350,
};
/// The same with calls of the gateway that fail.
pub(crate) const FAILED: Part = Part {
    test: "failed_calls_are_counted_on_error_decides_and_nothing_else_changes",
    share: 120,
};
/// Workers that interleave, without faults.
pub(crate) const INTERLEAVED: Part = Part {
    test: "every_change_of_interleaved_workers_is_one_of_the_reference",
    share: 200,
};
/// The same with torn reads.
pub(crate) const TORN: Part = Part {
    test: "with_torn_reads_states_follow_each_other_and_each_request_is_settled_once",
    share: 40,
};
/// The same with slots that are lost.
pub(crate) const LOST: Part = Part {
    test: "with_lost_slots_nothing_wedges_and_each_request_is_settled_once",
    share: 40,
};
/// Clocks that are set.
pub(crate) const STEPS: Part = Part {
    test: "a_clock_that_is_set_shuts_nobody_out_for_longer_and_admits_nobody_early",
    share: 150,
};
/// Clocks that show anything at all.
pub(crate) const ANYTHING: Part = Part {
    test: "a_clock_that_shows_anything_panics_nothing_and_each_request_is_settled_once",
    share: 50,
};

/// Workers that tell each other late, against somebody who knows all at once.
pub(crate) const KNOWLEDGE: Part = Part {
    test: "what_is_known_late_opens_nothing_and_delays_no_longer_than_its_bound",
    share: 50,
};

/// All of them.
pub(crate) const ALL: [Part; 8] = [
    SEQUENTIAL,
    FAILED,
    INTERLEAVED,
    TORN,
    LOST,
    STEPS,
    ANYTHING,
    KNOWLEDGE,
];

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

impl Part {
    /// How many schedules it tries, rounded up: no part is ever left out.
    pub(crate) fn schedules(self) -> u64 {
        let all = variable("PORTCULLIS_SCHEDULES").unwrap_or(DEFAULT);
        (all * self.share).div_ceil(1_000)
    }

    /// Tries each of its schedules; one that fails says how to try it again.
    pub(crate) fn run(self, mut schedule: impl FnMut(u64)) {
        let seeds = match variable("PORTCULLIS_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..self.schedules(),
        };
        for seed in seeds {
            let _telling = Telling(self, seed);
            schedule(seed);
        }
    }
}

/// Tells the seed when a schedule panics, from whatever place.
struct Telling(Part, u64);

impl Drop for Telling {
    fn drop(&mut self) {
        let Self(part, seed) = self;
        if std::thread::panicking() {
            eprintln!(
                "seed {seed} failed; again: PORTCULLIS_SEED={seed} cargo test \
                 -p portcullis-circuit-breaker --test simulation {}",
                part.test
            );
        }
    }
}

/// What a schedule draws from its seed.
pub(crate) struct Draw(SeededEntropy);

impl Draw {
    /// `stream` tells draws of one seed apart.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream;
        Self(SeededEntropy::new(mixed))
    }

    /// A number from `least` to `most`.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.0.below(most - least + 1)
    }

    /// Once in so many times.
    pub(crate) fn once_in(&self, times: u64) -> bool {
        self.0.below(times) == 0
    }

    /// One of them.
    pub(crate) fn of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u64) as usize]
    }
}

#[test]
fn there_are_at_least_twenty_thousand_schedules() {
    assert_eq!(ALL.iter().map(|part| part.share).sum::<u64>(), 1_000);
    if variable("PORTCULLIS_SCHEDULES").is_none() {
        let all: u64 = ALL.iter().map(|part| part.schedules()).sum();
        assert!(all >= DEFAULT, "{all} schedules");
    }
}
