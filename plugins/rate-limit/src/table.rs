//! One limit's keys: a fixed number of slots, each with room for a few keys.
//!
//! A key lives in the slot that its fingerprint names (a set-associative cache). When that slot is
//! full, the key that stops to matter first makes room.
//!
//! A request is asked for in two steps: [`Table::look`] reads and decides, [`Table::commit`] writes.
//! So all limits can be looked at before one is charged, and a request that is refused leaves
//! nothing behind.

use portcullis_policy::{
    Seen, SharedStore, SlotError, SlotKey, Span, Step, Timestamp, look, read, update, update_from,
};

use crate::bucket::{Ask, Bucket, Charged};
use crate::key::Fingerprint;
use crate::quota::{Quota, Used};
use crate::range::Range;

/// Where a limit's keys are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    range: Range,
    /// No count matters for longer than this.
    longest: Span,
}

/// A slot as it was read, and what it makes of a request.
#[derive(Debug)]
pub(crate) struct Plan {
    slot: SlotKey,
    seen: Seen<Bucket>,
    next: Option<Bucket>,
    pub(crate) charged: Charged,
}

impl Plan {
    /// Whether it has something to write.
    pub(crate) const fn writes(&self) -> bool {
        self.next.is_some()
    }
}

/// Whose request it is, what it costs, and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: Fingerprint,
    pub(crate) cost: u32,
    pub(crate) now: Timestamp,
}

impl Table {
    /// The table of a limit whose counts matter for `longest` at most.
    pub(crate) const fn new(range: Range, longest: Span) -> Self {
        Self { range, longest }
    }

    /// Reads a request's slot, and decides without writing.
    pub(crate) fn look(
        &self,
        store: &dyn SharedStore,
        quota: &Quota,
        asked: Asked,
    ) -> Result<Plan, SlotError> {
        let slot = self.slot_of(asked.key);
        let seen = look::<Bucket>(store, &slot)?;
        let ask = self.ask(quota, asked);
        let (charged, next) = match seen.record() {
            Some(bucket) => bucket.charge(&ask),
            None => Bucket::new(quota.form()).charge(&ask),
        };
        Ok(Plan {
            slot,
            seen,
            next,
            charged,
        })
    }

    /// Writes what was planned. Where another worker was faster, the slot is asked again: what
    /// becomes of the request may be something else then.
    pub(crate) fn commit(
        &self,
        store: &dyn SharedStore,
        quota: &Quota,
        asked: Asked,
        plan: Plan,
    ) -> Result<Charged, SlotError> {
        let ask = self.ask(quota, asked);
        let mut planned = Some((plan.charged, plan.next));
        update_from(store, &plan.slot, plan.seen, |stored: Option<&Bucket>| {
            let charge = || match stored {
                Some(bucket) => bucket.charge(&ask),
                None => Bucket::new(quota.form()).charge(&ask),
            };
            match planned.take().unwrap_or_else(charge) {
                (charged, Some(next)) => Step::Write(next, charged),
                (charged, None) => Step::Keep(charged),
            }
        })
    }

    /// Gives back what a request was charged.
    pub(crate) fn give_back(
        &self,
        store: &dyn SharedStore,
        quota: &Quota,
        asked: Asked,
        charged: &Charged,
    ) -> Result<(), SlotError> {
        if asked.cost == 0 || charged.decision.charged.is_none() {
            return Ok(());
        }
        let ask = self.ask(quota, asked);
        update(
            store,
            &self.slot_of(asked.key),
            |stored: Option<&Bucket>| match stored
                .and_then(|bucket| bucket.give_back(charged, &ask))
            {
                Some(bucket) => Step::Write(bucket, ()),
                None => Step::Keep(()),
            },
        )
    }

    /// What a key has used; `None` where it has used nothing.
    pub(crate) fn used(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
    ) -> Result<Option<Used>, SlotError> {
        let bucket = read::<Bucket>(store, &self.slot_of(key))?;
        Ok(bucket.and_then(|bucket| bucket.used(key)))
    }

    /// Forgets what a key has used.
    pub(crate) fn forget(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
    ) -> Result<(), SlotError> {
        update(
            store,
            &self.slot_of(key),
            |stored: Option<&Bucket>| match stored.and_then(|bucket| bucket.without(key)) {
                Some(bucket) => Step::Write(bucket, ()),
                None => Step::Keep(()),
            },
        )
    }

    fn ask<'a>(&self, quota: &'a Quota, asked: Asked) -> Ask<'a> {
        Ask {
            key: asked.key,
            quota,
            cost: asked.cost,
            now: asked.now,
            horizon: asked.now.after(self.longest),
        }
    }

    fn slot_of(&self, key: Fingerprint) -> SlotKey {
        let place = key.slot(self.range.slots);
        SlotKey::new::<Bucket>(self.range.slot_name(place))
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::SharedData;
    use portcullis_sim::{Dialect, Zone, ZoneStore};

    use super::*;
    use crate::quota::{Algorithm, Form};
    use crate::range::ranges;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_767_254_400);

    struct Setting {
        table: Table,
        quota: Quota,
        store: SharedData<ZoneStore>,
    }

    impl Setting {
        fn new() -> Self {
            let quota = Quota {
                algorithm: Algorithm::FixedWindow,
                quota: 2,
                window: Span::from_secs(60),
                burst: 2,
            };
            Self {
                table: Table::new(ranges(&[("a", 4, Form::Count)])[0], quota.longest()),
                quota,
                store: SharedData(ZoneStore::new(&Zone::new(Dialect::Envoy), None)),
            }
        }

        fn charge(&self, asked: Asked) -> (bool, Charged) {
            let plan = self.table.look(&self.store, &self.quota, asked).unwrap();
            let writes = plan.writes();
            let charged = self.table.commit(&self.store, &self.quota, asked, plan);
            (writes, charged.unwrap())
        }
    }

    const fn asked(cost: u32) -> Asked {
        Asked {
            key: Fingerprint([7; 16]),
            cost,
            now: NOW,
        }
    }

    #[test]
    fn what_is_admitted_and_costs_something_is_written_and_given_back() {
        let setting = Setting::new();
        let (writes, charged) = setting.charge(asked(2));
        assert!(writes && charged.decision.charged.is_some());
        let (writes, refused) = setting.charge(asked(1));
        assert!(!writes && refused.decision.charged.is_none());
        let (writes, free) = setting.charge(asked(0));
        assert!(!writes && free.decision.charged.is_some());
        let give_back = |cost, charged: &Charged| {
            let before = (setting.store.0.reads(), setting.store.0.writes());
            let (table, quota) = (&setting.table, &setting.quota);
            table
                .give_back(&setting.store, quota, asked(cost), charged)
                .unwrap();
            (
                setting.store.0.reads() - before.0,
                setting.store.0.writes() - before.1,
            )
        };
        assert_eq!(give_back(1, &refused), (0, 0));
        assert_eq!(give_back(0, &free), (0, 0));
        assert_eq!(give_back(2, &charged), (1, 1));
        assert!(setting.charge(asked(2)).1.decision.charged.is_some());
    }

    #[test]
    fn what_is_forgotten_was_never_used() {
        let setting = Setting::new();
        let used = || setting.table.used(&setting.store, asked(0).key).unwrap();
        assert_eq!(used(), None);
        setting.charge(asked(2));
        assert!(used().is_some());
        setting.table.forget(&setting.store, asked(0).key).unwrap();
        assert_eq!(used(), None);
        let writes = setting.store.0.writes();
        setting.table.forget(&setting.store, asked(0).key).unwrap();
        assert_eq!(setting.store.0.writes(), writes);
    }
}
