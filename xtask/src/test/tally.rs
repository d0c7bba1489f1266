//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;

/// A count of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: u64,
    /// Failed; a step that failed otherwise counts as one.
    pub failed: u64,
    /// Ignored by their own wish; a step that was left out counts as one.
    pub skipped: u64,
}

impl Tally {
    /// Takes in a line that a test program printed, if it is its result:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub fn hear(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = result
            .split([' ', ';', '.'])
            .filter(|w| !w.is_empty())
            .collect();
        for pair in words.windows(2) {
            let [number, kind] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            let count = match *kind {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.skipped,
                _ => continue,
            };
            *count = count.saturating_add(number);
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_both_runners_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.10s",
            "test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 filtered out; finished in 0.02s",
            "a line that says test result: ok. 9 passed",
        ] {
            tally.hear(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 7,
                failed: 1,
                skipped: 3
            }
        );
        assert_eq!(tally.to_string(), "7 passed, 1 failed, 3 skipped");
    }
}
