//! One gateway process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::Dialect;
use crate::calls::Calls;
use crate::failures::FailRule;
use crate::instance::{Instance, Place};
use crate::log::LogLine;
use crate::module::Module;
use crate::start_error::StartError;
use crate::state::{Phase, Shared};
use crate::trap::Trap;
use portcullis_sim::Zone;

/// One gateway process: shared data, clock, metrics, log, and workers that each hold an instance of the filter.
///
/// Requests are driven by [`request`](Host::request), [`respond`](Host::respond) and [`finish`](Host::finish). A worker
/// whose instance trapped gets a new one with its next request.
pub struct Host {
    pub(crate) module: Module,
    pub(crate) shared: Shared,
    /// All instances there ever were, those that are gone as `None`: exchanges of a retired one go on.
    pub(crate) instances: Vec<Option<Instance>>,
    /// The instance of each worker, by index.
    pub(crate) current: Vec<usize>,
    /// Why a worker of Kong's serves every request without the filter, by index.
    doors: Vec<Option<StartError>>,
    pub(crate) configuration: Arc<[u8]>,
    /// What a host without a zone shows.
    no_zone: Zone,
}

impl Host {
    pub(crate) fn start(
        module: Module,
        shared: Shared,
        workers: usize,
        configuration: &[u8],
    ) -> Result<Host, StartError> {
        let no_zone = Zone::new(shared.dialect);
        let mut host = Host {
            module,
            shared,
            instances: Vec::new(),
            current: Vec::new(),
            doors: Vec::new(),
            configuration: Arc::from(configuration),
            no_zone,
        };
        host.start_workers(workers)?;
        Ok(host)
    }

    /// Which gateway this is.
    pub fn dialect(&self) -> Dialect {
        self.shared.dialect
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.current.len()
    }

    /// Gives all workers a new configuration.
    ///
    /// Envoy starts new instances on the same shared data; the old ones serve the requests they have, and go on if the
    /// new configuration is refused. Kong reloads (HUP): the shared data is emptied, and the instances are new; where
    /// they refuse it, [the door is open](Host::open_door).
    pub fn reload(&mut self, configuration: &[u8]) -> Result<(), StartError> {
        let old = std::mem::take(&mut self.current);
        let old_configuration =
            std::mem::replace(&mut self.configuration, Arc::from(configuration));
        if let (Dialect::Kong, Some(zone)) = (self.dialect(), &self.shared.zone) {
            zone.clear();
        }
        if let Err(refused) = self.start_workers(old.len()) {
            self.current = old;
            self.configuration = old_configuration;
            return Err(refused);
        }
        for index in old {
            if let Some(Some(instance)) = self.instances.get_mut(index) {
                instance.retired = true;
            }
            self.shut_down_if_idle(index);
        }
        Ok(())
    }

    /// Why a worker serves every request without the filter. That is what Kong does where a filter returns false from
    /// its configuration, or traps in it: the gateway starts, says that it is ready, and lets everything pass.
    pub fn open_door(&self, worker: usize) -> Option<&StartError> {
        self.doors.get(worker)?.as_ref()
    }

    /// Lets a worker's timer fire. Nothing happens if the filter set no period or its instance is dead.
    pub fn tick(&mut self, worker: usize) -> Result<(), Trap> {
        self.shared.recent = Calls::default();
        let index = self.index_of(worker)?;
        let Some(Some(instance)) = self.instances.get_mut(index) else {
            return Ok(());
        };
        if instance.dead || instance.state().tick_ms == 0 {
            return Ok(());
        }
        let root = instance.state().root;
        instance.run(
            &mut self.shared,
            "proxy_on_tick",
            Phase::Tick,
            root,
            &[root],
        )?;
        Ok(())
    }

    /// The period of a worker's timer; zero if there is none.
    pub fn tick_period(&self, worker: usize) -> Duration {
        let instance = self.instance_of(worker);
        Duration::from_millis(instance.map_or(0, |instance| u64::from(instance.state().tick_ms)))
    }

    /// Moves the clock forward. No timer fires by itself.
    pub fn advance(&mut self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.shared.clock = self.shared.clock.saturating_add(nanos);
    }

    /// Sets the clock, also back: nanoseconds since 1970.
    pub fn set_clock(&mut self, now_unix_nanos: u64) {
        self.shared.clock = now_unix_nanos;
    }

    /// The clock: nanoseconds since 1970.
    pub fn now_unix_nanos(&self) -> u64 {
        self.shared.clock
    }

    /// Everything logged since the start or since [`clear_logs`](Host::clear_logs).
    pub fn logs(&self) -> &[LogLine] {
        &self.shared.logs
    }

    /// Forgets what was logged.
    pub fn clear_logs(&mut self) {
        self.shared.logs.clear();
    }

