//! Which keys ask for most, in a fixed amount of memory.
//!
//! Space-saving (Metwally, Agrawal and El Abbadi, *Efficient computation of frequent and top-k elements in data
//! streams*, 2005): a key that finds no room takes over the smallest count, which is then its possible error. Each
//! worker adds up for itself, and reports to the others with its tick by merging summaries (Agarwal et al., *Mergeable
//! summaries*, 2012). What is said of a key is never less than what it asked for, and never more than the `error` beside
//! it; the error is at most a 32nd of what all keys asked for together, and whoever asked for more than that is there.

use std::cell::RefCell;

use portcullis_policy::{
    Layout, Ports, Reader, SharedStore, SlotError, SlotKey, Span, Step, Timestamp, Writer, create,
    read, update,
};

use crate::key::Fingerprint;

/// Keys that are told apart.
pub(crate) const KEYS: usize = 32;
/// What is kept of a key's text, in bytes.
const LABEL: usize = 47;
/// Periods of which a worker keeps what it has not reported.
const MOST_PERIODS: usize = 3;
/// The shortest period that is added up, and the longest.
const SHORTEST: Span = Span::from_secs(60);
const LONGEST: Span = Span::from_secs(24 * 3600);

/// A key, and what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) key: Fingerprint,
    /// As far as it is shown, cut.
    pub(crate) label: String,
    /// Units that it asked for, `error` too many at most.
    pub(crate) asked: u64,
    pub(crate) error: u64,
    /// Requests that were refused, at least.
    pub(crate) refused: u32,
}

impl Key {
    /// Units that it asked for at least.
    pub(crate) const fn surely(&self) -> u64 {
        self.asked.saturating_sub(self.error)
    }
}

/// The keys that asked for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Units that all keys asked for.
    pub(crate) asked: u64,
    keys: Vec<Key>,
}

impl Summary {
    /// The keys, first those that have asked for most for certain.
    pub(crate) fn busiest(&self) -> Vec<&Key> {
        let mut keys: Vec<_> = self.keys.iter().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.surely(), key.asked, key.refused)));
        keys
    }

    fn find(&self, key: Fingerprint) -> Option<&Key> {
        self.keys.iter().find(|known| known.key == key)
    }

    /// What a key that is not here may have asked for.
    fn unseen(&self) -> u64 {
        if self.keys.len() < KEYS {
            return 0;
        }
        self.keys.iter().map(|key| key.asked).min().unwrap_or(0)
    }

    fn add(&mut self, key: Fingerprint, cost: u32, label: impl FnOnce() -> String) {
        let cost = u64::from(cost);
        self.asked = self.asked.saturating_add(cost);
        if let Some(known) = self.keys.iter_mut().find(|known| known.key == key) {
            known.asked = known.asked.saturating_add(cost);
            return;
        }
        let error = self.unseen();
        let new = Key {
            key,
            label: cut(label()),
            asked: error.saturating_add(cost),
            error,
            refused: 0,
        };
        if self.keys.len() < KEYS {
            self.keys.push(new);
        } else if let Some(least) = self.keys.iter_mut().min_by_key(|known| known.asked) {
            *least = new;
        }
    }

    fn refuse(&mut self, key: Fingerprint) {
        if let Some(known) = self.keys.iter_mut().find(|known| known.key == key) {
            known.refused = known.refused.saturating_add(1);
        }
    }

    /// Both together. What one of them does not know may have been up to its least there.
    fn merged(&self, other: &Self) -> Self {
        let (here, there) = (self.unseen(), other.unseen());
        let more = |key: &Key, unseen: u64| Key {
            asked: key.asked.saturating_add(unseen),
            error: key.error.saturating_add(unseen),
            ..key.clone()
        };
        let ours = self.keys.iter().map(|key| match other.find(key.key) {
            None => more(key, there),
            Some(theirs) => Key {
                asked: key.asked.saturating_add(theirs.asked),
                error: key.error.saturating_add(theirs.error),
                refused: key.refused.saturating_add(theirs.refused),
                ..key.clone()
            },
        });
        let new = other.keys.iter().filter(|key| self.find(key.key).is_none());
        let mut keys: Vec<Key> = ours.chain(new.map(|key| more(key, here))).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.asked));
        keys.truncate(KEYS);
        Self {
            asked: self.asked.saturating_add(other.asked),
            keys,
        }
    }
}

fn cut(mut label: String) -> String {
    let end = (0..=LABEL).rev().find(|end| label.is_char_boundary(*end));
    label.truncate(end.unwrap_or(0));
    label
}

/// What all workers have reported of a limit: in the period that runs, and in the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the period began that runs, as a number of periods since 1970.
    period: u64,
    pub(crate) now: Summary,
    pub(crate) before: Summary,
}

impl Record {
    /// A key of this period or of the one before.
    pub(crate) fn find(&self, key: Fingerprint) -> Option<&Key> {
        self.now.find(key).or_else(|| self.before.find(key))
    }

    /// As it is in this period.
    fn in_period(&self, period: u64) -> Self {
        match period.checked_sub(self.period) {
            // Also of a clock that was set back: what it counts goes on where it was.
            None | Some(0) => self.clone(),
            Some(passed) => Self {
                period,
                now: Summary::default(),
                before: if passed == 1 {
                    self.now.clone()
                } else {
                    Summary::default()
                },
            },
        }
    }

