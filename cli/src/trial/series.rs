//! Requests that are sent one after another, and over again.

use portcullis_policy::{Span, Timestamp};

use super::{Trial, Upstream};
use crate::requests::Asked;

/// How often requests are sent, and when.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// When the first one is.
    pub from: Timestamp,
    /// How often all of them are.
    pub repeat: u32,
    /// Within how long all are, one as long after another.
    pub over: Option<Span>,
}

impl Series {
    /// Sends all requests in their order.
    pub fn send(&self, all: &[Asked], upstream: &Upstream, trial: &mut Trial) {
        let rounds = (0..self.repeat).flat_map(|_| all);
        let count = u128::from(self.repeat).saturating_mul(u128::try_from(all.len()).unwrap_or(1));
        for (nth, asked) in (0_u128..).zip(rounds) {
            match self.over {
                None => trial.send(asked, upstream),
                Some(over) => {
                    let nanos = u128::from(over.as_nanos()).saturating_mul(nth);
                    let nanos = nanos.checked_div(count).unwrap_or_default();
                    let after = Span::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                    let at = Some(self.from.after(after));
                    let asked = asked.clone();
                    trial.send(&Asked { at, ..asked }, upstream);
                }
            }
        }
    }
}

/// Has requests that say when they came begin at `at`, where that is given, with as much time between them as there was. When they
/// begin: `otherwise` where nobody says when.
pub fn begin(
    all: &mut [Asked],
    at: Option<Timestamp>,
    otherwise: impl Fn() -> Timestamp,
) -> Timestamp {
    let first = all.iter().filter_map(|asked| asked.at).min();
    let begin = at.or(first).unwrap_or_else(otherwise);
    for asked in all {
        if let (Some(own), Some(first)) = (asked.at, first) {
            asked.at = Some(begin.after(own.since(first)));
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_log_keep_the_time_between_them_whenever_they_begin() {
        let at = |secs| Asked {
            at: Some(Timestamp::from_unix_secs(secs)),
            ..Asked::default()
        };
        let mut all = [at(100), at(130)];
        let now = || Timestamp::from_unix_secs(5);
        assert_eq!(begin(&mut all, None, now).unix_secs(), 100);
        let later = Timestamp::from_unix_secs(1_000);
        assert_eq!(begin(&mut all, Some(later), now), later);
        let times: Vec<_> = all.iter().filter_map(|asked| asked.at).collect();
        assert_eq!(times, [1_000, 1_030].map(Timestamp::from_unix_secs));
        assert_eq!(begin(&mut [Asked::default()], None, now).unix_secs(), 5);
    }
}
