//! The end of an instance.

use std::fmt;

/// The end of an instance: the filter panicked, or did what the gateway does not forgive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The callback that ran.
    pub callback: &'static str,
    /// What went wrong.
    pub message: String,
    /// A real gateway would have lost the whole worker process.
    pub worker_crash: bool,
}

impl Trap {
    pub(crate) fn new(callback: &'static str, message: &str, worker_crash: bool) -> Trap {
        Trap {
            callback,
            message: message.to_owned(),
            worker_crash,
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.worker_crash {
            "worker crash"
        } else {
            "trap"
        };
        write!(f, "{what} in {}: {}", self.callback, self.message)
    }
}

impl std::error::Error for Trap {}
