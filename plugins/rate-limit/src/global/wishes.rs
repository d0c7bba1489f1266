//! What workers of a gateway wish to be withdrawn from the engine, and how the engine is, in one slot of shared data.
//!
//! A worker that lacks something writes down a wish. Whichever worker comes by next with a call takes all wishes at a time, so that
//! one call serves many keys and no key is asked for twice. A wish that was taken stays until its call has ended, or its worker is
//! gone. Dates are those of the monotonic clock.

use portcullis_policy::{
    Layout, Reader, SharedStore, SlotError, SlotKey, Span, Step, Timestamp, Writer, read, update,
};

use crate::key::EngineKey;

/// Wishes that there is room for. One for which there is none is written down with a later request.
const MOST: usize = 64;

/// A key of which something is to be withdrawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The limit, by a hash of its name.
    pub(crate) limit: u64,
    pub(crate) key: EngineKey,
    /// What requests that wait ask for, together.
    pub(crate) need: u32,
    /// What no other wish is called.
    number: u32,
    /// When a worker has taken it; the epoch: none has.
    taken_at: Timestamp,
}

impl Wish {
    /// Whether one of these is about the same key.
    fn is_among(&self, wishes: &[Self]) -> bool {
        let is_same = |wish: &Self| wish.limit == self.limit && wish.key == self.key;
        wishes.iter().any(is_same)
    }
}

/// What is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    /// Calls in a row that have failed.
    failures: u32,
    /// When the last one did.
    failed_at: Timestamp,
    /// How many wishes there have been.
    count: u32,
    wishes: Vec<Wish>,
}

impl Layout for Record {
    const FORMAT: &'static str = "rate_limit/wishes/1";

    fn encode(&self, to: &mut Writer) {
        to.u32(self.failures);
        to.u64(self.failed_at.unix_nanos());
        to.u32(self.count);
        let none = Wish::default();
        let padded = self.wishes.iter().chain(std::iter::repeat(&none));
        for wish in padded.take(MOST) {
            to.u64(wish.limit);
            to.bytes(&wish.key.0);
            to.u32(wish.need);
            to.u32(wish.number);
            to.u64(wish.taken_at.unix_nanos());
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut record = Self {
            failures: from.u32()?,
            failed_at: Timestamp::from_unix_nanos(from.u64()?),
            count: from.u32()?,
            wishes: Vec::new(),
        };
        for _ in 0..MOST {
            let wish = Wish {
                limit: from.u64()?,
                key: EngineKey(from.array()?),
                need: from.u32()?,
                number: from.u32()?,
                taken_at: Timestamp::from_unix_nanos(from.u64()?),
            };
            if wish != Wish::default() {
                record.wishes.push(wish);
            }
        }
        Some(record)
    }
}

/// How the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answers, as far as is known.
    There,
    /// The last call has failed.
    Away,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Whether it is new, or asks for more than before.
    pub(crate) is_new: bool,
    /// What the wish is called that this is a part of; `None` where there was no room for one.
    pub(crate) number: Option<u32>,
    pub(crate) health: Health,
}

/// The wishes of a gateway.
#[derive(Debug)]
pub(crate) struct Wishes {
    slot: SlotKey,
    /// How long a call may be under way: its worker is gone after that.
    longest_call: Span,
}

const NEVER: Timestamp = Timestamp::from_unix_nanos(0);

impl Wishes {
    /// `name`: of the slot.
    pub(crate) fn new(name: &str, timeout: Span) -> Self {
        let longest = timeout
            .as_nanos()
            .saturating_add(Span::from_secs(3).as_nanos());
        Self {
            slot: SlotKey::new::<Record>(name),
            longest_call: Span::from_nanos(longest),
        }
    }

    /// Lays the slot out.
    pub(crate) fn lay_out(&self, store: &dyn SharedStore) -> Result<(), SlotError> {
        portcullis_policy::create(store, &self.slot, &Record::default())
    }

    /// The slot's name.
    pub(crate) fn slot_name(&self) -> &str {
        self.slot.name()
    }

