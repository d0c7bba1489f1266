//! Settings of a host, and its start.

use crate::Dialect;
use crate::host::Host;
use crate::module::Module;
use crate::start_error::StartError;
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

impl Host {
    /// Settings for a new host.
    pub fn builder(dialect: Dialect) -> HostBuilder {
        HostBuilder::new(dialect)
    }
}
