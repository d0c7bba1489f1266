//! What is there besides requests: Envoy's functions, the time, and variables.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use portcullis_driver::Logger;
use portcullis_policy::Timestamp;

use crate::abi::{self, Callbacks};

/// What a module finds where it is loaded.
pub struct Surroundings {
    /// Envoy's functions.
    pub callbacks: Callbacks,
    /// Wall-clock time; `None` where it can't be told.
    pub now: fn() -> Option<Timestamp>,
    /// Time that nobody sets; `None` where it can't be told.
    pub monotonic: fn() -> Option<Timestamp>,
    /// A variable of the process.
    pub variable: fn(&str) -> Option<String>,
}

static OTHERS: OnceLock<Others> = OnceLock::new();

/// What is asked for besides Envoy's functions.
struct Others {
    now: fn() -> Option<Timestamp>,
    monotonic: fn() -> Option<Timestamp>,
    variable: fn(&str) -> Option<String>,
}

/// Lives in these surroundings from now on; whoever is first decides.
pub fn install(surroundings: Surroundings) {
    static LOGGER: Logger = Logger(abi::log);
    let Surroundings {
        callbacks,
        now,
        monotonic,
        variable,
    } = surroundings;
    let _ = OTHERS.set(Others {
        now,
        monotonic,
        variable,
    });
    abi::install(callbacks);
    LOGGER.install();
}

impl Surroundings {
    /// Those of an Envoy that has loaded the module.
    ///
    /// # Errors
    /// What this Envoy lacks.
    pub(crate) fn of_envoy() -> Result<Self, &'static str> {
        Ok(Self {
            callbacks: Callbacks::find()?,
            now: system_time,
            monotonic: since_start,
            variable: |name| std::env::var(name).ok(),
        })
    }
}

pub(crate) fn now() -> Option<Timestamp> {
    let others = OTHERS.get()?;
    (others.now)()
}

pub(crate) fn monotonic() -> Option<Timestamp> {
    let others = OTHERS.get()?;
    (others.monotonic)()
}

pub(crate) fn variable(name: &str) -> Option<String> {
    let others = OTHERS.get()?;
    (others.variable)(name)
}

/// Time since this was first asked, which was never.
fn since_start() -> Option<Timestamp> {
    static START: OnceLock<Instant> = OnceLock::new();
    #[allow(
        clippy::disallowed_methods,
        reason = "this is what the Clock port reads"
    )]
    let now = Instant::now();
    let since = now.saturating_duration_since(*START.get_or_init(|| now));
    // The epoch means never.
    let nanos = u64::try_from(since.as_nanos()).ok()?.saturating_add(1);
    Some(Timestamp::from_unix_nanos(nanos))
}

fn system_time() -> Option<Timestamp> {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is what the Clock port reads"
    )]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).ok()?;
    let nanos = u64::try_from(since.as_nanos()).ok()?;
    Some(Timestamp::from_unix_nanos(nanos))
}
