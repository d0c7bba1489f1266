//! Permits to probe, each with a lease: when that is over another probe may go, so that one that takes
//! long, or is never heard of again, keeps nobody waiting for longer. It is heard all the same when it
//! comes.
//!
//! A permit is had for good by a request that the upstream can have whole. While the body of its
//! request is outstanding another may take it over: nobody waits for a client. Who has lost it so is
//! not observed any more.

use portcullis_policy::{Sent, Span, Timestamp};

/// Most probes that can be out at a time; the record has a place for each.
pub(crate) const MOST_PROBES: usize = 16;

/// Requests that are not whole themselves take over so many permits at once, and then one each
/// [`TAKEOVER_EVERY`]: a flood of bodies that never come, or that all end together, must not be one
/// for an upstream that has just failed. Whole requests are not counted.
const TAKEOVERS_AT_ONCE: u64 = 16;
const TAKEOVER_EVERY: Span = Span::from_millis(100);

/// What a client is told to wait for a probe that has just gone out.
const SHORTEST_WAIT: Span = Span::from_secs(1);

/// The permits that are out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permits {
    pub(crate) places: [Option<Lease>; MOST_PROBES],
    /// The number of the first one.
    pub(crate) first: u32,
    /// The number of the next one.
    pub(crate) taken: u32,
    /// Until when the takeovers so far are paid off: the theoretical arrival time of GCRA (ITU-T
    /// I.371).
    pub(crate) crowded_until: Timestamp,
}

/// A place that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) number: u32,
    pub(crate) until: Timestamp,
    pub(crate) sent: Sent,
}

/// A permit to probe. Once another request has taken the place, its number no longer fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    place: u8,
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

    /// Takes a free place, or one whose lease has run out, or that of a request whose body is
    /// outstanding, for a request of which so much has come.
    pub(crate) fn take(
        &mut self,
        probes: u8,
        lease: Span,
        sent: Sent,
        now: Timestamp,
    ) -> Option<Permit> {
        let place = if self.out(lease, now) < usize::from(probes) {
            let mut places = (0_u8..).zip(&self.places);
            places.find(|(_, place)| !is_out(place, lease, now))?.0
        } else {
            self.outstanding(lease, now, sent)?
        };
        let number = self.taken;
        self.taken = self.taken.wrapping_add(1);
        *self.places.get_mut(usize::from(place))? = Some(Lease {
            number,
            until: now.after(lease),
            sent,
        });
        Some(Permit {
            place,
            number,
            sent,
        })
    }

    /// The place of a request whose body is outstanding, for one of which so much has come.
    fn outstanding(&mut self, lease: Span, now: Timestamp, sent: Sent) -> Option<u8> {
        let waits = |place: &Option<Lease>| {
            is_out(place, lease, now) && place.is_some_and(|lease| lease.sent == Sent::HeadOnly)
        };
        let (place, _) = (0_u8..).zip(&self.places).find(|(_, place)| waits(place))?;
        match sent {
            Sent::Whole => {}
            Sent::HeadOnly => self.crowded_until = self.crowd(now)?,
        }
        Some(place)
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
        let out = self.places.iter().filter(|place| is_out(place, lease, now));
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
        self.place_of(permit)?.take();
        // One that has outlived its lease may find that others have all of them.
        if self.out(lease, now) >= usize::from(probes) {
            return None;
        }
        *self.places.get_mut(usize::from(permit.place))? = Some(Lease {
            number: permit.number,
            until: now.after(lease),
            sent: Sent::Whole,
        });
        Some(self)
    }

    /// What is left when a permit's request is settled: its place is free, unless another has it by
    /// now. `None` when it is not heard: it lost its permit before it was whole, or it is of a time
    /// before shared data was lost.
    pub(crate) fn settle(mut self, permit: Permit) -> Option<Self> {
        if let Some(place) = self.place_of(permit) {
            place.take();
            return Some(self);
        }
        let was_given =
            permit.number.wrapping_sub(self.first) < self.taken.wrapping_sub(self.first);
        (permit.sent == Sent::Whole && was_given).then_some(self)
    }

    /// In how long a place is likely to be free: when the first probe that is out has been so for
    /// twice as long as it has now, and when its lease ends at the latest.
    pub(crate) fn wait(&self, lease: Span, now: Timestamp) -> Span {
        let out = self.places.iter().flatten();
        let waits = out.filter_map(|place| {
            let since = place.until.before(lease);
            let left = left(since, place.until, now)?;
            match place.sent {
                Sent::Whole => Some(left.min(now.since(since).max(SHORTEST_WAIT))),
                // Another takes it over.
                Sent::HeadOnly => Some(left.min(SHORTEST_WAIT)),
            }
        });
        waits.min().unwrap_or(SHORTEST_WAIT)
    }

    fn place_of(&mut self, permit: Permit) -> Option<&mut Option<Lease>> {
        let place = self.places.get_mut(usize::from(permit.place))?;
        place
            .is_some_and(|lease| lease.number == permit.number)
            .then_some(place)
    }
}

