//! Starting a host, and what goes wrong on the way or later.

use std::fmt;

use crate::Dialect;
use crate::host::Host;
use crate::instance::Failure;
use crate::log::LogLine;
use crate::module::Module;
use crate::state::Shared;
use portcullis_sim::Zone;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// Settings of a gateway process that does not run yet.
#[derive(Debug)]
pub struct HostBuilder {
    shared: Shared,
    workers: usize,
}

impl HostBuilder {
    pub(crate) fn new(dialect: Dialect) -> HostBuilder {
        let mut shared = Shared::new(dialect);
        shared.zone = Some(Zone::new(dialect));
        shared.root_id = "portcullis".to_owned();
        HostBuilder { shared, workers: 1 }
    }

    /// Number of workers, each with its own instance of the filter. One if not set; at least one.
    pub fn workers(mut self, workers: usize) -> HostBuilder {
        self.workers = workers.max(1);
        self
    }

    /// Seed of what `random_get` returns.
    pub fn seed(mut self, seed: u64) -> HostBuilder {
        self.shared.entropy = ChaCha8Rng::seed_from_u64(seed);
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> HostBuilder {
        self.shared
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// The time at the start, in nanoseconds since 1970.
    pub fn now_unix_nanos(mut self, now: u64) -> HostBuilder {
        self.shared.clock = now;
        self
    }

    /// Shared data that is there already, or that another host uses too. Its own dialect counts.
    pub fn zone(mut self, zone: Zone) -> HostBuilder {
        self.shared.zone = Some(zone);
        self
    }

    /// Kong without a key-value zone configured: every use of shared data traps.
    pub fn without_zone(mut self) -> HostBuilder {
        self.shared.zone = None;
        self
    }

    /// The plugin's name and root id.
    pub fn root_id(mut self, root_id: &str) -> HostBuilder {
        self.shared.root_id = root_id.to_owned();
        self
    }

    /// The clusters Envoy knows: a call to any other is a bad argument. Without this every name is known.
    pub fn clusters(mut self, clusters: &[&str]) -> HostBuilder {
        self.shared.clusters = Some(clusters.iter().map(|&cluster| cluster.to_owned()).collect());
        self
    }

    /// Starts every worker with this configuration.
    pub fn build(self, module: &Module, configuration: &[u8]) -> Result<Host, StartError> {
        Host::start(module.clone(), self.shared, self.workers, configuration)
    }
}

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
