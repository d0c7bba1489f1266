//! What the filters of a trial are in: a clock that stands until it is set, random bytes that are the same in each run, shared data,
//! and the calls that they make.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use portcullis_policy::{HttpCall, Timestamp};

use super::heard::Heard;
use super::memory::Memory;
use super::passing::Passing;

/// The world of a trial.
#[derive(Default)]
pub(super) struct World {
    pub(super) now: Cell<Timestamp>,
    drawn: Cell<u64>,
    pub(super) store: Memory,
    /// What the filter at hand has told.
    heard: RefCell<Vec<Heard>>,
    /// What is answered to calls, by their URLs.
    pub(super) answers: RefCell<BTreeMap<String, Vec<u8>>>,
    calls: RefCell<Vec<(u32, HttpCall)>>,
    called: Cell<u32>,
    /// Those that are under way, by their numbers.
    passing: RefCell<BTreeMap<u64, Weak<Passing>>>,
}

impl World {
    /// Eight more bytes that look random (SplitMix64).
    pub(super) fn draw(&self) -> [u8; 8] {
        let state = self.drawn.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.drawn.set(state);
        let mut drawn = state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)).to_le_bytes()
    }

    pub(super) fn tell(&self, heard: Heard) {
        self.heard.borrow_mut().push(heard);
    }

    /// What was told since this was last asked.
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.take()
    }

    /// Takes a call of a filter; `None` where nobody has said what is answered to it.
    pub(super) fn call(&self, call: &HttpCall) -> Option<u32> {
        let url = url(call);
        if !self.answers.borrow().contains_key(&url) {
            self.tell(Heard::Unanswered(url));
            return None;
        }
        let number = self.called.get().wrapping_add(1);
        self.called.set(number);
        self.calls.borrow_mut().push((number, call.clone()));
        Some(number)
    }

    /// The calls that were made since this was last asked, each with its answer.
    pub(super) fn answered(&self) -> Vec<(u32, Vec<u8>)> {
        let answers = self.answers.borrow();
        let calls = self.calls.take().into_iter();
        let answered = calls.map(|(number, call)| (number, answers.get(&url(&call)).cloned()));
        answered
            .map(|(number, answer)| (number, answer.unwrap_or_default()))
            .collect()
    }

    pub(super) fn enter(&self, number: u64, passing: &Rc<Passing>) {
        let mut all = self.passing.borrow_mut();
        all.retain(|_, passing| passing.strong_count() > 0);
        all.insert(number, Rc::downgrade(passing));
    }

    pub(super) fn entered(&self, number: u64) -> Option<Rc<Passing>> {
        self.passing.borrow().get(&number)?.upgrade()
    }
}

fn url(call: &HttpCall) -> String {
    format!("{}://{}{}", call.scheme, call.authority, call.path)
}
