//! How far a request has come, and those that are held, undecided, until what they need has come.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use portcullis_policy::{Headers, LocalReply, Request, Span};

use crate::body::{Bound, RequestBody};
use crate::host::{Exchange, StreamId};

/// What becomes of a request for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    Continue,
    /// It goes no further: it was answered, or is held.
    Stop,
}

/// How far a stream has come, with what is remembered of it.
pub(crate) enum Phase<F> {
    /// The policy has seen no request: a neighbour answered it, or the host did not show it.
    Unseen,
    /// The request waits, undecided, for what it needs: a call's answer, or its own body.
    Held(Rc<Held<F>>),
    /// The request goes on, or waits for its body.
    Requested(Passed<F>),
    /// A response has come.
    Responded(Passed<F>, Seen),
    /// Answered here: what follows is not the upstream's.
    Answered(Option<F>),
}

/// A request that was let pass.
pub(crate) struct Passed<F> {
    pub(crate) flow: F,
    pub(crate) body: RequestBody,
    pub(crate) bound: Bound,
}

/// What was seen of a response, as far as it tells how the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) is_from_upstream: bool,
    pub(crate) is_whole: bool,
}

/// What has become of a request.
pub(crate) struct Decided<F> {
    pub(crate) phase: Phase<F>,
    pub(crate) step: Step,
}

impl<F> Decided<F> {
    /// So many bytes of the request's body are to pass. Whether they may.
    pub(crate) fn admits(&mut self, bytes: usize) -> bool {
        match &mut self.phase {
            Phase::Requested(passed) => passed.bound.admits(bytes),
            Phase::Unseen | Phase::Held(_) | Phase::Responded(..) | Phase::Answered(_) => true,
        }
    }
}

impl<F> Phase<F> {
    /// Answers the request in the upstream's stead. `plugin`: who says so if that fails.
    pub(crate) fn answer<X: Exchange>(
        self,
        exchange: &X,
        reply: &LocalReply,
        plugin: &str,
    ) -> Decided<F> {
        let phase = match self {
            Self::Unseen | Self::Held(_) => Self::Answered(None),
            Self::Requested(passed) | Self::Responded(passed, _) => {
                Self::Answered(Some(passed.flow))
            }
            Self::Answered(flow) => Self::Answered(flow),
        };
        if exchange.reply(reply).is_err() {
            log::error!("{plugin}: the gateway did not send the answer; the request is held");
        }
        // Also where it was not sent: a request that is refused does not go on.
        Decided {
            phase,
            step: Step::Stop,
        }
    }
}

/// The head of a request, as it was shown.
pub(crate) struct Head {
    pub(crate) headers: Headers,
    pub(crate) target: Option<Vec<u8>>,
    /// Whether the host says that there is no body.
    pub(crate) ends: bool,
}

impl Head {
    pub(crate) fn request<'a, X: Exchange>(&'a self, exchange: &'a X) -> Request<'a> {
        let request = Request::new(&self.headers, exchange);
        match &self.target {
            Some(target) => request.with_target(target),
            None => request,
        }
    }
}

/// A request that is held. Its stream shares it with the worker, which goes on with it.
pub(crate) struct Held<F> {
    pub(crate) head: Head,
    /// How many ticks it is held for yet. Not a date: the clock may be set.
    ticks_left: Cell<u64>,
    /// How many bytes of its body have come meanwhile, on a host that goes on reading.
    pub(crate) body_size: Cell<usize>,
    /// Whether that is all of it.
    pub(crate) body_ended: Cell<bool>,
    /// Who reads its body, once that is what it waits for.
    reading: RefCell<Option<Reading<F>>>,
    /// What is known of it, where the policy has seen it and wants it to wait.
    waiting: RefCell<Option<Waiting<F>>>,
    /// Whether its body was read whole before it was to wait.
    pub(crate) was_read: Cell<bool>,
    /// What has become of it.
    phase: RefCell<Option<Phase<F>>>,
}

/// A request that its body decides on.
pub(crate) struct Reading<F> {
    pub(crate) passed: Passed<F>,
    /// Of so many bytes it may be.
    pub(crate) most: usize,
    /// So many were read.
    pub(crate) read: usize,
}

/// A request that the policy has seen, and that waits for a call's end.
pub(crate) struct Waiting<F> {
    pub(crate) passed: Passed<F>,
    /// For how long at most.
    pub(crate) longest: Span,
    /// How long its body is, where it was read whole.
    pub(crate) read: Option<usize>,
}

impl<F> Held<F> {
    /// From now on it waits for a call's end.
    pub(crate) fn begin_waiting(&self, waiting: Waiting<F>, tick: Span) {
        // One more: the next tick may come at once.
        let ticks = ticks_in(waiting.longest, tick).saturating_add(1);
        self.ticks_left.set(ticks);
        self.put_waiting(waiting);
    }

