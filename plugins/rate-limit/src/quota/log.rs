//! When requests came, in a record of a fixed size: the latest twelve parts of the time, each with
//! what was used in it.

use super::used::{Form, Kept, Used};

/// Parts of a log. Twelve of them keep a slot of eight keys under a kilobyte, with what Kong's zone
/// adds to it.
pub(super) const PARTS: usize = 12;

/// Parts that do not overlap, the latest first. Times are in ticks since 1970; how long a tick is,
/// and how many of them a part may span, its user says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// When the latest part begins.
    latest: u64,
    parts: [Part; PARTS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    /// By how much it begins before the latest.
    age: u16,
    /// What was used in it; 0: there is no such part, nor any behind it.
    used: u32,
}

impl Log {
    /// When the latest part begins, unless nothing was used.
    pub(super) fn latest(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.latest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used() == 0
    }

    /// What was used in all of them.
    pub(super) fn used(&self) -> u32 {
        let parts = self.parts.iter().map(|part| part.used);
        parts.fold(0, u32::saturating_add)
    }

    /// The parts, the earliest first: when each begins, and what was used in it.
    pub(super) fn earliest_first(&self) -> impl Iterator<Item = (u64, u32)> {
        let parts = self.parts.iter().rev().filter(|part| part.used > 0);
        parts.map(|part| (self.begin(part), part.used))
    }

    /// Forgets the parts that begin before `tick`.
    pub(super) fn forget_before(&mut self, tick: u64) {
        let latest = self.latest;
        for part in &mut self.parts {
            if latest.saturating_sub(u64::from(part.age)) < tick {
                *part = Part::default();
            }
        }
    }

    /// Adds what is used at `tick`, which is not before the latest part: to that one, where it began
    /// at most `span` ticks before, else as a part of its own. Returns when its part begins.
    ///
    /// Nothing is forgotten: should all parts be taken, it is added to the latest.
    pub(super) fn add(&mut self, tick: u64, span: u64, cost: u32) -> u64 {
        let since = tick.saturating_sub(self.latest);
        let [latest, .., last] = &mut self.parts;
        if latest.used > 0 && (since <= span || last.used > 0) {
            latest.used = latest.used.saturating_add(cost);
            return self.latest;
        }
        if latest.used > 0 {
            self.parts.rotate_right(1);
        }
        let [latest, earlier @ ..] = &mut self.parts;
        *latest = Part { age: 0, used: cost };
        for part in earlier {
            let age = u16::try_from(u64::from(part.age).saturating_add(since));
            *part = match age {
                Ok(age) if part.used > 0 => Part { age, ..*part },
                _ => Part::default(),
            };
        }
        self.latest = tick;
        tick
    }

    /// Takes off what was used in the part that begins at `tick`.
    pub(super) fn take(&mut self, tick: u64, cost: u32) {
        let found = self.parts.iter().position(|part| self.begin(part) == tick);
        let Some(index) = found else { return };
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        part.used = part.used.saturating_sub(cost);
        if part.used > 0 {
            return;
        }
        if let Some(behind) = self.parts.get_mut(index..) {
            behind.rotate_left(1);
        }
        let [.., last] = &mut self.parts;
        *last = Part::default();
        let [latest, ..] = self.parts;
        for part in &mut self.parts {
            part.age = part.age.saturating_sub(latest.age);
        }
        self.latest = self.latest.saturating_sub(u64::from(latest.age));
        if self.is_empty() {
            *self = Self::default();
        }
    }

    fn begin(&self, part: &Part) -> u64 {
        self.latest.saturating_sub(u64::from(part.age))
    }
}

/// `latest 8 | age 2, used 4 | …`
impl Kept for Log {
    const FORM: Form = Form::Log;

    fn decode(used: &Used) -> Self {
        let [a, b, c, d, e, f, g, h, parts @ ..] = &used.0;
        let mut log = Self {
            latest: u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
            ..Self::default()
        };
        let (parts, _) = parts.as_chunks();
        for (part, [a, b, c, d, e, f]) in log.parts.iter_mut().zip(parts) {
            part.age = u16::from_le_bytes([*a, *b]);
            part.used = u32::from_le_bytes([*c, *d, *e, *f]);
        }
        log
    }

    fn encode(&self) -> Used {
        let mut used = Used::default();
        if self.is_empty() {
            return used;
        }
        if let Some((latest, parts)) = used.0.split_first_chunk_mut() {
            *latest = self.latest.to_le_bytes();
            let (parts, _) = parts.as_chunks_mut();
            for (part, to) in self.parts.iter().zip(parts) {
                let ([a, b], [c, d, e, f]) = (part.age.to_le_bytes(), part.used.to_le_bytes());
                *to = [a, b, c, d, e, f];
            }
        }
        used
    }

    fn amount(&self) -> u32 {
        self.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All parts as large and as old as can be read.
    fn worst() -> Log {
        Log::decode(&Used::read(&[u8::MAX; 80]))
    }

    fn parts(log: &Log) -> Vec<(u64, u32)> {
        log.earliest_first().collect()
    }

    #[test]
    fn what_comes_within_the_span_of_the_latest_part_belongs_to_it() {
        let mut log = Log::default();
        let begins = [(100, 0), (110, 10), (111, 10), (121, 10), (122, 10)];
        let begins = begins.map(|(tick, span)| log.add(tick, span, 1));
        assert_eq!(begins, [100, 100, 111, 111, 122]);
        assert_eq!(parts(&log), [(100, 2), (111, 2), (122, 1)]);
        assert_eq!((log.latest(), log.used()), (Some(122), 5));
    }

    #[test]
    fn what_is_taken_off_is_gone_and_the_parts_around_it_stay() {
        let mut log = Log::default();
        for tick in [100, 200, 300] {
            log.add(tick, 0, 2);
        }
        for (tick, left) in [
            (200, &[(100, 2), (200, 1), (300, 2)][..]),
            (150, &[(100, 2), (200, 1), (300, 2)]),
            (200, &[(100, 2), (300, 2)]),
            (300, &[(100, 2), (300, 1)]),
            (300, &[(100, 2)]),
        ] {
            log.take(tick, 1);
            assert_eq!(parts(&log), left);
        }
        assert_eq!(log.latest(), Some(100));
        log.take(100, 2);
        assert_eq!(log, Log::default());
        assert_eq!(log.latest(), None);
    }

    #[test]
    fn what_is_forgotten_is_what_begins_before() {
        let mut log = Log::default();
        for tick in [100, 200, 300] {
            log.add(tick, 0, 1);
        }
        log.forget_before(200);
        assert_eq!(parts(&log), [(200, 1), (300, 1)]);
        log.forget_before(301);
        assert!(log.is_empty());
    }

    #[test]
    fn a_log_that_is_full_forgets_nothing() {
        let mut log = Log::default();
        for tick in 0..20 {
            log.add(1_000 + tick, 0, 1);
        }
        assert_eq!(log.used(), 20);
        assert_eq!(log.latest(), Some(1_011));
        // What is too old to be written goes.
        let mut log = Log::default();
        for tick in [1, 2, 65_537, 65_538] {
            log.add(tick, 0, 1);
        }
        assert_eq!(parts(&log), [(65_537, 1), (65_538, 1)]);
    }

    #[test]
    fn any_numbers_can_be_read_and_changed() {
        for latest in [0, 7, u64::MAX] {
            let mut log = Log { latest, ..worst() };
            assert_eq!(log.used(), u32::MAX);
            log.take(log.latest.saturating_sub(65_535), 1);
            log.add(u64::MAX, 0, u32::MAX);
            log.forget_before(u64::MAX);
        }
    }
}