    /// Writes a wish down. One that a call is under way for stays as it is: it is written down anew if that does not do. `parts`:
    /// the wishes that this request is a part of already.
    pub(crate) fn place(
        &self,
        store: &dyn SharedStore,
        limit: u64,
        key: EngineKey,
        need: u32,
        parts: &[u32],
        now: Timestamp,
    ) -> Result<Placed, SlotError> {
        update(store, &self.slot, |record: Option<&Record>| {
            let mut record = record.cloned().unwrap_or_default();
            let health = record.health();
            record.forget_lost(now, self.longest_call);
            let placed = |is_new, number| Placed {
                is_new,
                number,
                health,
            };
            let known = record.wishes.iter_mut();
            let mut known = known.filter(|wish| wish.limit == limit && wish.key == key);
            if let Some(wish) = known.next() {
                let number = Some(wish.number);
                if wish.taken_at != NEVER || need == 0 || parts.contains(&wish.number) {
                    return Step::Keep(placed(false, number));
                }
                wish.need = wish.need.saturating_add(need);
                return Step::Write(record, placed(true, number));
            }
            if record.wishes.len() >= MOST {
                return Step::Keep(placed(false, None));
            }
            record.count = record.count.wrapping_add(1);
            let number = record.count;
            record.wishes.push(Wish {
                limit,
                key,
                need,
                number,
                taken_at: NEVER,
            });
            Step::Write(record, placed(true, Some(number)))
        })
    }

    /// How the engine is.
    pub(crate) fn health(&self, store: &dyn SharedStore) -> Result<Health, SlotError> {
        let record = read::<Record>(store, &self.slot)?;
        Ok(record.map_or(Health::There, |record| record.health()))
    }

    /// Takes so many wishes at most about such limits, if the engine is to be asked now.
    pub(crate) fn take(
        &self,
        store: &dyn SharedStore,
        most: usize,
        knows: impl Fn(u64) -> bool,
        now: Timestamp,
    ) -> Result<Vec<Wish>, SlotError> {
        let is_due = |record: &Record| {
            let is_free = |wish: &Wish| wish.taken_at == NEVER && knows(wish.limit);
            record.wishes.iter().any(is_free) && record.is_to_be_asked(now)
        };
        // Nothing is written with a tick that has nothing to do.
        if !read::<Record>(store, &self.slot)?.is_some_and(|record| is_due(&record)) {
            return Ok(Vec::new());
        }
        update(store, &self.slot, |record: Option<&Record>| {
            let Some(record) = record.filter(|record| is_due(record)) else {
                return Step::Keep(Vec::new());
            };
            let mut record = record.clone();
            record.forget_lost(now, self.longest_call);
            // While it is away, one call at a time tells whether it is back.
            record.failed_at = match record.failures {
                0 => NEVER,
                _ => now,
            };
            let free = record.wishes.iter_mut();
            let free = free.filter(|wish| wish.taken_at == NEVER && knows(wish.limit));
            let mut taken = Vec::new();
            for wish in free.take(most) {
                taken.push(*wish);
                wish.taken_at = now;
            }
            Step::Write(record, taken)
        })
    }

    /// A call about these wishes has ended. Those that were not answered stay, so that the engine is asked again although no request
    /// comes. How the engine was before.
    pub(crate) fn ended(
        &self,
        store: &dyn SharedStore,
        wishes: &[Wish],
        answered: bool,
        now: Timestamp,
    ) -> Result<Health, SlotError> {
        update(store, &self.slot, |record: Option<&Record>| {
            let mut record = record.cloned().unwrap_or_default();
            let before = record.health();
            match answered {
                true => record
                    .wishes
                    .retain(|wish| wish.taken_at == NEVER || !wish.is_among(wishes)),
                false => {
                    for wish in record
                        .wishes
                        .iter_mut()
                        .filter(|wish| wish.is_among(wishes))
                    {
                        // Whoever waited for it waits no longer.
                        wish.need = 0;
                        wish.taken_at = NEVER;
                    }
                }
            }
            record.failures = match answered {
                true => 0,
                false => record.failures.saturating_add(1),
            };
            record.failed_at = match answered {
                true => NEVER,
                false => now,
            };
            Step::Write(record, before)
        })
    }

    /// A call about these wishes is to be made once more.
    pub(crate) fn free(&self, store: &dyn SharedStore, wishes: &[Wish]) -> Result<(), SlotError> {
        update(store, &self.slot, |record: Option<&Record>| {
            let mut record = record.cloned().unwrap_or_default();
            for wish in record
                .wishes
                .iter_mut()
                .filter(|wish| wish.is_among(wishes))
            {
                wish.taken_at = NEVER;
            }
            Step::Write(record, ())
        })
    }
}

impl Record {
    /// The longest time between two calls while the engine is away.
    const LONGEST_PAUSE: Span = Span::from_secs(2);

    const fn health(&self) -> Health {
        match self.failures {
            0 => Health::There,
            _ => Health::Away,
        }
    }