fn is_out(place: &Option<Lease>, lease: Span, now: Timestamp) -> bool {
    place.is_some_and(|taken| left(taken.until.before(lease), taken.until, now).is_some())
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
mod tests {
    use super::*;

    const LEASE: Span = Span::from_secs(35);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_secs(1_000).after(Span::from_millis(millis))
    }

    fn take(permits: &mut Permits, sent: Sent, millis: u64) -> Option<Permit> {
        permits.take(1, LEASE, sent, at(millis))
    }

    #[test]
    fn a_request_whose_body_is_outstanding_keeps_nobody_waiting() {
        for sent in [Sent::Whole, Sent::HeadOnly] {
            let mut permits = Permits::default();
            let slow = take(&mut permits, Sent::HeadOnly, 0).unwrap();
            let next = take(&mut permits, sent, 0).unwrap();
            assert_ne!(slow, next);
            assert_eq!(permits.out(LEASE, at(0)), 1);
            // The one that has lost it neither has it back nor frees it.
            assert_eq!(permits.confirm(slow, 1, LEASE, at(1)), None);
            assert_eq!(permits.settle(slow), None);
            assert!(permits.settle(next).is_some());
        }
    }

    #[test]
    fn a_permit_of_a_whole_request_is_its_own_for_its_lease() {
        let mut permits = Permits::default();
        take(&mut permits, Sent::Whole, 0).unwrap();
        assert_eq!(take(&mut permits, Sent::Whole, 34_999), None);
        assert!(take(&mut permits, Sent::Whole, 35_000).is_some());

        let mut permits = Permits::default();
        let slow = take(&mut permits, Sent::HeadOnly, 0).unwrap();
        let mut permits = permits.confirm(slow, 1, LEASE, at(20_000)).unwrap();
        assert_eq!(
            take(&mut permits, Sent::Whole, 54_999),
            None,
            "its lease began anew"
        );
        assert!(take(&mut permits, Sent::Whole, 55_000).is_some());
    }

    #[test]
    fn one_that_has_outlived_its_lease_is_confirmed_only_while_there_is_room() {
        let two =
            |permits: &mut Permits, millis| permits.take(2, LEASE, Sent::HeadOnly, at(millis));
        let mut permits = Permits::default();
        let (_, late) = (two(&mut permits, 0), two(&mut permits, 0).unwrap());
        assert!(permits.confirm(late, 1, LEASE, at(40_000)).is_some());
        let _ = take(&mut permits, Sent::Whole, 40_000).unwrap();
        assert_eq!(permits.confirm(late, 1, LEASE, at(40_000)), None);
    }

    #[test]
    fn once_fewer_are_set_a_lease_that_is_over_makes_no_room_for_one_more() {
        let mut permits = Permits::default();
        let mut two = |sent, millis| permits.take(2, LEASE, sent, at(millis));
        assert!(two(Sent::HeadOnly, 0).is_some() && two(Sent::Whole, 20_000).is_some());
        // The first one's is over, and the second one's is not.
        assert_eq!(permits.out(LEASE, at(40_000)), 1);
        for sent in [Sent::Whole, Sent::HeadOnly] {
            assert_eq!(take(&mut permits, sent, 40_000), None);
        }
    }

    #[test]
    fn a_permit_of_before_shared_data_was_lost_fits_none_of_since() {
        let [(mut before, old), (mut since, new)] = [0, 1].map(|millis| {
            let mut permits = Permits::beginning(at(millis));
            let permit = take(&mut permits, Sent::Whole, millis).unwrap();
            (permits, permit)
        });
        assert_eq!(since.settle(old), None);
        assert_eq!(since.confirm(old, 1, LEASE, at(2)), None);
        assert!(since.place_of(new).is_some() && before.place_of(old).is_some());
    }

    #[test]
    fn one_that_was_replaced_when_its_lease_was_over_is_heard_and_frees_nothing() {
        let mut permits = Permits::beginning(at(u64::from(u32::MAX) / 1_000));
        let slow = take(&mut permits, Sent::Whole, 0).unwrap();
        let next = take(&mut permits, Sent::Whole, 35_000).unwrap();
        assert_eq!(permits.settle(slow), Some(permits));
        assert!(permits.settle(next).is_some_and(|left| left != permits));
        let body = Permit {
            sent: Sent::HeadOnly,
            ..slow
        };
        assert_eq!(permits.settle(body), None, "its client was slow");
        assert_eq!(permits.settle(body.whole()), Some(permits));
        for unknown in [slow.number.wrapping_sub(1), next.number.wrapping_add(1)] {
            let number = unknown;
            assert_eq!(permits.settle(Permit { number, ..slow }), None);
        }
    }

    #[test]
    fn who_waits_for_a_probe_waits_as_long_again_as_it_has_taken_and_no_longer_than_its_lease() {
        let mut permits = Permits::default();
        let wait = |permits: &Permits, millis| permits.wait(LEASE, at(millis));
        let secs = Span::from_secs;
        permits.take(2, LEASE, Sent::Whole, at(0)).unwrap();
        for (now, expected) in [(0, 1), (999, 1), (4_000, 4), (17_500, 17), (30_000, 5)] {
            let wait = wait(&permits, now);
            assert_eq!(wait.as_nanos() / 1_000_000_000, expected, "{now}");
        }
        assert_eq!(wait(&permits, 35_000), secs(1), "its lease is over");
        // The first of two to come.
        permits.take(2, LEASE, Sent::Whole, at(20_000)).unwrap();
        assert_eq!(wait(&permits, 23_000), secs(3));
        assert_eq!(wait(&permits, 33_000), secs(2));
        // Whoever waits for a body takes it over.
        let mut permits = Permits::default();
        take(&mut permits, Sent::HeadOnly, 0).unwrap();
        assert_eq!(wait(&permits, 9_000), secs(1));
    }

    #[test]
    fn numbers_begin_with_the_time_at_which_it_became_half_open() {
        let micros = 0x0004_1234_5678;
        let now = Timestamp::from_unix_nanos(micros * 1_000 + 999);
        let permits = Permits::beginning(now);
        assert_eq!((permits.first, permits.taken), (0x1234_5678, 0x1234_5678));
    }

    #[test]
    fn a_flood_of_unfinished_bodies_takes_over_no_more_than_its_rate() {
        let mut permits = Permits::default();
        let flood = |permits: &mut Permits, millis| {
            let taken = (0..1_000).map_while(|_| take(permits, Sent::HeadOnly, millis));
            taken.count()
        };
        assert_eq!(flood(&mut permits, 0), 1 + 16);
        assert_eq!(flood(&mut permits, 99), 0);
        assert_eq!(flood(&mut permits, 100), 1);
        assert_eq!(flood(&mut permits, 1_000), 9);
        // A whole one does not wait for them, and then they wait for it.
        assert!(take(&mut permits, Sent::Whole, 1_000).is_some());
        assert_eq!(flood(&mut permits, 20_000), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_no_debt() {
        let mut permits = Permits {
            crowded_until: at(900_000),
            ..Permits::default()
        };
        take(&mut permits, Sent::HeadOnly, 0).unwrap();
        assert!(take(&mut permits, Sent::HeadOnly, 0).is_some());
    }
}