    /// Adds what was asked in a period. What is of none that is kept, after the clock was set, is of the one that runs.
    fn add(&mut self, period: u64, summary: &Summary) {
        if self.period.checked_sub(1) == Some(period) {
            self.before = self.before.merged(summary);
        } else {
            self.now = self.now.merged(summary);
        }
    }
}

/// The busiest keys of one limit.
#[derive(Debug)]
pub(crate) struct Busiest {
    slot: SlotKey,
    period: Span,
    /// What has not been reported to the others, by periods: of one that has just ended something may be left.
    unreported: RefCell<Vec<(u64, Summary)>>,
}

/// Where those of a limit are.
fn slot_name(limit: &str) -> String {
    format!("portcullis/rate_limit/busiest/{limit}")
}

impl Busiest {
    /// Those of a limit, added up by its window where that is neither very short nor very long.
    pub(crate) fn new(limit: &str, window: Span) -> Self {
        Self {
            slot: SlotKey::new::<Record>(slot_name(limit)),
            period: window.clamp(SHORTEST, LONGEST),
            unreported: RefCell::default(),
        }
    }

    /// The key of shared data that it has.
    pub(crate) fn slot_name(&self) -> &str {
        self.slot.name()
    }

    /// Takes the memory that it needs, when the configuration is read and not when clients come.
    pub(crate) fn lay_out(&self, store: &dyn SharedStore) -> Result<(), SlotError> {
        create(store, &self.slot, &Record::default())
    }

    /// A key asks for so much.
    pub(crate) fn asked(
        &self,
        key: Fingerprint,
        cost: u32,
        now: Timestamp,
        label: impl FnOnce() -> String,
    ) {
        let period = self.number(now);
        let mut unreported = self.unreported.borrow_mut();
        match unreported.iter_mut().find(|(of, _)| *of == period) {
            Some((_, summary)) => summary.add(key, cost, label),
            None => {
                // Ticks empty it: more than a few there are only where the clock leaps and nothing can be reported.
                if unreported.len() >= MOST_PERIODS {
                    unreported.remove(0);
                }
                let mut summary = Summary::default();
                summary.add(key, cost, label);
                unreported.push((period, summary));
            }
        }
    }

    /// It was refused.
    pub(crate) fn refused(&self, key: Fingerprint) {
        if let Some((_, summary)) = self.unreported.borrow_mut().last_mut() {
            summary.refuse(key);
        }
    }

    /// Reports to the others, where there is something to report. What can't be reported now is later.
    pub(crate) fn report(&self, ports: &Ports<'_>) -> Result<(), SlotError> {
        let Ok(now) = ports.clock.now() else {
            return Ok(());
        };
        let mut unreported = self.unreported.borrow_mut();
        if unreported.is_empty() {
            return Ok(());
        }
        update(ports.store, &self.slot, |record: Option<&Record>| {
            let record = record.cloned().unwrap_or_default();
            let mut record = record.in_period(self.number(now));
            for (period, summary) in &*unreported {
                record.add(*period, summary);
            }
            Step::Write(record, ())
        })?;
        unreported.clear();
        Ok(())
    }

    /// What is known, and since when: in seconds since the Unix epoch.
    pub(crate) fn read(
        &self,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<(u64, Record), SlotError> {
        let record = read::<Record>(ports.store, &self.slot)?.unwrap_or_default();
        let record = record.in_period(self.number(now));
        let since = record.period.saturating_mul(self.period.as_nanos());
        Ok((Timestamp::from_unix_nanos(since).unix_secs(), record))
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.unix_nanos()
            .checked_div(self.period.as_nanos())
            .unwrap_or(0)
    }
}

impl Layout for Record {
    const FORMAT: &'static str = "rate_limit/busiest/1";

    fn encode(&self, to: &mut Writer) {
        to.u64(self.period);
        for summary in [&self.now, &self.before] {
            to.u64(summary.asked);
            let free = Key::default();
            let padding = std::iter::repeat(&free);
            for key in summary.keys.iter().chain(padding).take(KEYS) {
                to.bytes(&key.key.0);
                to.u64(key.asked);
                to.u64(key.error);
                to.u32(key.refused);
                let mut label = [0; LABEL];
                let bytes = key.label.bytes().take(LABEL);
                label
                    .iter_mut()
                    .zip(bytes)
                    .for_each(|(to, from)| *to = from);
                to.u8(u8::try_from(key.label.len()).unwrap_or(0));
                to.bytes(&label);
            }
        }
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            period: from.u64()?,
            now: summary(from)?,
            before: summary(from)?,
        })
    }
}

fn summary(from: &mut Reader<'_>) -> Option<Summary> {
    let asked = from.u64()?;
    let mut keys = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        let key = Fingerprint(from.array()?);
        let (asked, error, refused) = (from.u64()?, from.u64()?, from.u32()?);
        let length = usize::from(from.u8()?);
        let label = from.take(LABEL)?.get(..length)?;
        let key = Key {
            key,
            label: String::from_utf8(label.to_vec()).ok()?,
            asked,
            error,
            refused,
        };
        if key != Key::default() {
            keys.push(key);
        }
    }
    Some(Summary { asked, keys })
}

#[cfg(test)]
mod tests;
