//! Why a filter did not start.

use std::fmt;

use crate::instance::Failure;
use crate::log::LogLine;

/// Why the filter did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The gateway refused the module itself: an import it does not offer, an export it needs.
    NotLoaded {
        /// What was refused.
        message: String,
    },
    /// `proxy_on_vm_start` or `proxy_on_configure` returned false.
    Rejected {
        /// What was logged during the start.
        logs: Vec<LogLine>,
    },
    /// The module trapped.
    Trapped {
        /// The trap.
        message: String,
        /// A real gateway would have lost the worker process, again with each one that it starts in its place.
        worker_crash: bool,
        /// What was logged during the start.
        logs: Vec<LogLine>,
    },
}

impl StartError {
    pub(crate) fn new(failure: Failure, logs: &[LogLine]) -> StartError {
        let logs = logs.to_vec();
        match failure {
            Failure::NotLoaded(message) => StartError::NotLoaded { message },
            Failure::Rejected => StartError::Rejected { logs },
            Failure::Trapped(trap) => StartError::Trapped {
                message: trap.to_string(),
                worker_crash: trap.worker_crash,
                logs,
            },
        }
    }

    /// What was logged during the start.
    pub fn logs(&self) -> &[LogLine] {
        match self {
            StartError::NotLoaded { .. } => &[],
            StartError::Rejected { logs } | StartError::Trapped { logs, .. } => logs,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NotLoaded { message } => write!(f, "the filter does not load: {message}"),
            StartError::Rejected { .. } => f.write_str("the filter rejected its configuration"),
            StartError::Trapped { message, .. } => write!(f, "the filter trapped: {message}"),
        }?;
        self.logs()
            .iter()
            .try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for StartError {}
