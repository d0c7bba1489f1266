//! Permits to probe, each with a lease: when that is over another probe may go, so that one that takes
//! long, or is never heard of again, keeps nobody waiting for longer. It is heard all the same when it
//! comes.
//!
//! A permit is had for good by a request that the upstream can have whole. While the body of its
//! request is outstanding another may take it over: nobody waits for a client. Who has lost it so is
//! not observed any more.

use portcullis_policy::{Sent, Span, Timestamp};

/// Most probes that can be out at a time; the record has a lease for each.
pub(crate) const MOST_PROBES: usize = 16;

/// Requests that are not whole themselves take over so many permits at once, and then one each
/// [`TAKEOVER_EVERY`]: a flood of bodies that never come, or that all end together, must not be one
/// for an upstream that has just failed. Whole requests are not counted.
const TAKEOVERS_AT_ONCE: u64 = 16;
const TAKEOVER_EVERY: Span = Span::from_millis(100);

/// How long a client is to wait for a probe that has just gone out.
const SHORTEST_WAIT: Span = Span::from_secs(1);

/// The permits that are out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permits {
    pub(crate) leases: [Option<Lease>; MOST_PROBES],
    /// The number of the first one.
    pub(crate) first: u32,
    /// The number of the next one.
    pub(crate) taken: u32,
    /// Until when the takeovers so far are paid off: the theoretical arrival time of GCRA (ITU-T
    /// I.371).
    pub(crate) crowded_until: Timestamp,
}

/// How long a permit keeps others from being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) number: u32,
    pub(crate) until: Timestamp,
    pub(crate) sent: Sent,
}

/// A permit to probe. Once another request has taken it over, its number no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    /// Of its lease.
    index: u8,
    number: u32,
    /// What has come of the request that has it.
    sent: Sent,
}

impl Permit {
    /// The same, of a request that has come whole meanwhile.
    pub(crate) const fn whole(self) -> Self {
        Self {
            sent: Sent::Whole,
            ..self
        }
    }
}

impl Permits {
    /// None is out. Numbers begin anywhere: where shared data was lost generations come again, and a
    /// permit from before must not be taken for one of now.
    pub(crate) fn beginning(now: Timestamp) -> Self {
        let micros = now.unix_nanos() / 1_000;
        let first = u32::try_from(micros & u64::from(u32::MAX)).unwrap_or_default();
        Self {
            first,
            taken: first,
            ..Self::default()
        }
    }

    /// Takes a free permit, or one whose lease has run out, or that of a request whose body is
    /// outstanding, for a request of which so much has come.
    pub(crate) fn take(
        &mut self,
        probes: u8,
        lease: Span,
        sent: Sent,
        now: Timestamp,
    ) -> Option<Permit> {
        let index = if self.out(lease, now) < usize::from(probes) {
            let mut leases = (0_u8..).zip(&self.leases);
            leases.find(|(_, held)| !is_out(held, lease, now))?.0
        } else {
            self.outstanding(lease, now, sent)?
        };
        let number = self.taken;
        self.taken = self.taken.wrapping_add(1);
        *self.leases.get_mut(usize::from(index))? = Some(Lease {
            number,
            until: now.after(lease),
            sent,
        });
        Some(Permit {
            index,
            number,
            sent,
        })
    }

    /// The lease of a request whose body is outstanding, for one of which so much has come.
    fn outstanding(&mut self, lease: Span, now: Timestamp, sent: Sent) -> Option<u8> {
        let waits = |held: &Option<Lease>| {
            is_out(held, lease, now) && held.is_some_and(|held| held.sent == Sent::HeadOnly)
        };
        let (index, _) = (0_u8..).zip(&self.leases).find(|(_, held)| waits(held))?;
        match sent {
            Sent::Whole => {}
            Sent::HeadOnly => self.crowded_until = self.crowd(now)?,
        }
        Some(index)
    }

    /// When one more takeover at `now` is paid off; `None` where there were too many.
    fn crowd(&self, now: Timestamp) -> Option<Timestamp> {
        let most = Span::from_nanos(TAKEOVER_EVERY.as_nanos().saturating_mul(TAKEOVERS_AT_ONCE));
        // More than there can be is left where a clock was set back: it is none.
        let debt = Some(self.crowded_until.since(now)).filter(|debt| *debt <= most);
        let debt = debt.unwrap_or_default();
        let next = now.after(debt).after(TAKEOVER_EVERY);
        (next.since(now) <= most).then_some(next)
    }

    /// How many are out.
    pub(crate) fn out(&self, lease: Span, now: Timestamp) -> usize {
        let out = self.leases.iter().filter(|held| is_out(held, lease, now));
        out.count()
    }

    /// The request of a permit has come whole: from now on nobody takes it over, and its lease begins
    /// anew. `None` when another has it by now.
    pub(crate) fn confirm(
        mut self,
        permit: Permit,
        probes: u8,
        lease: Span,
        now: Timestamp,
    ) -> Option<Self> {
        self.lease_of(permit)?.take();
        // One that has outlived its lease may find that others have all of them.
        if self.out(lease, now) >= usize::from(probes) {
            return None;
        }
        *self.leases.get_mut(usize::from(permit.index))? = Some(Lease {
            number: permit.number,
            until: now.after(lease),
            sent: Sent::Whole,
        });
        Some(self)
    }

    /// What is left when a permit's request is settled: its lease ends, unless another has it by
    /// now. `None` when it is not heard: it lost its permit before it was whole, or it is of a time
    /// before shared data was lost.
    pub(crate) fn settle(mut self, permit: Permit) -> Option<Self> {
        if let Some(held) = self.lease_of(permit) {
            held.take();
            return Some(self);
        }
        let was_given =
            permit.number.wrapping_sub(self.first) < self.taken.wrapping_sub(self.first);
        (permit.sent == Sent::Whole && was_given).then_some(self)
    }

    /// In how long a permit is likely to be free: when the first probe that is out has been so for
    /// twice as long as it has now, and when its lease ends at the latest.
    pub(crate) fn wait(&self, lease: Span, now: Timestamp) -> Span {
        let out = self.leases.iter().flatten();
        let waits = out.filter_map(|held| {
            let since = held.until.before(lease);
            let left = left(since, held.until, now)?;
            match held.sent {
                Sent::Whole => Some(left.min(now.since(since).max(SHORTEST_WAIT))),
                // Another takes it over.
                Sent::HeadOnly => Some(left.min(SHORTEST_WAIT)),
            }
        });
        waits.min().unwrap_or(SHORTEST_WAIT)
    }

    fn lease_of(&mut self, permit: Permit) -> Option<&mut Option<Lease>> {
        let held = self.leases.get_mut(usize::from(permit.index))?;
        held.is_some_and(|lease| lease.number == permit.number)
            .then_some(held)
    }
}

fn is_out(held: &Option<Lease>, lease: Span, now: Timestamp) -> bool {
    held.is_some_and(|held| left(held.until.before(lease), held.until, now).is_some())
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
    /// Which of all that there were.
    pub(crate) const fn number(self) -> u32 {
        self.number
    }
}

#[cfg(test)]
mod tests;
