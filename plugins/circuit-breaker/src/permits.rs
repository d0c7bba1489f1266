//! Permits to probe, each with a lease, so that a probe that is never heard of again does not keep
//! the breaker from closing.

use portcullis_policy::{Span, Timestamp};

/// Most probes that can be out at a time; the record has a place for each.
pub(crate) const MOST_PROBES: usize = 16;

/// When the permits' leases end; a free place has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permits(pub(crate) [Option<Timestamp>; MOST_PROBES]);

/// A permit to probe. The end of its lease is part of what it is: once that has passed and another
/// request has taken the place, this one no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    place: u8,
    until: Timestamp,
}

impl Permits {
    /// Takes a free place, or one whose lease has run out.
    pub(crate) fn take(&mut self, probes: u8, lease: Span, now: Timestamp) -> Option<Permit> {
        if self.out(lease, now) >= usize::from(probes) {
            return None;
        }
        let (place, until) = (0_u8..)
            .zip(self.0.iter_mut())
            .find(|(_, place)| !is_out(**place, lease, now))?;
        let permit = Permit {
            place,
            until: now.after(lease),
        };
        *until = Some(permit.until);
        Some(permit)
    }

    /// How many are out.
    pub(crate) fn out(&self, lease: Span, now: Timestamp) -> usize {
        let out = self.0.iter().filter(|place| is_out(**place, lease, now));
        out.count()
    }

    /// Frees a permit's place; `None` when another request has it by now.
    pub(crate) fn release(mut self, permit: Permit) -> Option<Self> {
        let lease = self.0.get_mut(usize::from(permit.place))?;
        if *lease != Some(permit.until) {
            return None;
        }
        *lease = None;
        Some(self)
    }
}

fn is_out(place: Option<Timestamp>, lease: Span, now: Timestamp) -> bool {
    place.is_some_and(|until| left(until.before(lease), until, now).is_some())
}

/// How long it is to `until`; `None` once it is over. A clock that was set back by more than the
/// whole time ends it too, or it would last for as long as the clock went back. (A worker that stands
/// still for that long between its clock and this looks the same, and may send a probe too many.)
pub(crate) fn left(since: Timestamp, until: Timestamp, now: Timestamp) -> Option<Span> {
    let whole = until.since(since);
    (now < until && now >= since.before(whole)).then(|| until.since(now).min(whole))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
impl Permit {
    /// When its lease ends.
    pub(crate) const fn until(self) -> Timestamp {
        self.until
    }
}
