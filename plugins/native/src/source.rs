//! What policies are made of: a filter's name, its configuration's text, and the variables that it names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_policy::Environment;
use zeroize::Zeroizing;

use crate::common::{Caller, Common};
use crate::filters::{self, Kind, OnMain, OnWorker};
use crate::instance::{Main, Worker};
use crate::store::Zone;
use crate::surroundings;

/// What policies are made of.
pub(crate) struct Source {
    kind: Kind,
    text: Zeroizing<Vec<u8>>,
    environment: Variables,
    pub(crate) zone: Arc<Zone>,
}

/// The variables that a configuration has asked for, as they were then: all workers get the same.
#[derive(Default)]
struct Variables(Mutex<BTreeMap<String, Option<Zeroizing<String>>>>);

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || surroundings::variable(name).map(Zeroizing::new);
        let value = known.entry(name.to_owned()).or_insert_with(read);
        value.as_ref().map(|value| value.as_str().to_owned())
    }
}

impl Source {
    /// `name`: the filter, and behind a slash what shares its counts, if not all that have none. `None` where there is no such
    /// filter, which was said.
    pub(crate) fn new(name: &str, text: &[u8]) -> Option<Self> {
        let (filter, zone) = name.split_once('/').unwrap_or((name, ""));
        let Some(kind) = filters::named(filter) else {
            let names = filters::names();
            log::error!(
                "portcullis: filter_name: {filter:?} is no filter; expected one of {names}"
            );
            return None;
        };
        Some(Self {
            kind,
            text: Zeroizing::new(text.to_vec()),
            environment: Variables::default(),
            zone: Zone::named(zone),
        })
    }

    /// The main thread's instance; `None` where the configuration is refused, which was said.
    pub(crate) fn main(&self, host: Main) -> Option<Box<dyn OnMain>> {
        (self.kind.main)(host, &self.text, &self.environment)
    }

    /// Whether it can be put in force. `None` where it can't, which was said.
    pub(crate) fn check(&self) -> Option<()> {
        match (self.kind.check)(&self.text, &self.environment) {
            Ok(()) => Some(()),
            Err(error) => {
                log::error!("{}: {error}", self.kind.name);
                None
            }
        }
    }

    /// A worker's instance.
    pub(crate) fn worker(&self, common: &Arc<Common>, caller: Caller) -> Box<dyn OnWorker> {
        let host = Worker::new(Arc::clone(common), caller, &self.zone);
        (self.kind.worker)(host, &self.text, &self.environment)
    }
}
