//! What threads share by. This crate's own tests have it from a model checker, which goes through every order in which threads can
//! do what they do, and through whatever the memory may show them then.

use std::sync::PoisonError;

#[cfg(test)]
pub(crate) use loom::sync::atomic;
#[cfg(test)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::atomic;
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Takes a lock. Whoever panicked with it had not begun to write, or had written all.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
