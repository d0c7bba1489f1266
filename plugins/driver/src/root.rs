//! One configured filter of a worker, from its configuration to its ticks.

use std::rc::Rc;

use portcullis_policy::{Environment, MetricRegistry, Policy, Setup};

use crate::filter::Filter;
use crate::host::{Host, StreamId};
use crate::stream::Stream;

/// One filter of a worker, and its configuration.
pub struct Root<P: Policy, H: Host> {
    host: H,
    /// `None` where its configuration was refused: it lets nothing pass.
    filter: Option<Rc<Filter<P, H>>>,
    refused: Option<Refused>,
    /// A tick is asked for once: a second period takes some hosts down.
    ticking: bool,
}

/// What to tell a gateway that has handed over a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is in force; or the filter refuses every request for it, since the gateway would go on without the filter.
    Yes,
    /// The one before it stays.
    No,
}

/// Why a filter lets nothing pass.
struct Refused {
    error: String,
    /// Since it was last said.
    ticks: u32,
}

impl Refused {
    /// Of a filter whose configuration was refused.
    const TICK_MILLIS: u32 = 1000;
    /// It is said again after so many.
    const SILENT_TICKS: u32 = 60;
}

impl<P: Policy, H: Host> Root<P, H> {
    /// A filter without a configuration: it lets nothing pass.
    pub fn new(host: H) -> Self {
        Self {
            host,
            filter: None,
            refused: None,
            ticking: false,
        }
    }

    /// The policy in force.
    pub const fn filter(&self) -> Option<&Rc<Filter<P, H>>> {
        self.filter.as_ref()
    }

    /// What looks after one request; `id`: what the host calls it.
    pub fn stream(&self, id: StreamId) -> Stream<P, H> {
        Stream::new(id, self.filter.clone())
    }

    /// Puts a configuration in force. `config`: what was read, or why it could not be.
    pub fn configure(
        &mut self,
        config: Result<P::Config, String>,
        environment: &dyn Environment,
    ) -> Accepted {
        let Err(error) = self.put_in_force(config, environment) else {
            return Accepted::Yes;
        };
        self.filter = None;
        if H::KEEPS_FORMER_CONFIGURATION {
            log::error!("{}: {error}", P::NAME);
            return Accepted::No;
        }
        Self::report_refused(&error);
        self.refused = Some(Refused { error, ticks: 0 });
        self.start_ticking(Refused::TICK_MILLIS);
        Accepted::Yes
    }

    fn put_in_force(
        &mut self,
        config: Result<P::Config, String>,
        environment: &dyn Environment,
    ) -> Result<(), String> {
        let mut metrics = MetricRegistry::default();
        let mut setup = Setup {
            environment,
            metrics: &mut metrics,
            abilities: self.host.abilities(),
        };
        let policy = P::from_config(config?, &mut setup).map_err(|error| error.to_string())?;
        let millis = policy.tick_every().as_nanos() / 1_000_000;
        let millis = u32::try_from(millis).unwrap_or(u32::MAX).max(1);
        self.filter = Some(Rc::new(Filter::new(policy, self.host.clone(), &metrics)));
        self.refused = None;
        self.start_ticking(millis);
        Ok(())
    }

    /// Looks after what goes on between requests.
    pub fn tick(&mut self) {
        if let Some(filter) = &self.filter {
            filter.tick();
        }
        if let Some(refused) = &mut self.refused {
            refused.ticks = refused.ticks.saturating_add(1);
            if refused.ticks >= Refused::SILENT_TICKS {
                refused.ticks = 0;
                Self::report_refused(&refused.error);
            }
        }
    }

    fn start_ticking(&mut self, millis: u32) {
        if self.ticking {
            return;
        }
        self.ticking = true;
        if self.host.start_ticking(millis).is_err() {
            log::warn!(
                "{}: no tick: nothing is fetched, and counters go with refusals only",
                P::NAME
            );
        }
    }

    fn report_refused(error: &str) {
        log::error!(
            "{}: {error}; every request gets 503 until this is mended",
            P::NAME
        );
    }
}
