//! What Envoy has of a filter's configuration: metrics, calls, and what was raised.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use portcullis_native::abi::{ConfigPtr, FilterPtr};

/// A call under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Envoy's number for it.
    pub id: u64,
    /// The cluster that is asked.
    pub cluster: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
}

#[derive(Default)]
pub(crate) struct Config {
    /// By id, each with its labels' names.
    templates: Vec<(String, Vec<String>)>,
    values: BTreeMap<String, u64>,
    calls: Vec<Call>,
    next_call: u64,
    pub(crate) raised: Raised,
}

/// What was raised, from whichever thread: events of the main thread, and the streams whose bells were rung.
pub(crate) type Raised = Arc<Mutex<(VecDeque<u64>, Vec<FilterPtrOfAnyThread>)>>;

/// A stream's address, which is used on its own thread only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct FilterPtrOfAnyThread(pub(crate) FilterPtr);
// SAFETY: it is only looked at elsewhere.
unsafe impl Send for FilterPtrOfAnyThread {}

impl Config {
    pub(crate) fn pointer(&mut self) -> ConfigPtr {
        ConfigPtr((&raw mut *self).cast())
    }

    /// # Safety
    /// The configuration lives, and nobody else uses it meanwhile.
    pub(crate) unsafe fn at<'a>(ConfigPtr(at): ConfigPtr) -> &'a mut Self {
        // SAFETY: by the caller.
        unsafe { &mut *at.cast() }
    }

    pub(crate) fn define(&mut self, name: String, labels: Vec<String>) -> usize {
        self.templates.push((name, labels));
        self.templates.len() - 1
    }

    /// A value under a metric and its labels; `None` where there are other labels than were defined.
    pub(crate) fn value(&mut self, id: usize, values: &[String]) -> Option<&mut u64> {
        let (name, labels) = self.templates.get(id)?;
        if labels.len() != values.len() {
            return None;
        }
        let mut whole = name.clone();
        for (label, value) in labels.iter().zip(values) {
            whole.push_str(&format!(".{label}.{value}"));
        }
        Some(self.values.entry(whole).or_default())
    }

    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    pub(crate) fn metrics(&self) -> BTreeMap<String, u64> {
        self.values.clone()
    }

    pub(crate) fn call(&mut self, cluster: String, headers: BTreeMap<String, String>) -> u64 {
        self.next_call += 1;
        let id = self.next_call;
        self.calls.push(Call {
            id,
            cluster,
            headers,
        });
        id
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub(crate) fn end_call(&mut self, id: u64) {
        self.calls.retain(|call| call.id != id);
    }

    /// The next event of the main thread, but for ticks and metrics, which the test has pass.
    pub(crate) fn take_event(&self) -> Option<u64> {
        let mut raised = self.raised.lock().unwrap();
        let events = &mut raised.0;
        events.retain(|event| *event == portcullis_native::Event::Want as u64);
        events.pop_front()
    }

    pub(crate) fn take_rung(&self) -> Vec<FilterPtr> {
        let mut raised = self.raised.lock().unwrap();
        let rung = std::mem::take(&mut raised.1);
        rung.into_iter()
            .map(|FilterPtrOfAnyThread(stream)| stream)
            .collect()
    }
}
