//! Configurations of routes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::common::Caller;
use crate::instance::Main;
use crate::source::Source;

/// A configuration of a route, in force there in place of its listener's.
pub struct Route {
    pub(crate) source: Source,
    pub(crate) caller: Caller,
    gone: AtomicBool,
}

/// How many routes have a configuration of their own.
static ROUTES: AtomicUsize = AtomicUsize::new(0);

impl Route {
    /// Takes a route's configuration. `None` where it is refused, which was said.
    pub(crate) fn new(name: &str, text: &[u8]) -> Option<Arc<Self>> {
        let source = Source::new(name, text)?;
        source.main(Main::trying())?;
        ROUTES.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Self {
            source,
            caller: Caller::next(),
            gone: AtomicBool::new(false),
        }))
    }

    /// Whether any route has a configuration of its own.
    pub(crate) fn are_there() -> bool {
        ROUTES.load(Ordering::Relaxed) > 0
    }

    /// Envoy has no more use for it.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        ROUTES.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}
