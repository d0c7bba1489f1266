//! HTTP calls of a filter: a few at a time, each ended once, told apart by the gateway's numbers.

use std::cell::RefCell;

use portcullis_policy::{CallId, HttpCall, MOST_CALLS, Span};

/// The calls that are under way, oldest first.
#[derive(Default)]
pub(crate) struct UnderWay(RefCell<Vec<Call>>);

#[derive(Clone, Copy)]
struct Call {
    /// The gateway's name for it.
    number: u32,
    /// The policy's.
    id: CallId,
    /// How many ticks there are until it is given up. Not a date: the clock may be set.
    ticks_left: u64,
}

impl UnderWay {
    /// How long after its timeout a call is given up that the gateway has not ended. Not every gateway is known to end each.
    const GRACE: Span = Span::from_secs(1);

    /// Whether no other call may be made meanwhile.
    pub(crate) fn is_full(&self) -> bool {
        let calls = self.0.try_borrow();
        !calls.is_ok_and(|calls| calls.len() < MOST_CALLS)
    }

    /// Remembers a call that was made. `tick`: how often [`UnderWay::given_up`] is asked.
    pub(crate) fn add(&self, number: u32, id: CallId, call: &HttpCall, tick: Span) {
        let longest = call
            .timeout
            .as_nanos()
            .saturating_add(Self::GRACE.as_nanos());
        let ticks_left = longest.div_ceil(tick.as_nanos().max(1));
        if let Ok(mut calls) = self.0.try_borrow_mut() {
            calls.push(Call {
                number,
                id,
                ticks_left,
            });
        }
    }

    /// The call of that number, if it is under way; it no longer is.
    pub(crate) fn take(&self, number: u32) -> Option<CallId> {
        let mut calls = self.0.try_borrow_mut().ok()?;
        let at = calls.iter().position(|call| call.number == number)?;
        Some(calls.remove(at).id)
    }

    /// The calls that are given up with this tick; they are no longer under way.
    pub(crate) fn given_up(&self) -> Vec<CallId> {
        let Ok(mut calls) = self.0.try_borrow_mut() else {
            return Vec::new();
        };
        let mut given_up = Vec::new();
        calls.retain_mut(|call| {
            call.ticks_left = call.ticks_left.saturating_sub(1);
            if call.ticks_left == 0 {
                given_up.push(call.id);
            }
            call.ticks_left > 0
        });
        given_up
    }
}
