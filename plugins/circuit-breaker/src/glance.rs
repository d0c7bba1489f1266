//! What a worker has just seen of a breaker, so that it need not look for each request.

use std::cell::Cell;

use portcullis_policy::{Span, Timestamp};

use crate::ticket::{Standing, Ticket};

/// For how long a closed breaker with no failure on record is taken for that without another look: so much later than a request
/// that finds it open the last one may pass on another worker.
const FRESH: Span = Span::from_millis(5);

/// The last look of this worker at a breaker, if it found it closed and no failure on record.
#[derive(Debug, Default)]
pub(crate) struct Glance(Cell<Option<(Ticket, Timestamp)>>);

impl Glance {
    /// A request has looked at `now`, and passes with this ticket.
    pub(crate) fn saw(&self, ticket: Ticket, now: Timestamp) {
        let is_clean = ticket.standing == Standing::Clean;
        self.0.set(is_clean.then_some((ticket, now)));
    }

    /// It may be other than it was seen.
    pub(crate) fn forget(&self) {
        self.0.set(None);
    }

    /// The ticket of a request at `now`, if the last look is fresh. A clock that stands still, or was set back, tells nothing of
    /// its age.
    pub(crate) fn ticket(&self, now: Timestamp) -> Option<Ticket> {
        let (ticket, seen_at) = self.0.get()?;
        let is_fresh = now > seen_at && now.since(seen_at) < FRESH;
        is_fresh.then_some(ticket)
    }

    /// Whether there is a look that may be fresh.
    pub(crate) const fn is_there(&self) -> bool {
        self.0.get().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    #[test]
    fn a_look_holds_for_five_milliseconds_and_not_at_the_same_reading_of_the_clock() {
        let at = Timestamp::from_unix_nanos;
        let clean = Ticket::closed(7, &Run::default());
        let glance = Glance::default();
        assert_eq!(glance.ticket(at(1_000_000_000)), None);
        glance.saw(clean, at(1_000_000_000));
        for (now, ticket) in [
            (999_999_999, None),
            (1_000_000_000, None),
            (1_000_000_001, Some(clean)),
            (1_004_999_999, Some(clean)),
            (1_005_000_000, None),
        ] {
            assert_eq!(glance.ticket(at(now)), ticket, "{now}");
        }
        glance.forget();
        assert_eq!(glance.ticket(at(1_000_000_001)), None);
    }

    #[test]
    fn failures_on_record_are_looked_at_each_time() {
        let at = Timestamp::from_unix_nanos;
        let glance = Glance::default();
        glance.saw(Ticket::closed(7, &Run::default().failed(at(1))), at(2));
        assert_eq!(glance.ticket(at(3)), None);
        glance.saw(Ticket::FORCED, at(2));
        assert_eq!(glance.ticket(at(3)), None);
    }
}
