//! How a record lies in shared data: one slot of a fixed size for each breaker.
//!
//! ```text
//! generation 4 | state 1 | count 4 | since 8 | until 8 | leases 16 × 8
//! ```
//!
//! What a state does not have is 0, as is a free permit's lease.

use portcullis_policy::{Layout, Reader, Timestamp, Writer};

use crate::breaker::{Record, State};
use crate::permits::Permits;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// The slot of the breaker of this name.
pub(crate) fn slot_name(breaker: &str) -> String {
    format!("portcullis/breaker/{breaker}")
}

impl Layout for Record {
    const FORMAT: &'static str = "circuit_breaker/1";

    fn encode(&self, to: &mut Writer) {
        let nowhen = Timestamp::default();
        let (tag, count, since, until, permits) = match self.state {
            State::Closed { failures } => (CLOSED, failures, nowhen, nowhen, Permits::default()),
            State::Open { since, until } => (OPEN, 0, since, until, Permits::default()),
            State::HalfOpen { permits, successes } => {
                (HALF_OPEN, successes, nowhen, nowhen, permits)
            }
        };
        to.u32(self.generation);
        to.u8(tag);
        to.u32(count);
        to.u64(since.unix_nanos());
        to.u64(until.unix_nanos());
        for lease in permits.0 {
            to.u64(lease.unwrap_or_default().unix_nanos());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let generation = from.u32()?;
        let tag = from.u8()?;
        let count = from.u32()?;
        let since = Timestamp::from_unix_nanos(from.u64()?);
        let until = Timestamp::from_unix_nanos(from.u64()?);
        let mut permits = Permits::default();
        for lease in &mut permits.0 {
            let until = from.u64()?;
            *lease = (until != 0).then(|| Timestamp::from_unix_nanos(until));
        }
        let state = match tag {
            CLOSED => State::Closed { failures: count },
            OPEN => State::Open { since, until },
            HALF_OPEN => State::HalfOpen {
                permits,
                successes: count,
            },
            _ => return None,
        };
        Some(Self { generation, state })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{SharedData, SharedStore as _, SlotKey, Step, read, update};
    use portcullis_sim::{Dialect, Zone, ZoneStore};

    use super::*;
    use crate::permits::MOST_PROBES;

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
        let states = [
            State::Closed { failures: 0 },
            State::Closed { failures: u32::MAX },
            State::Open {
                since: at(1),
                until: at(2),
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
        ];
        for generation in [0, 1, u32::MAX] {
            for state in states.clone() {
                let record = Record { generation, state };
                // 24 bytes are the slot's own: identity and checksum.
                assert_eq!(round_trip(&record), (Some(record), 24 + 25 + 128));
            }
        }
    }
}
