//! How a record lies in shared data: one slot of a fixed size for each breaker.
//!
//! ```text
//! generation 4 | times open 1 | last time open 8 | since 8 | held 1 | held since 8 | until 8 |
//! state 1 | count 4 | until 8 | why 1 | body 248
//! ```
//!
//! The body of a closed breaker: when the failures in a row began and when the last of them came, 8
//! each; how many rows were ended, and what the last end took out, 4 each; then two shares, of failures and of slow requests: `width 8 | newest 8 | 10 × (requests 4 |
//! bad 4) | suspected since 8 | requests 4 | bad 4`. The body of a half-open one: the numbers of the
//! first permit and of the next 4 each, until when takeovers are paid off 8, and 16 leases of `number 4 | until 8 | what
//! has come of the request 1`; one of nobody is 0. What a state does not have is 0.

use portcullis_policy::{Layout, Reader, Sent, Span, Timestamp, Writer};

use crate::backoff::Backoff;
use crate::breaker::{Record, State};
use crate::hold::{Hold, Side};
use crate::permits::{Lease, Permits};
use crate::run::Run;
use crate::share::{Share, Suspicion};
use crate::transition::Why;
use crate::window::{Tally, Window};

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// What the longest body takes: a run and two shares.
const BODY: usize = 248;
/// A half-open one's.
const LEASES: usize = 2 * 4 + 8 + 16 * 13;

const FREE: u8 = 0;
const HEAD_ONLY: u8 = 1;
const WHOLE: u8 = 2;

/// The slot of the breaker of this name.
pub(crate) fn slot_name(breaker: &str) -> String {
    format!("portcullis/breaker/{breaker}")
}

impl Layout for Record {
    const FORMAT: &'static str = "circuit_breaker/6";