    /// What is known of it, if the policy has seen it; it is put back unless it waits no longer.
    pub(crate) fn take_waiting(&self) -> Option<Waiting<F>> {
        self.waiting.try_borrow_mut().ok()?.take()
    }

    pub(crate) fn put_waiting(&self, waiting: Waiting<F>) {
        if let Ok(mut known) = self.waiting.try_borrow_mut() {
            *known = Some(waiting);
        }
    }

    /// What is known of it, if the policy has seen it.
    pub(crate) fn take_seen(&self) -> Option<Passed<F>> {
        let reading = self.take_reading().map(|reading| reading.passed);
        reading.or_else(|| self.take_waiting().map(|waiting| waiting.passed))
    }

    /// For how long at most a request waits for its body.
    pub(crate) const LONGEST_READING: Span = Span::from_secs(30);

    /// From now on it waits for its body.
    pub(crate) fn begin_reading(&self, reading: Reading<F>, tick: Span) {
        self.ticks_left.set(ticks_in(Self::LONGEST_READING, tick));
        self.put_reading(Some(reading));
    }

    /// Who reads its body, if anybody does; it is put back unless that has ended.
    pub(crate) fn take_reading(&self) -> Option<Reading<F>> {
        self.reading.try_borrow_mut().ok()?.take()
    }

    pub(crate) fn put_reading(&self, reading: Option<Reading<F>>) {
        if let Ok(mut known) = self.reading.try_borrow_mut() {
            *known = reading;
        }
    }

    pub(crate) fn new(head: Head, ticks: u64) -> Self {
        Self {
            head,
            ticks_left: Cell::new(ticks),
            body_size: Cell::new(0),
            body_ended: Cell::new(false),
            reading: RefCell::new(None),
            waiting: RefCell::new(None),
            was_read: Cell::new(false),
            phase: RefCell::new(None),
        }
    }

    /// So many ticks have passed. Whether it is held for longer.
    pub(crate) fn passes(&self, ticks: u64) -> bool {
        let left = self.ticks_left.get().saturating_sub(ticks);
        self.ticks_left.set(left);
        left > 0
    }

    /// It was decided on.
    pub(crate) fn put(&self, phase: Phase<F>) {
        if let Ok(mut known) = self.phase.try_borrow_mut() {
            *known = Some(phase);
        }
    }

    /// Whether it is held no longer.
    pub(crate) fn is_decided(&self) -> bool {
        self.phase
            .try_borrow()
            .map_or(true, |phase| phase.is_some())
    }

    /// What has become of it, once; `None` while it is held.
    pub(crate) fn take(&self) -> Option<Phase<F>> {
        self.phase.try_borrow_mut().ok()?.take()
    }
}

/// How many ticks pass in a span, one at least.
fn ticks_in(span: Span, tick: Span) -> u64 {
    span.as_nanos().div_ceil(tick.as_nanos().max(1)).max(1)
}

/// All requests that a worker holds.
pub(crate) struct Holding<F>(RefCell<Vec<(StreamId, Weak<Held<F>>)>>);

impl<F> Default for Holding<F> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<F> Holding<F> {
    /// How many a worker holds at a time, since each keeps its headers. Others are decided on at once.
    pub(crate) const MOST: usize = 256;

    /// How many may wait for their bodies: they are their clients' to hurry, and the gateway keeps what has come.
    pub(crate) const MOST_READING: usize = 1_024;

    /// Holds a request, for so long at most; gives its head back where there is no room. `tick`: how often time passes here.
    pub(crate) fn hold(
        &self,
        stream: StreamId,
        head: Head,
        longest: Span,
        tick: Span,
    ) -> Result<Rc<Held<F>>, Head> {
        if !self.has_room(Self::MOST) {
            return Err(head);
        }
        let held = Rc::new(Held::new(head, ticks_in(longest, tick)));
        self.keep(stream, Rc::downgrade(&held));
        Ok(held)
    }

    /// Whether one more may be held, of so many.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.0.try_borrow_mut().is_ok_and(|mut all| {
            if all.len() >= most {
                all.retain(|(_, held)| held.strong_count() > 0);
            }
            all.len() < most
        })
    }

    /// All; they are no longer held, but for those that are kept.
    pub(crate) fn take_all(&self) -> Vec<(StreamId, Weak<Held<F>>)> {
        let all = self.0.try_borrow_mut();
        all.map_or(Vec::new(), |mut all| std::mem::take(&mut *all))
    }

    /// Holds one for longer.
    pub(crate) fn keep(&self, stream: StreamId, held: Weak<Held<F>>) {
        if let Ok(mut all) = self.0.try_borrow_mut() {
            all.push((stream, held));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.try_borrow().is_ok_and(|all| all.is_empty())
    }
}
