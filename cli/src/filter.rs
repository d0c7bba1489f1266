//! What a filter itself says of its configuration.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::env;

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::config::{ConfigError, parse_text, parse_value};
use portcullis_policy::{Abilities, Environment, MetricRegistry, Policy, Setup};
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;
use serde_json::Value;

use crate::assumed;

/// A filter.
#[derive(Clone, Copy)]
pub struct Filter {
    /// What it is called.
    pub name: &'static str,
    /// Whether a value has its shape.
    pub(crate) reads: fn(Value) -> Result<(), ConfigError>,
    /// Whether it is one that can be put in force.
    takes: fn(Value, Host, &dyn Environment) -> Result<Taken, ConfigError>,
    /// Whether a text is JSON of its shape.
    reads_text: fn(&[u8]) -> Result<(), ConfigError>,
}

/// What is known of a configuration that can be put in force.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Whether it goes by requests' bodies.
    pub reads_requests: bool,
}

/// All filters.
pub const FILTERS: [Filter; 5] = [
    filter::<JwtAuth>(),
    filter::<RateLimit>(),
    filter::<CircuitBreaker>(),
    filter::<ServiceToken>(),
    filter::<Edge>(),
];

/// What loads a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Host {
    /// Envoy, with target/filters/<filter>.wasm.
    #[default]
    Envoy,
    /// Envoy, with target/filters/envoy/<filter>.wasm.
    EnvoyAlone,
    /// Envoy, with libportcullis.so.
    Native,
    /// Kong.
    Kong,
}

impl Host {
    const fn abilities(self) -> Abilities {
        match self {
            Self::Envoy => Abilities::ENVOY,
            Self::EnvoyAlone => Abilities::ENVOY_ALONE,
            Self::Native => Abilities::NATIVE,
            Self::Kong => Abilities::KONG,
        }
    }
}

/// The variables of the gateway.
#[derive(Debug)]
pub struct Variables {
    known: BTreeMap<String, String>,
    /// Those of which it is made up what they hold.
    assumed: BTreeSet<String>,
    /// Whether the others are those of this process.
    are_real: bool,
    asked: RefCell<BTreeSet<String>>,
}

impl Variables {
    /// Those of this process.
    #[must_use]
    pub const fn real() -> Self {
        Self {
            known: BTreeMap::new(),
            assumed: BTreeSet::new(),
            are_real: true,
            asked: RefCell::new(BTreeSet::new()),
        }
    }

    /// Each that the configuration names is set, to something that will do.
    #[must_use]
    pub fn assumed(config: &Value) -> Self {
        let known = assumed::variables(config);
        Self {
            assumed: known.keys().cloned().collect(),
            known,
            are_real: false,
            ..Self::real()
        }
    }

    /// Says what one of them holds.
    pub fn set(&mut self, name: &str, value: &str) {
        let _former = self.known.insert(name.to_owned(), value.to_owned());
        let _was_assumed = self.assumed.remove(name);
    }

    /// What is known of those that were asked for.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        let asked = self.asked();
        asked.iter().filter_map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &str) -> Option<String> {
        let real = || self.are_real.then(|| env::var(name).ok()).flatten();
        self.known.get(name).cloned().or_else(real)
    }

    /// Whether nothing is known of one but that it is there.
    #[must_use]
    pub fn is_assumed(&self, name: &str) -> bool {
        self.assumed.contains(name)
    }

    /// Those that were asked for.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.find(name)
    }
}

impl Filter {
    /// The filter of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FILTERS.into_iter().find(|filter| filter.name == name)
    }

    /// Whether a text is JSON of its shape.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read_text(&self, text: &str) -> Result<(), ConfigError> {
        (self.reads_text)(text.as_bytes())
    }

    /// What a filter makes of a configuration there.
    ///
    /// # Errors
    /// What it says of it: the first thing that is wrong.
    pub fn take(
        &self,
        config: Value,
        host: Host,
        variables: &Variables,
    ) -> Result<Taken, ConfigError> {
        (self.takes)(config, host, variables)
    }
}

const fn filter<P: Policy>() -> Filter {
    Filter {
        name: P::NAME,
        reads: |config| parse_value::<P::Config>(config).map(drop),
        reads_text: |text| parse_text::<P::Config>(text).map(drop),
        takes: |config, host, environment| {
            let mut setup = Setup {
                environment,
                metrics: &mut MetricRegistry::default(),
                abilities: host.abilities(),
            };
            let policy = P::from_config(parse_value(config)?, &mut setup)?;
            Ok(Taken {
                reads_requests: policy.reads_requests(),
            })
        },
    }
}
