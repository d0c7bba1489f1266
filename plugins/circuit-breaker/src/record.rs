//! How a record lies in shared data: one slot of a fixed size for each breaker.
//!
//! ```text
//! generation 4 | times open 1 | last time open 8 | since 8 | state 1 | count 4 | until 8 | why 1 | body 192
//! ```
//!
//! The body of a closed breaker: two windows of `width 8 | newest 8 | 10 × (requests 4 | bad 4)`, of
//! failures and of slow requests. The body of a half-open one: when 16 leases end, 8 each; that of a
//! free permit is 0. What a state does not have is 0.

use portcullis_policy::{Layout, Reader, Span, Timestamp, Writer};

use crate::backoff::Backoff;
use crate::breaker::{Record, State};
use crate::permits::Permits;
use crate::transition::Why;
use crate::window::Window;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// What the longest body takes: two windows.
const BODY: usize = 192;
const LEASES: usize = 128;

/// The slot of the breaker of this name.
pub(crate) fn slot_name(breaker: &str) -> String {
    format!("portcullis/breaker/{breaker}")
}

impl Layout for Record {
    const FORMAT: &'static str = "circuit_breaker/2";

    fn encode(&self, to: &mut Writer) {
        let (tag, count, until, why) = match &self.state {
            State::Closed { failures, .. } => (CLOSED, *failures, Timestamp::default(), 0),
            State::Open { until, why } => (OPEN, 0, *until, number(*why)),
            State::HalfOpen { successes, .. } => (HALF_OPEN, *successes, Timestamp::default(), 0),
        };
        to.u32(self.generation);
        to.u8(self.backoff.times);
        to.u64(self.backoff.last.as_nanos());
        to.u64(self.since.unix_nanos());
        to.u8(tag);
        to.u32(count);
        to.u64(until.unix_nanos());
        to.u8(why);
        match &self.state {
            State::Closed { failing, slow, .. } => {
                for window in [failing, slow] {
                    to.u64(window.width);
                    to.u64(window.newest);
                    for bucket in window.buckets {
                        to.u32(bucket.requests);
                        to.u32(bucket.bad);
                    }
                }
            }
            State::Open { .. } => to.bytes(&[0; BODY]),
            State::HalfOpen { permits, .. } => {
                for lease in permits.0 {
                    to.u64(lease.unwrap_or_default().unix_nanos());
                }
                to.bytes(&[0; BODY - LEASES]);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let generation = from.u32()?;
        let backoff = Backoff {
            times: from.u8()?,
            last: Span::from_nanos(from.u64()?),
        };
        let since = Timestamp::from_unix_nanos(from.u64()?);
        let tag = from.u8()?;
        let count = from.u32()?;
        let until = Timestamp::from_unix_nanos(from.u64()?);
        let why = from.u8()?;
        let state = match tag {
            CLOSED => State::Closed {
                failures: count,
                failing: window(from)?,
                slow: window(from)?,
            },
            OPEN => {
                from.take(BODY)?;
                State::Open {
                    until,
                    why: why_of(why)?,
                }
            }
            HALF_OPEN => {
                let permits = permits(from)?;
                from.take(BODY - LEASES)?;
                State::HalfOpen {
                    permits,
                    successes: count,
                }
            }
            _ => return None,
        };
        Some(Self {
            generation,
            backoff,
            since,
            state,
        })
    }
}

fn window(from: &mut Reader<'_>) -> Option<Window> {
    let mut window = Window {
        width: from.u64()?,
        newest: from.u64()?,
        ..Window::default()
    };
    for bucket in &mut window.buckets {
        bucket.requests = from.u32()?;
        bucket.bad = from.u32()?;
    }
    Some(window)
}

fn permits(from: &mut Reader<'_>) -> Option<Permits> {
    let mut permits = Permits::default();
    for lease in &mut permits.0 {
        let until = from.u64()?;
        *lease = (until != 0).then(|| Timestamp::from_unix_nanos(until));
    }
    Some(permits)
}

const fn number(why: Why) -> u8 {
    match why {
        Why::ConsecutiveFailures => 0,
        Why::FailureRatio => 1,
        Why::SlowRatio => 2,
        Why::ProbeFailed => 3,
    }
}

const fn why_of(number: u8) -> Option<Why> {
    match number {
        0 => Some(Why::ConsecutiveFailures),
        1 => Some(Why::FailureRatio),
        2 => Some(Why::SlowRatio),
        3 => Some(Why::ProbeFailed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{SharedData, SharedStore as _, SlotKey, Step, read, update};
    use portcullis_sim::{Dialect, Zone, ZoneStore};

    use super::*;
    use crate::permits::MOST_PROBES;
    use crate::window::Tally;

    /// Stores a record and reads it back; returns its length in shared data, too.
    fn round_trip(record: &Record) -> (Option<Record>, usize) {
        let store = SharedData(ZoneStore::new(&Zone::new(Dialect::Kong), None));
        let key = SlotKey::new::<Record>(slot_name("a"));
        update(&store, &key, |_: Option<&Record>| {
            Step::Write(record.clone(), ())
        })
        .unwrap();
        let stored = store.get(key.name()).unwrap().unwrap();
        (read(&store, &key).unwrap(), stored.bytes.len())
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_all_have_one_length() {
        let at = Timestamp::from_unix_secs;
        let mut some = Permits::default();
        some.0[3] = Some(at(5));
        let full = Permits([Some(Timestamp::from_unix_nanos(u64::MAX)); MOST_PROBES]);
        let window = |number: u32| Window {
            width: u64::from(number) + 1,
            newest: u64::from(number) + 2,
            buckets: std::array::from_fn(|place| Tally {
                requests: number.wrapping_add(place as u32),
                bad: number.wrapping_mul(7),
            }),
        };
        let reasons = [
            Why::ConsecutiveFailures,
            Why::FailureRatio,
            Why::SlowRatio,
            Why::ProbeFailed,
        ];
        let states = [
            State::default(),
            State::Closed {
                failures: u32::MAX,
                failing: window(3),
                slow: window(u32::MAX),
            },
            State::HalfOpen {
                permits: Permits::default(),
                successes: 0,
            },
            State::HalfOpen {
                permits: some,
                successes: 2,
            },
            State::HalfOpen {
                permits: full,
                successes: u32::MAX,
            },
        ]
        .into_iter()
        .chain(reasons.map(|why| State::Open { until: at(2), why }));
        for generation in [0, 1, u32::MAX] {
            for state in states.clone() {
                let record = Record {
                    generation,
                    backoff: Backoff {
                        times: 9,
                        last: Span::from_secs(300),
                    },
                    since: at(1),
                    state,
                };
                // 24 bytes are the slot's own: identity and checksum.
                assert_eq!(round_trip(&record), (Some(record), 24 + 35 + 192));
            }
        }
    }
}
