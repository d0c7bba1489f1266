//! One limit's keys: a fixed number of slots, each with room for a few keys.
//!
//! A key lives in the slot that its fingerprint names (a set-associative cache). When that slot is
//! full, the key that expires first makes room.
//!
//! A request is asked for in two steps: [`Table::look`] reads and decides, [`Table::commit`] writes.
//! So all limits can be looked at before one is charged, and a request that is refused leaves
//! nothing behind.

use std::cell::Cell;

use portcullis_policy::{SeenBytes, SharedStore, SlotError, SlotInPlace, Span, Step, Timestamp};

use crate::bucket::{Ask, Bucket, Change, Charged, write};
use crate::key::Fingerprint;
use crate::quota::{Decision, Form, Quota, Used};
use crate::range::Range;

/// How a limit counts, and where its keys are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) quota: Quota,
    range: Range,
    /// No count limits for longer than this.
    longest: Span,
}

/// A slot as it was read, and what it makes of a request.
#[derive(Debug)]
pub(crate) struct Plan {
    slot: SlotInPlace,
    seen: SeenBytes,
    pub(crate) charged: Charged,
}

/// Permits that were renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewed {
    /// The span in which they count from now on.
    pub(crate) span: u64,
    /// A key that still limited someone was forgotten.
    pub(crate) evicted: bool,
}