    /// Whether a call is to be made: after failures, once a pause is over that doubles with each.
    fn is_to_be_asked(&self, now: Timestamp) -> bool {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return true;
        };
        let pause = 100_u64.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX));
        let pause = Span::from_millis(pause).min(Self::LONGEST_PAUSE);
        now.since(self.failed_at) >= pause
    }

    /// Forgets wishes whose worker is gone.
    fn forget_lost(&mut self, now: Timestamp, longest: Span) {
        self.wishes
            .retain(|wish| wish.taken_at == NEVER || now.since(wish.taken_at) < longest);
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::SharedData;
    use portcullis_sim::{Dialect, Zone, ZoneStore};

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_nanos(1).after(Span::from_millis(millis))
    }

    fn store() -> SharedData<ZoneStore> {
        SharedData(ZoneStore::new(&Zone::new(Dialect::Kong), None))
    }

    fn wishes() -> Wishes {
        Wishes::new("portcullis/rate_limit/wishes/rag", Span::from_millis(200))
    }

    const KEY: EngineKey = EngineKey([7; 16]);

    #[test]
    fn a_key_is_wished_for_once_and_taken_once() {
        let (wishes, store) = (wishes(), store());
        let place = |need, now| {
            wishes
                .place(&store, 1, KEY, need, &[], at(now))
                .unwrap()
                .is_new
        };
        let take = |now| wishes.take(&store, 10, |_| true, at(now)).unwrap();
        assert!(place(2, 0) && place(3, 1) && !place(0, 1));
        let taken = take(2);
        assert_eq!(taken.iter().map(|wish| wish.need).collect::<Vec<_>>(), [5]);
        assert!(take(3).is_empty() && !place(1, 3), "a call is under way");
        wishes.ended(&store, &taken, true, at(4)).unwrap();
        assert!(place(1, 5));
        assert_eq!(take(6).len(), 1);
        // Its worker is gone.
        assert!(!place(1, 3_200) && place(1, 3_300));
        assert_eq!(take(3_300).len(), 1);
    }

    #[test]
    fn a_request_is_a_part_of_a_wish_once_and_of_the_next_one_again() {
        let (wishes, store) = (wishes(), store());
        let place = |parts: &[u32]| wishes.place(&store, 1, KEY, 1, parts, at(0)).unwrap();
        let first = place(&[]).number.unwrap();
        assert!(!place(&[first]).is_new && place(&[]).is_new);
        let taken = wishes.take(&store, 10, |_| true, at(1)).unwrap();
        assert_eq!(taken[0].need, 2);
        wishes.ended(&store, &taken, true, at(2)).unwrap();
        let second = place(&[first]);
        assert!(second.is_new && second.number != Some(first));
    }

    #[test]
    fn wishes_of_limits_that_a_worker_does_not_know_are_left_to_others() {
        let (wishes, store) = (wishes(), store());
        wishes.place(&store, 1, KEY, 1, &[], at(0)).unwrap();
        assert!(
            wishes
                .take(&store, 10, |limit| limit == 2, at(1))
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            wishes
                .take(&store, 10, |limit| limit == 1, at(1))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let (wishes, store) = (wishes(), store());
        for key in 0..70_u8 {
            let placed = wishes
                .place(&store, 1, EngineKey([key; 16]), 1, &[], at(0))
                .unwrap();
            assert_eq!(placed.is_new, usize::from(key) < MOST, "{key}");
        }
        assert_eq!(
            wishes.take(&store, 100, |_| true, at(1)).unwrap().len(),
            MOST
        );
    }

    #[test]
    fn an_engine_that_is_away_is_asked_after_pauses_that_double_up_to_two_seconds() {
        let (wishes, store) = (wishes(), store());
        let mut now = 0;
        for pause in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
            wishes.place(&store, 1, KEY, 1, &[], at(now)).unwrap();
            let taken = loop {
                let taken = wishes.take(&store, 10, |_| true, at(now)).unwrap();
                if !taken.is_empty() {
                    break taken;
                }
                now += 1;
            };
            wishes.ended(&store, &taken, false, at(now)).unwrap();
            assert_eq!(wishes.health(&store), Ok(Health::Away));
            wishes.place(&store, 1, KEY, 1, &[], at(now)).unwrap();
            assert!(
                wishes
                    .take(&store, 10, |_| true, at(now + pause - 1))
                    .unwrap()
                    .is_empty()
            );
            now += pause;
        }
        let taken = wishes.take(&store, 10, |_| true, at(now)).unwrap();
        wishes.ended(&store, &taken, true, at(now)).unwrap();
        assert_eq!(wishes.health(&store), Ok(Health::There));
    }
}
