//! What is there besides requests: Envoy's functions, the time, and variables.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_driver::Logger;
use portcullis_policy::Timestamp;

use crate::abi::{self, Callbacks};

/// What a module finds where it is loaded.
pub struct Surroundings {
    /// Envoy's functions.
    pub callbacks: Callbacks,
    /// Wall-clock time; `None` where it can't be told.
    pub now: fn() -> Option<Timestamp>,
    /// A variable of the process.
    pub variable: fn(&str) -> Option<String>,
}

static OTHERS: OnceLock<Others> = OnceLock::new();

/// What is asked for besides Envoy's functions.
struct Others {
    now: fn() -> Option<Timestamp>,
    variable: fn(&str) -> Option<String>,
}

/// Lives in these surroundings from now on; whoever is first decides.
pub fn install(surroundings: Surroundings) {
    static LOGGER: Logger = Logger(abi::log);
    let Surroundings {
        callbacks,
        now,
        variable,
    } = surroundings;
    let _ = OTHERS.set(Others { now, variable });
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
            variable: |name| std::env::var(name).ok(),
        })
    }
}

pub(crate) fn now() -> Option<Timestamp> {
    let others = OTHERS.get()?;
    (others.now)()
}

pub(crate) fn variable(name: &str) -> Option<String> {
    let others = OTHERS.get()?;
    (others.variable)(name)
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
