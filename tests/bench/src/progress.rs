//! How far it is, and how long it still takes.

use std::time::{Duration, Instant};

/// Says every few seconds what is done.
#[derive(Debug)]
pub(crate) struct Progress {
    /// How long everything takes, as far as that is known beforehand.
    expected: Duration,
    done: Duration,
    begun: Instant,
    said: Option<Instant>,
}

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

impl Progress {
    pub(crate) fn new(expected: Duration) -> Self {
        Self {
            expected,
            done: Duration::ZERO,
            begun: Instant::now(),
            said: None,
        }
    }

    /// Something is done that was expected to take so long.
    pub(crate) fn done(&mut self, expected: Duration) {
        self.done += expected;
    }

    /// Says what begins, unless something was said just now.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.said.is_some_and(|said| said.elapsed() < PAUSE) {
            return;
        }
        self.said = Some(Instant::now());
        let left = left(self.begun.elapsed(), self.done, self.expected);
        println!("{}; {} left", what(), shown(left));
    }
}

/// What is expected, corrected by how long the things that are done took.
fn left(took: Duration, done: Duration, expected: Duration) -> Duration {
    let rest = expected.saturating_sub(done);
    // Of little nothing can be learned yet.
    if done < expected / 50 {
        return rest;
    }
    rest.mul_f64(took.as_secs_f64() / done.as_secs_f64())
}

fn shown(left: Duration) -> String {
    match left.as_secs() {
        seconds @ 0..90 => format!("about {seconds} s"),
        seconds => format!("about {} min", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_corrected_by_what_was() {
        let secs = Duration::from_secs;
        assert_eq!(left(secs(0), secs(0), secs(100)), secs(100));
        assert_eq!(left(secs(20), secs(10), secs(100)), secs(180));
        assert_eq!(left(secs(20), secs(100), secs(100)), secs(0));
    }

    #[test]
    fn it_is_told_in_minutes_where_it_is_long() {
        assert_eq!(shown(Duration::from_secs(45)), "about 45 s");
        assert_eq!(shown(Duration::from_secs(600)), "about 10 min");
    }
}
