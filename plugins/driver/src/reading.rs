//! Requests that wait for their own bodies, which decide on them.

use std::rc::{Rc, Weak};

use portcullis_policy::{BodyEnd, Origin, Policy, Sent};

use crate::ending::Told;
use crate::filter::{Filter, MOST_AT_ONCE, Ruling};
use crate::host::{Exchange, Failed, Host, StreamId};
use crate::phase::{Decided, Head, Held, Holding, Phase, Reading, Step};

/// Those that were not looked at yet. A panic on one of them leaves no other behind.
struct Rest<'a, F> {
    holding: &'a Holding<F>,
    rest: Vec<(StreamId, Weak<Held<F>>)>,
}

impl<F> Drop for Rest<'_, F> {
    fn drop(&mut self) {
        for (stream, held) in self.rest.drain(..) {
            self.holding.keep(stream, held);
        }
    }
}

impl<P: Policy, H: Host> Filter<P, H> {
    /// A request is to be decided on by its body: holds it until that has come. Where there is none to come, or no room for one
    /// more, it is decided on now.
    pub(crate) fn begin_reading<X: Exchange>(
        &self,
        exchange: &X,
        stream: StreamId,
        head: Head,
        reading: Reading<P::Flow>,
    ) -> Result<Rc<Held<P::Flow>>, Decided<P::Flow>> {
        let end = if head.ends {
            BodyEnd::Whole
        } else if self.reading.has_room(Holding::<P::Flow>::MOST_READING) {
            let held = Rc::new(Held::new(head, 1));
            self.keep_reading(stream, &held, reading);
            return Ok(held);
        } else {
            BodyEnd::Failed
        };
        match self.end_reading(exchange, &head, reading, end) {
            Ruling::Decided(decided) => Err(decided),
            Ruling::Wait(waiting) => self.begin_waiting(exchange, stream, head, waiting),
            // It was read, and there is nothing more to be said of it.
            Ruling::Read(reading) => Err(self.unreadable(exchange, reading.passed)),
        }
    }

    /// Has a request that is held wait for its body.
    pub(crate) fn keep_reading(
        &self,
        stream: StreamId,
        held: &Rc<Held<P::Flow>>,
        reading: Reading<P::Flow>,
    ) {
        held.begin_reading(reading, self.policy.tick_every());
        self.reading.keep(stream, Rc::downgrade(held));
    }

    /// Reads what has come of the body of a request that waits for it. What becomes of the request, once that is enough.
    pub(crate) fn read<X: Exchange>(
        &self,
        exchange: &X,
        stream: StreamId,
        held: &Rc<Held<P::Flow>>,
    ) -> Option<Decided<P::Flow>> {
        let mut reading = held.take_reading()?;
        let size = held.body_size.get();
        let end = if size > reading.most {
            Some(BodyEnd::TooLong)
        } else if size > reading.read && self.take_bytes(exchange, &mut reading, size).is_err() {
            Some(BodyEnd::Failed)
        } else if held.body_ended.get() {
            Some(BodyEnd::Whole)
        } else {
            None
        };
        reading.read = size;
        let Some(end) = end else {
            held.put_reading(Some(reading));
            return None;
        };
        let ruling = self.end_reading(exchange, &held.head, reading, end);
        let mut decided = self.decided(exchange, stream, held, ruling)?;
        if let (Phase::Requested(passed), true) = (&mut decided.phase, held.body_ended.get())
            && end != BodyEnd::Whole
        {
            // It passes all the same, and no other event tells that it has come whole.
            self.with_ports(|ports| self.policy.on_request_sent(&mut passed.flow, ports));
        }
        Some(decided)
    }

    fn take_bytes<X: Exchange>(
        &self,
        exchange: &X,
        reading: &mut Reading<P::Flow>,
        size: usize,
    ) -> Result<(), Failed> {
        let flow = &mut reading.passed.flow;
        exchange.request_body(reading.read, size, &mut |bytes| {
            self.policy.on_request_bytes(flow, bytes);
        })
    }