impl Plan {
    /// Whether it has something to write.
    pub(crate) const fn writes(&self) -> bool {
        !self.charged.changes.is_empty()
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
    /// The table of a limit with that quota.
    pub(crate) fn new(quota: Quota, range: Range) -> Self {
        Self {
            longest: quota.counting().longest(),
            quota,
            range,
        }
    }

    /// Reads a request's slot, and decides without writing.
    pub(crate) fn look(&self, store: &dyn SharedStore, asked: Asked) -> Result<Plan, SlotError> {
        let slot = self.slot_of(asked.key);
        let seen = slot.look(store)?;
        let charged = self.bucket(seen.record()).charge(&self.ask(asked));
        Ok(Plan {
            slot,
            seen,
            charged,
        })
    }

    /// Writes what was planned. Where another worker was faster, the slot is asked again: what
    /// becomes of the request may be something else then.
    pub(crate) fn commit(
        &self,
        store: &dyn SharedStore,
        asked: Asked,
        plan: Plan,
    ) -> Result<Charged, SlotError> {
        let mut planned = Some(plan.charged);
        plan.slot.update_from(store, plan.seen, |record| {
            let charge = || self.bucket(record).charge(&self.ask(asked));
            let charged = planned.take().unwrap_or_else(charge);
            if charged.changes.is_empty() {
                return Step::Keep(charged);
            }
            write(record, self.form(), &charged.changes);
            Step::Write((), charged)
        })
    }

    /// Gives back what a request was charged.
    pub(crate) fn give_back(
        &self,
        store: &dyn SharedStore,
        asked: Asked,
        charged: &Charged,
    ) -> Result<(), SlotError> {
        if asked.cost == 0 || charged.decision.charged.is_none() {
            return Ok(());
        }
        let ask = self.ask(asked);
        self.change(store, asked.key, |bucket| bucket.give_back(charged, &ask))
    }

    /// Settles what a request was charged by what it used in the end: gives the rest back, or keeps what is more as a debt. Whether
    /// a key that still limited someone was forgotten.
    pub(crate) fn settle(
        &self,
        store: &dyn SharedStore,
        asked: Asked,
        charged: &Charged,
        used: u32,
    ) -> Result<bool, SlotError> {
        let evicted = Cell::new(false);
        let Some(number) = charged.decision.charged else {
            return Ok(false);
        };
        let (rest, more) = (
            asked.cost.saturating_sub(used),
            used.saturating_sub(asked.cost),
        );
        let ask = self.ask(Asked {
            key: charged.counted,
            ..asked
        });
        if more > 0 {
            self.change(store, asked.key, |bucket| {
                let owe = |used: &mut Used| {
                    // Of a clock that was set back meanwhile nothing is known that it could be added to.
                    if !ask.quota.precedes(ask.now, used) {
                        ask.quota.owe(used, more, ask.now);
                    }
                };
                let (change, pushes_out) = bucket.put(&ask, owe);
                evicted.set(pushes_out);
                vec![change]
            })?;
        } else if rest > 0 {
            self.change(store, asked.key, |bucket| {
                let take = |used: &mut Used| ask.quota.give_back(used, number, rest, ask.now);
                bucket.changed(&ask, take).into_iter().collect()
            })?;
        }
        Ok(evicted.get())
    }

    /// Releases permits that were given or renewed in that span.
    pub(crate) fn release(
        &self,
        store: &dyn SharedStore,
        asked: Asked,
        span: u64,
    ) -> Result<(), SlotError> {
        let ask = self.ask(asked);
        self.change(store, asked.key, |bucket| {
            let take = |used: &mut Used| ask.quota.give_back(used, span, ask.cost, ask.now);
            bucket.changed(&ask, take).into_iter().collect()
        })
    }

    /// Renews permits that were given or renewed in that span.
    pub(crate) fn renew(
        &self,
        store: &dyn SharedStore,
        asked: Asked,
        span: u64,
    ) -> Result<Renewed, SlotError> {
        let renewed = Cell::new(Renewed {
            span,
            evicted: false,
        });
        let Some(permits) = self.quota.permits() else {
            return Ok(renewed.get());
        };
        let ask = self.ask(asked);
        self.change(store, asked.key, |bucket| {
            let mut span = span;
            let renew = |used: &mut Used| span = permits.renew(used, span, ask.cost, ask.now);
            let (change, evicted) = bucket.put(&ask, renew);
            renewed.set(Renewed { span, evicted });
            vec![change]
        })?;
        Ok(renewed.get())
    }

    /// Writes what a key has used, whether anything is known of it or not. Whether a key that still limited someone was forgotten.
    pub(crate) fn put(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
        now: Timestamp,
        put: impl Fn(&mut Used),
    ) -> Result<bool, SlotError> {
        let evicted = Cell::new(false);
        let ask = self.ask(Asked { key, cost: 0, now });
        self.change(store, key, |bucket| {
            let (change, pushes_out) = bucket.put(&ask, &put);
            evicted.set(pushes_out);
            vec![change]
        })?;
        Ok(evicted.get())
    }

    /// Changes what a key has used, if anything is known of it.
    pub(crate) fn change_key(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
        now: Timestamp,
        mut change: impl FnMut(&mut Used),
    ) -> Result<(), SlotError> {
        let ask = self.ask(Asked { key, cost: 0, now });
        self.change(store, key, |bucket| {
            bucket.changed(&ask, &mut change).into_iter().collect()
        })
    }

    /// What a request would have left of the quota that was charged so, had it cost nothing.
    pub(crate) fn uncharged(&self, asked: Asked, charged: &Charged) -> Decision {
        charged.uncharged(self.quota.counting(), asked.now)
    }

    /// What a key has used; `None` where it has used nothing.
    pub(crate) fn used(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
    ) -> Result<Option<Used>, SlotError> {
        let seen = self.slot_of(key).look(store)?;
        Ok(self.bucket(seen.record()).used(key))
    }

    /// Forgets what a key has used.
    pub(crate) fn forget(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
    ) -> Result<(), SlotError> {
        self.change(store, key, |bucket| bucket.without(key))
    }

    fn change(
        &self,
        store: &dyn SharedStore,
        key: Fingerprint,
        mut changes: impl FnMut(Bucket<'_>) -> Vec<Change>,
    ) -> Result<(), SlotError> {
        let slot = self.slot_of(key);
        slot.update_from(store, slot.look(store)?, |record| {
            let changes = changes(self.bucket(record));
            if changes.is_empty() {
                return Step::Keep(());
            }
            write(record, self.form(), &changes);
            Step::Write((), ())
        })
    }

    fn ask(&self, asked: Asked) -> Ask<'_> {
        Ask {
            key: asked.key,
            quota: self.quota.counting(),
            cost: asked.cost,
            now: asked.now,
            horizon: asked.now.after(self.longest),
        }
    }

    fn bucket<'r>(&self, record: &'r [u8]) -> Bucket<'r> {
        Bucket::of(record, self.form())
    }

    fn form(&self) -> Form {
        self.quota.counting().form()
    }

    fn slot_of(&self, key: Fingerprint) -> SlotInPlace {
        self.range.slot(key.slot(self.range.slots))
    }
}

#[cfg(test)]
mod tests;