    /// The value of a counter or gauge; `None` if it was never defined.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.shared.metrics.value(name)
    }

    /// All counters and gauges. They belong to the process: every worker adds to the same ones.
    pub fn metrics(&self) -> BTreeMap<String, i64> {
        self.shared.metrics.table()
    }

    /// What was recorded in a histogram.
    pub fn histogram(&self, name: &str) -> &[u64] {
        self.shared.metrics.samples(name)
    }

    /// Makes host calls fail from now on.
    pub fn fail(&mut self, rule: FailRule) {
        self.shared.failures.add(rule);
    }

    /// No host call fails on demand any more.
    pub fn clear_failures(&mut self) {
        self.shared.failures.clear();
    }

    /// What was called since the start or since [`reset_calls`](Host::reset_calls).
    pub fn calls(&self) -> &Calls {
        &self.shared.calls
    }

    /// Starts counting anew.
    pub fn reset_calls(&mut self) {
        self.shared.calls = Calls::default();
    }

    /// The shared data. Without a zone, an empty one that no filter sees.
    pub fn zone(&self) -> &Zone {
        self.shared.zone.as_ref().unwrap_or(&self.no_zone)
    }

    /// Size of a worker's linear memory.
    pub fn memory_bytes(&self, worker: usize) -> usize {
        self.instance_of(worker).map_or(0, Instance::memory_bytes)
    }

    /// True if a trap ended the worker's instance and no request has brought a new one yet.
    pub fn is_dead(&self, worker: usize) -> bool {
        self.instance_of(worker)
            .is_none_or(|instance| instance.dead)
    }

    /// Contexts of requests that the worker's instance holds.
    pub fn open_streams(&self, worker: usize) -> usize {
        self.instance_of(worker)
            .map_or(0, |instance| instance.state().streams.len())
    }

    /// The worker's instance, a new one if the old one is dead.
    pub(crate) fn living(&mut self, worker: usize) -> Result<usize, Trap> {
        let index = self.index_of(worker)?;
        let crashed = match self.instances.get(index) {
            Some(Some(instance)) if !instance.dead => return Ok(index),
            Some(Some(instance)) => instance.crashed,
            Some(None) | None => false,
        };
        let started = self.start_instance(worker, !crashed);
        let next = started
            .map_err(|refused| Trap::new("proxy_on_configure", &refused.to_string(), false))?;
        self.forget(index);
        if let Some(current) = self.current.get_mut(worker) {
            *current = next;
        }
        Ok(next)
    }

    /// A retired instance goes with its last request; Envoy shuts its root context down first.
    pub(crate) fn shut_down_if_idle(&mut self, index: usize) {
        let envoy = self.dialect() == Dialect::Envoy;
        let Some(Some(instance)) = self.instances.get_mut(index) else {
            return;
        };
        if !instance.retired || !instance.state().streams.is_empty() {
            return;
        }
        if envoy && !instance.dead {
            let root = instance.state().root;
            let done = instance.run(
                &mut self.shared,
                "proxy_on_done",
                Phase::Done,
                root,
                &[root],
            );
            // A trap here is logged and hurts nobody any more.
            if matches!(done, Ok(answer) if answer != Some(0)) {
                let _ = instance.run(
                    &mut self.shared,
                    "proxy_on_delete",
                    Phase::Delete,
                    root,
                    &[root],
                );
            }
        }
        self.forget(index);
    }

    /// Frees an instance. Its number is never given away again, so that exchanges can't take another one for it.
    fn forget(&mut self, index: usize) {
        if let Some(instance) = self.instances.get_mut(index) {
            *instance = None;
        }
        self.shared.pending.retain(|call| call.instance != index);
    }

    fn start_workers(&mut self, workers: usize) -> Result<(), StartError> {
        let mut started = Vec::new();
        let mut doors = Vec::new();
        for worker in 0..workers {
            let (index, door) = match self.start_instance(worker, false) {
                Ok(index) => (index, None),
                Err(refused) if self.leaves_open(&refused) => {
                    self.instances.push(None);
                    (self.instances.len() - 1, Some(refused))
                }
                Err(refused) => return Err(refused),
            };
            started.push(index);
            doors.push(door);
        }
        self.current = started;
        self.doors = doors;
        Ok(())
    }

    /// A module that Kong can't load leaves it open too; that is an error here, since no filter has a say in it.
    fn leaves_open(&self, refused: &StartError) -> bool {
        let open = match refused {
            StartError::Rejected { .. } => true,
            StartError::Trapped { worker_crash, .. } => !worker_crash,
            StartError::NotLoaded { .. } => false,
        };
        open && self.dialect() == Dialect::Kong
    }

    fn start_instance(&mut self, worker: usize, restart: bool) -> Result<usize, StartError> {
        let index = self.instances.len();
        let place = Place { worker, index };
        let configuration = Arc::clone(&self.configuration);
        let logged = self.shared.logs.len();
        let started = Instance::start(
            &self.module,
            &mut self.shared,
            place,
            configuration,
            restart,
        );
        let instance = started.map_err(|failure| {
            let logs = self.shared.logs.get(logged..).unwrap_or(&[]);
            StartError::new(failure, logs)
        })?;
        self.instances.push(Some(instance));
        Ok(index)
    }

    fn index_of(&self, worker: usize) -> Result<usize, Trap> {
        let index = self.current.get(worker).copied();
        index.ok_or_else(|| Trap::new("", &format!("there is no worker {worker}"), false))
    }

    fn instance_of(&self, worker: usize) -> Option<&Instance> {
        self.instances.get(*self.current.get(worker)?)?.as_ref()
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Host");
        shown
            .field("dialect", &self.dialect())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}