    /// What was decided on a request whose body was read, unless it is to wait for a call's end.
    fn decided<X: Exchange>(
        &self,
        exchange: &X,
        stream: StreamId,
        held: &Rc<Held<P::Flow>>,
        ruling: Ruling<P::Flow>,
    ) -> Option<Decided<P::Flow>> {
        match ruling {
            Ruling::Decided(decided) => Some(decided),
            Ruling::Read(reading) => Some(self.unreadable(exchange, reading.passed)),
            Ruling::Wait(waiting) if self.holding.has_room(Holding::<P::Flow>::MOST) => {
                self.keep_waiting(stream, held, waiting);
                None
            }
            Ruling::Wait(waiting) => Some(self.wait_no_longer(exchange, &held.head, waiting)),
        }
    }

    /// Decides on a request by its body.
    fn end_reading<X: Exchange>(
        &self,
        exchange: &X,
        head: &Head,
        reading: Reading<P::Flow>,
        end: BodyEnd,
    ) -> Ruling<P::Flow> {
        let Reading {
            mut passed, read, ..
        } = reading;
        passed.body.sent = match end {
            BodyEnd::Whole => Sent::Whole,
            BodyEnd::TooLong | BodyEnd::TimedOut | BodyEnd::Failed => Sent::HeadOnly,
        };
        let request = head.request(exchange).with_sent(passed.body.sent);
        let verdict = self.with_ports(|ports| {
            self.policy
                .on_request_read(&request, &mut passed.flow, end, ports)
        });
        self.hand_over_wants();
        let whole = (end == BodyEnd::Whole).then_some(read);
        match self.carry_out(exchange, passed, None, whole, verdict) {
            Ruling::Decided(mut decided) => Ruling::Decided(match decided.admits(read) {
                true => decided,
                false => self.too_long(exchange, decided.phase),
            }),
            ruling => ruling,
        }
    }

    /// So many ticks have passed. A request whose body has not come in time is decided on without it.
    pub(crate) fn time_readings_out(&self, ticks: u64) {
        if self.reading.is_empty() {
            return;
        }
        let mut rest = Rest {
            holding: &self.reading,
            rest: self.reading.take_all(),
        };
        let mut decided = 0_usize;
        while let Some((stream, held)) = rest.rest.pop() {
            let Some(living) = held.upgrade() else {
                continue;
            };
            if living.is_decided() {
                continue;
            }
            let exchange = match living.passes(ticks) || decided >= MOST_AT_ONCE {
                true => None,
                false => self.host.enter(stream).ok(),
            };
            let Some(exchange) = exchange else {
                self.reading.keep(stream, held);
                continue;
            };
            decided = decided.saturating_add(1);
            let Some(reading) = living.take_reading() else {
                continue;
            };
            if living.body_size.get() == 0 && !self.told_of_no_body.replace(true) {
                log::warn!(
                    "{}: of a request's body nothing came for 30 s. If that is so for all of them, and this is Wasm on Envoy, \
                     `allow_on_headers_stop_iteration` is not set",
                    P::NAME
                );
            }
            let ruling = self.end_reading(&exchange, &living.head, reading, BodyEnd::TimedOut);
            if let Some(decided) = self.decided(&exchange, stream, &living, ruling) {
                self.put_decided(stream, &living, decided);
            }
        }
    }

    /// A request that was held was decided on, in an event that is none of its own: lets it go on, or forgets it.
    pub(crate) fn put_decided(
        &self,
        stream: StreamId,
        held: &Rc<Held<P::Flow>>,
        decided: Decided<P::Flow>,
    ) {
        let Decided { mut phase, step } = decided;
        if Rc::strong_count(held) == 1 {
            // Its stream has ended with the answer.
            self.end(&mut phase, &Told(Origin::Gateway));
            return;
        }
        held.put(phase);
        if step == Step::Continue && self.host.resume(stream).is_err() {
            log::error!("{}: a request that was held does not go on", P::NAME);
        }
    }
}
