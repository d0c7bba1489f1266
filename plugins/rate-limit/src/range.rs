//! Which slots of shared data are whose: each limit has its own, so that no limit's keys push out
//! those of another.
//!
//! A slot's name is a number on a ring; those of another size are on a ring of their own, since on
//! Kong a value that changes its size crashes workers. A limit's slots begin where its own name says,
//! so that neither its index in the list nor another limit moves them. Should two limits meet, which
//! of some thousand slots in eight million few do, the one whose name comes later begins behind the
//! other.

use std::hash::Hasher as _;

use portcullis_policy::config::ConfigError;
use portcullis_policy::{
    Layout, Reader, SharedStore, SlotError, SlotInPlace, SlotKey, Step, Writer, read, update,
};
use siphasher::sip::SipHasher24;

use crate::bucket::{FORMAT, WAYS, begin, length};
use crate::quota::Form;

/// Slots on a ring. Those of both rings are named by four characters of 64.
const RING: u32 = 1 << 23;
const MASK: u32 = RING - 1;

/// Keys that a share holds at least, unless the capacity is less.
const LEAST_SHARE: u32 = 64;

/// The slots of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    first: u32,
    pub(crate) slots: u32,
    form: Form,
}

impl Range {
    /// One of its slots.
    pub(crate) fn slot(&self, index: u32) -> SlotInPlace {
        SlotInPlace::new(FORMAT, self.slot_name(index), length(self.form))
    }

    fn slot_name(&self, index: u32) -> String {
        slot_name(self.ring() | (self.first.wrapping_add(index) & MASK))
    }

    const fn ring(&self) -> u32 {
        match self.form {
            Form::Count => 0,
            Form::Log | Form::Lease => RING,
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let range = *self;
        (0..range.slots).map(move |index| range.slot_name(index))
    }

    fn overlaps(&self, other: &Self) -> bool {
        let behind = |one: &Self, other: &Self| other.first.wrapping_sub(one.first) & MASK;
        let meet = behind(self, other) < self.slots || behind(other, self) < other.slots;
        self.ring() == other.ring() && meet
    }
}

/// The slots of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) range: Range,
    /// Those of the counts that are the gateway's own while an engine is away.
    pub(crate) alone: Option<Range>,
}

impl Placed {
    /// All of them.
    pub(crate) fn ranges(self) -> impl Iterator<Item = Range> {
        [self.range].into_iter().chain(self.alone)
    }
}

/// How many slots each limit has: room for its own `capacity`, or for an even share of what the
/// others leave. `own`: the limits' own capacities, each with whether it has one key only.
pub(crate) fn shares(capacity: u32, own: &[(Option<u32>, bool)]) -> Result<Vec<u32>, ConfigError> {
    let taken = own.iter().filter_map(|(own, _)| *own);
    let taken = taken.fold(0_u32, u32::saturating_add);
    let Some(left) = capacity.checked_sub(taken) else {
        let rule = format!("the limits' own are {taken} together, more than {capacity}");
        return Err(ConfigError::at("capacity", rule));
    };
    let sharing = own.iter().filter(|(own, one)| own.is_none() && !one);
    let sharing = u32::try_from(sharing.count()).unwrap_or(u32::MAX);
    if sharing > 0 && left == 0 {
        let rule = format!("the limits' own take all {capacity}: nothing is left for the others");
        return Err(ConfigError::at("capacity", rule));
    }
    let share = left.checked_div(sharing).unwrap_or(0);
    let share = share.max(LEAST_SHARE.min(capacity));
    let ways = u32::try_from(WAYS).unwrap_or(1).max(1);
    let slots = |(own, one): &(Option<u32>, bool)| {
        let keys = own.unwrap_or(if *one { 1 } else { share });
        keys.div_ceil(ways).max(1)
    };
    Ok(own.iter().map(slots).collect())
}

/// The slots of each limit, given its name, how many it has, and of which form. None overlap.
pub(crate) fn ranges(limits: &[(&str, u32, Form)]) -> Vec<Range> {
    let mut by_name: Vec<_> = limits.iter().enumerate().collect();
    by_name.sort_by_key(|(_, (name, ..))| *name);
    let mut placed: Vec<(usize, Range)> = Vec::with_capacity(limits.len());
    for (index, (name, slots, form)) in by_name {
        let mut hasher = SipHasher24::new();
        hasher.write(name.as_bytes());
        let mut range = Range {
            first: u32::try_from(hasher.finish() & u64::from(MASK)).unwrap_or(0),
            slots: *slots,
            form: *form,
        };
        // Each step passes one of those that are there; they fill less than a hundredth of the ring.
        for _ in 0..=limits.len() {
            let Some((_, other)) = placed.iter().find(|(_, other)| range.overlaps(other)) else {
                break;
            };
            range.first = other.first.wrapping_add(other.slots) & MASK;
        }
        placed.push((index, range));
    }
    placed.sort_by_key(|(index, _)| *index);
    placed.into_iter().map(|(_, range)| range).collect()
}

/// The names of these slots.
pub(crate) fn slot_names(ranges: &[Range]) -> impl Iterator<Item = String> {
    let names = ranges.iter().flat_map(Range::names);
    names.chain([LAID_OUT_NAME.to_owned()])
}

/// Lays all slots out, so that memory is taken when the configuration is read and not when clients
/// come, and no two workers make one slot. The first worker does it; the others see that it is done.
pub(crate) fn lay_out(store: &dyn SharedStore, ranges: &[Range]) -> Result<(), SlotError> {
    let mark = SlotKey::new::<LaidOut>(LAID_OUT_NAME);
    let ours = LaidOut::of(ranges);
    if read::<LaidOut>(store, &mark)? == Some(ours) {
        return Ok(());
    }
    for range in ranges {
        for index in 0..range.slots {
            let slot = range.slot(index);
            slot.create(store, |record| begin(record, range.form))?;
        }
    }
    update(store, &mark, |done: Option<&LaidOut>| match done {
        Some(done) if *done == ours => Step::Keep(()),
        Some(_) | None => Step::Write(ours, ()),
    })
}

/// A slot's key in shared data. The number is written in four characters: CRC32 tells any two
/// texts apart that differ in a run of 32 bits only, so that Kong takes no slot for another.
fn slot_name(slot: u32) -> String {
    let mut name = String::with_capacity(32);
    name.push_str("portcullis/rate_limit/");
    for shift in [18, 12, 6, 0] {
        let digit = usize::try_from(slot.checked_shr(shift).unwrap_or(0) & 63).unwrap_or(0);
        name.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
    }
    name
}

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";

const LAID_OUT_NAME: &str = "portcullis/rate_limit/laid_out";

/// Which slots were laid out last: a hash of where they are. The form before it kept their
/// number here, which is less than any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LaidOut(u32);

impl LaidOut {
    fn of(ranges: &[Range]) -> Self {
        let mut sorted: Vec<_> = ranges
            .iter()
            .map(|r| (r.ring() | r.first, r.slots))
            .collect();
        sorted.sort_unstable();
        let mut hasher = SipHasher24::new();
        for (first, slots) in sorted {
            hasher.write_u32(first);
            hasher.write_u32(slots);
        }
        let hash = hasher.finish() & u64::from(u32::MAX);
        Self(u32::try_from(hash).unwrap_or(0) | 0x8000_0000)
    }
}

impl Layout for LaidOut {
    const FORMAT: &'static str = "rate_limit/laid_out/1";

    fn encode(&self, to: &mut Writer) {
        to.u32(self.0);
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.u32().map(Self)
    }
}

#[cfg(test)]
mod tests;
