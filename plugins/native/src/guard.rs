//! No panic leaves the module: it would end Envoy.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `run` returns; `None` where it panicked, which is logged.
pub(crate) fn guarded<R>(event: &str, run: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run));
    if let Err(payload) = &result {
        // What was said at the panic may hold what a client sent: only where it was is told, by the hook below.
        let _ = payload;
        log::error!("portcullis: panicked in {event}; its state is made anew");
    }
    result.ok()
}

/// Has panics logged by where they were, in place of what they say.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|panic| match panic.location() {
        Some(at) => log::error!("portcullis: panicked at {}:{}", at.file(), at.line()),
        None => log::error!("portcullis: panicked"),
    }));
}
