//! Answers that are watched as they pass: for their first content, and for silence.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use portcullis_policy::{Response, Timestamp};
use portcullis_usage::{Meter, Vendors};

use crate::flow::Admitted;

/// One breaker's part in an answer that is watched. The worker has it, too: silence is nothing that a stream is told of.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) admitted: RefCell<Admitted>,
    /// When a tick has last seen that something had come.
    last: Cell<Timestamp>,
    /// Whether something has come since.
    moved: Cell<bool>,
}

/// All that is watched of one answer.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) parts: Vec<Rc<Watched>>,
    first: First,
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
    /// It is looked at: when something has last come.
    pub(crate) fn looked_at(&self, now: Timestamp) -> Timestamp {
        if self.moved.replace(false) {
            self.last.set(now);
        }
        self.last.get()
    }
}

impl Watching {
    /// `for_text`: whether anything of it waits for the answer's text.
    pub(crate) fn begin(response: &dyn Response, for_text: bool) -> Self {
        let header = |name: &str| response.header(name).unwrap_or_default();
        let meter = for_text
            .then(|| Meter::of(&header("content-type"), &header("content-encoding")))
            .filter(Meter::is_readable);
        Self {
            parts: Vec::new(),
            first: meter.map_or(First::Byte, |meter| First::Text(Box::new(meter))),
        }
    }

    /// Something has come. Whether it is the first content.
    pub(crate) fn take(&mut self, vendors: Option<&Vendors>, bytes: Option<&[u8]>) -> bool {
        for part in &self.parts {
            part.moved.set(true);
        }
        let has_come = match (&mut self.first, vendors, bytes) {
            (First::Come, ..) => return false,
            (First::Text(meter), Some(vendors), Some(bytes)) => {
                meter.feed(vendors, bytes);
                meter.has_content()
            }
            (First::Text(_) | First::Byte, ..) => true,
        };
        if has_come {
            self.first = First::Come;
        }
        has_come
    }
}

impl Watch {
    /// Watches a breaker's part in an answer that has begun.
    pub(crate) fn begin(&self, admitted: Admitted, now: Timestamp) -> Rc<Watched> {
        let watched = Rc::new(Watched {
            admitted: RefCell::new(admitted),
            last: Cell::new(now),
            moved: Cell::new(false),
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