    fn encode(&self, to: &mut Writer) {
        let (tag, count, until, why) = match &self.state {
            State::Closed { run, .. } => (CLOSED, run.failures, Timestamp::default(), 0),
            State::Open { until, why } => (OPEN, 0, *until, number(*why)),
            State::HalfOpen { successes, .. } => (HALF_OPEN, *successes, Timestamp::default(), 0),
        };
        to.u32(self.generation);
        to.u8(self.backoff.times);
        to.u64(self.backoff.last.as_nanos());
        to.u64(self.since.unix_nanos());
        encode_hold(self.hold, to);
        to.u8(tag);
        to.u32(count);
        to.u64(until.unix_nanos());
        to.u8(why);
        match &self.state {
            State::Closed { run, failing, slow } => {
                to.u64(run.began.unix_nanos());
                to.u64(run.last.unix_nanos());
                to.u32(run.ends);
                to.u32(run.taken);
                for share in [failing, slow] {
                    encode_share(share, to);
                }
            }
            State::Open { .. } => to.bytes(&[0; BODY]),
            State::HalfOpen { permits, .. } => {
                to.u32(permits.first);
                to.u32(permits.taken);
                to.u64(permits.crowded_until.unix_nanos());
                for lease in permits.leases {
                    let (number, until, sent) = match lease {
                        None => (0, Timestamp::default(), FREE),
                        Some(lease) => (lease.number, lease.until, sent_number(lease.sent)),
                    };
                    to.u32(number);
                    to.u64(until.unix_nanos());
                    to.u8(sent);
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
        let hold = hold(from)?;
        let tag = from.u8()?;
        let count = from.u32()?;
        let until = Timestamp::from_unix_nanos(from.u64()?);
        let why = from.u8()?;
        let state = match tag {
            CLOSED => State::Closed {
                run: Run {
                    failures: count,
                    began: Timestamp::from_unix_nanos(from.u64()?),
                    last: Timestamp::from_unix_nanos(from.u64()?),
                    ends: from.u32()?,
                    taken: from.u32()?,
                },
                failing: share(from)?,
                slow: share(from)?,
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
            hold,
            state,
        })
    }
}

const HELD_OPEN: u8 = 1;
const HELD_CLOSED: u8 = 2;

fn encode_hold(hold: Option<Hold>, to: &mut Writer) {
    let (tag, since, until) = match hold {
        None => (FREE, Timestamp::default(), Timestamp::default()),
        Some(Hold { side, since, until }) => match side {
            Side::Open => (HELD_OPEN, since, until),
            Side::Closed => (HELD_CLOSED, since, until),
        },
    };
    to.u8(tag);
    to.u64(since.unix_nanos());
    to.u64(until.unix_nanos());
}

fn hold(from: &mut Reader<'_>) -> Option<Option<Hold>> {
    let tag = from.u8()?;
    let since = Timestamp::from_unix_nanos(from.u64()?);
    let until = Timestamp::from_unix_nanos(from.u64()?);
    let held = |side| Hold { side, since, until };
    match tag {
        FREE => Some(None),
        HELD_OPEN => Some(Some(held(Side::Open))),
        HELD_CLOSED => Some(Some(held(Side::Closed))),
        _ => None,
    }
}

fn encode_share(share: &Share, to: &mut Writer) {
    to.u64(share.window.width);
    to.u64(share.window.newest);
    for bucket in share.window.buckets {
        to.u32(bucket.requests);
        to.u32(bucket.bad);
    }
    let suspicion = share.suspicion.unwrap_or_default();
    to.u64(suspicion.since.unix_nanos());
    to.u32(suspicion.tally.requests);
    to.u32(suspicion.tally.bad);
}

fn share(from: &mut Reader<'_>) -> Option<Share> {
    let mut window = Window {
        width: from.u64()?,
        newest: from.u64()?,
        ..Window::default()
    };
    for bucket in &mut window.buckets {
        bucket.requests = from.u32()?;
        bucket.bad = from.u32()?;
    }
    let suspicion = Suspicion {
        since: Timestamp::from_unix_nanos(from.u64()?),
        tally: Tally {
            requests: from.u32()?,
            bad: from.u32()?,
        },
    };
    // No share of nothing is exceeded.
    let suspicion = (suspicion.tally != Tally::default()).then_some(suspicion);
    Some(Share { window, suspicion })
}

fn permits(from: &mut Reader<'_>) -> Option<Permits> {
    let mut permits = Permits {
        first: from.u32()?,
        taken: from.u32()?,
        crowded_until: Timestamp::from_unix_nanos(from.u64()?),
        ..Permits::default()
    };
    for held in &mut permits.leases {
        let number = from.u32()?;
        let until = Timestamp::from_unix_nanos(from.u64()?);
        let lease = |sent| Lease {
            number,
            until,
            sent,
        };
        *held = match from.u8()? {
            FREE => None,
            HEAD_ONLY => Some(lease(Sent::HeadOnly)),
            WHOLE => Some(lease(Sent::Whole)),
            _ => return None,
        };
    }
    Some(permits)
}

const fn sent_number(sent: Sent) -> u8 {
    match sent {
        Sent::HeadOnly => HEAD_ONLY,
        Sent::Whole => WHOLE,
    }
}

const fn number(why: Why) -> u8 {
    match why {
        Why::ConsecutiveFailures => 0,
        Why::FailureRatio => 1,
        Why::SlowRatio => 2,
        Why::ProbeFailed => 3,
        Why::Control => 4,
    }
}

const fn why_of(number: u8) -> Option<Why> {
    match number {
        0 => Some(Why::ConsecutiveFailures),
        1 => Some(Why::FailureRatio),
        2 => Some(Why::SlowRatio),
        3 => Some(Why::ProbeFailed),
        4 => Some(Why::Control),
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
        some.leases[3] = Some(Lease {
            number: 0,
            until: at(5),
            sent: Sent::HeadOnly,
        });
        let full = Permits {
            leases: [Some(Lease {
                number: u32::MAX,
                until: Timestamp::from_unix_nanos(u64::MAX),
                sent: Sent::Whole,
            }); MOST_PROBES],
            first: 7,
            taken: u32::MAX,
            crowded_until: Timestamp::from_unix_nanos(u64::MAX),
        };
        let share = |number: u32, suspicion| Share {
            window: Window {
                width: u64::from(number) + 1,
                newest: u64::from(number) + 2,
                buckets: std::array::from_fn(|index| Tally {
                    requests: number.wrapping_add(index as u32),
                    bad: number.wrapping_mul(7),
                }),
            },
            suspicion,
        };
        let suspicion = Suspicion {
            since: at(4),
            tally: Tally {
                requests: u32::MAX,
                bad: 1,
            },
        };
        let run = Run {
            failures: u32::MAX,
            began: at(6),
            last: Timestamp::from_unix_nanos(u64::MAX),
            ends: u32::MAX,
            taken: 5,
        };
        let reasons = [
            Why::ConsecutiveFailures,
            Why::FailureRatio,
            Why::SlowRatio,
            Why::ProbeFailed,
            Why::Control,
        ];
        let states = [
            State::default(),
            State::Closed {
                run,
                failing: share(3, None),
                slow: share(u32::MAX, Some(suspicion)),
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
        let held = |side| Hold::new(side, at(7), Span::from_secs(8));
        for (generation, hold) in [
            (0, None),
            (1, Some(held(Side::Open))),
            (u32::MAX, Some(held(Side::Closed))),
        ] {
            for state in states.clone() {
                let record = Record {
                    generation,
                    backoff: Backoff {
                        times: 9,
                        last: Span::from_secs(300),
                    },
                    since: at(1),
                    hold,
                    state,
                };
                // 24 bytes are the slot's own: identity and checksum.
                assert_eq!(round_trip(&record), (Some(record), 24 + 52 + 248));
            }
        }
    }
}
