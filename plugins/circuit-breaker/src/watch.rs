//! Answers that are watched as they pass: for their first content, and for silence.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use portcullis_policy::{Response, Span, Timestamp};
use portcullis_usage::{Meter, Vendors};

use crate::admitted::Admitted;

/// One breaker's part in an answer that is watched. The worker has it, too: silence is nothing that a stream is told of.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) admitted: RefCell<Admitted>,
    /// When a tick has last seen that something had come.
    last: Cell<Timestamp>,
    /// How many ticks have seen nothing since: a clock may be set, and a worker be stopped.
    still: Cell<u32>,
    /// Whether something has come since the last one.
    moved: Cell<bool>,
    /// Whether nothing more is to be looked for.
    is_over: Cell<bool>,
}

/// For how long nothing has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    since: Timestamp,
    ticks: u32,
}

impl Silence {
    /// Whether it is longer than that, by the clock and by at least half of the ticks that there are in it.
    pub(crate) fn is_longer_than(self, span: Span, now: Timestamp) -> bool {
        let ticks = u64::from(self.ticks).saturating_mul(TWO_TICKS);
        now.since(self.since) > span && ticks >= span.as_nanos()
    }
}

/// A worker looks every 50 ms; nanoseconds.
const TWO_TICKS: u64 = 100_000_000;

/// So many bytes of an answer are watched. What a client does not read fills the gateway's buffers, and then nothing comes any more,
/// for no fault of the upstream's; they are seldom smaller.
const WATCHED: usize = 32 * 1024;

/// All that is watched of one answer.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) parts: Vec<Rc<Watched>>,
    first: First,
    passed: usize,
}

/// Whether an answer has said anything.
#[derive(Debug)]
enum First {
    /// Not yet, as far as its text tells.
    Text(Box<Meter>),
    /// Not yet; of one that can't be read any byte is something.
    Byte,
    Come,
}

/// All answers that a worker watches.
#[derive(Debug, Default)]
pub(crate) struct Watch(RefCell<Vec<Weak<Watched>>>);

impl Watched {
    /// It is looked at: for how long nothing has come; `None` where that is no matter any more.
    pub(crate) fn looked_at(&self, now: Timestamp) -> Option<Silence> {
        if self.is_over.get() {
            return None;
        }
        if self.moved.replace(false) {
            self.last.set(now);
            self.still.set(0);
        } else {
            self.still.set(self.still.get().saturating_add(1));
        }
        Some(Silence {
            since: self.last.get(),
            ticks: self.still.get(),
        })
    }
}

impl Watching {
    /// `for_text`: whether anything of it waits for the answer's text.
    pub(crate) fn begin(response: &dyn Response, for_text: bool) -> Self {
        let header = |name: &str| response.header(name).unwrap_or_default();
        let meter = for_text
            .then(|| Meter::of(&header("content-type"), &header("content-encoding")))
            // A document tells its first token with its last.
            .filter(|meter| meter.is_readable() && !meter.is_one_document());
        Self {
            parts: Vec::new(),
            passed: 0,
            first: meter.map_or(First::Byte, |meter| First::Text(Box::new(meter))),
        }
    }

    /// Something has come. Whether it is the first content.
    pub(crate) fn take(&mut self, vendors: Option<&Vendors>, bytes: Option<&[u8]>) -> bool {
        for part in &self.parts {
            part.moved.set(true);
        }
        self.passed = self.passed.saturating_add(bytes.map_or(0, <[u8]>::len));
        if self.passed > WATCHED {
            self.stop();
        }
        let has_come = match (&mut self.first, vendors, bytes) {
            (First::Come, ..) => return false,
            (First::Text(meter), Some(vendors), Some(bytes)) => {
                meter.feed(vendors, bytes);
                // Of one that says nothing where anybody knows it to, its first document is something.
                meter.has_content() || (!meter.is_known() && meter.documents() > 0)
            }
            (First::Text(_) | First::Byte, ..) => true,
        };
        if has_come {
            self.first = First::Come;
        }
        has_come
    }
}

impl Watching {
    /// It has come whole, or far enough.
    pub(crate) fn stop(&self) {
        for part in &self.parts {
            part.is_over.set(true);
        }
    }
}

impl Watch {
    /// Watches a breaker's part in an answer that has begun.
    pub(crate) fn begin(&self, admitted: Admitted, now: Timestamp) -> Rc<Watched> {
        let watched = Rc::new(Watched {
            admitted: RefCell::new(admitted),
            last: Cell::new(now),
            still: Cell::new(0),
            moved: Cell::new(false),
            is_over: Cell::new(false),
        });
        // Where that is not to be had nobody looks for silence; its end is told all the same.
        if let Ok(mut all) = self.0.try_borrow_mut() {
            all.push(Rc::downgrade(&watched));
        }
        watched
    }

    /// Those that have not ended.
    pub(crate) fn living(&self) -> Vec<Rc<Watched>> {
        let Ok(mut all) = self.0.try_borrow_mut() else {
            return Vec::new();
        };
        all.retain(|watched| watched.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }
}
