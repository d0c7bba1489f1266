//! Configurations of routes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::abi::FilterPtr;
use crate::common::Caller;
use crate::source::Source;

/// A configuration of a route, in force there in place of its listener's.
pub struct Route {
    pub(crate) source: Source,
    pub(crate) caller: Caller,
    gone: AtomicBool,
}

/// The addresses of all that there are, and how many these are.
static KNOWN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Envoy has something else for a route than one of these.
pub(crate) struct Foreign;

impl Route {
    /// Takes a route's configuration, and makes it known. `None` where it is refused, which was said.
    pub(crate) fn new(name: &str, text: &[u8]) -> Option<Arc<Self>> {
        let source = Source::new(name, text)?;
        source.check()?;
        let route = Arc::new(Self {
            source,
            caller: Caller::next(),
            gone: AtomicBool::new(false),
        });
        let mut known = known();
        known.insert(Arc::as_ptr(&route).addr());
        COUNT.store(known.len(), Ordering::Relaxed);
        Some(route)
    }

    /// That of a stream's route, if it has one.
    ///
    /// # Errors
    /// What Envoy has for it was not made here.
    pub(crate) fn of(stream: FilterPtr) -> Result<Option<Arc<Self>>, Foreign> {
        if COUNT.load(Ordering::Relaxed) == 0 {
            return Ok(None);
        }
        let route = stream.route_config().cast::<Self>();
        if route.is_null() {
            return Ok(None);
        }
        if !known().contains(&route.addr()) {
            return Err(Foreign);
        }
        // SAFETY: Envoy has it of `Arc::into_raw`, and keeps it while this stream has its route.
        Ok(Some(unsafe {
            Arc::increment_strong_count(route);
            Arc::from_raw(route)
        }))
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        let mut known = known();
        known.remove(&std::ptr::from_ref(self).addr());
        COUNT.store(known.len(), Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

fn known() -> MutexGuard<'static, BTreeSet<usize>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
