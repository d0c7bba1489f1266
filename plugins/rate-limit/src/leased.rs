//! What a limit has of its own that an engine counts for several gateways.

use std::hash::Hasher as _;

use portcullis_policy::Setup;
use portcullis_policy::config::{ConfigError, Mode};
use siphasher::sip::SipHasher24;

use crate::config::{EngineName, LimitConfig};
use crate::lease_metrics::LeaseMetrics;
use crate::quota::{Lease, Quota, Rate};
use crate::range::Range;
use crate::table::Table;
use crate::terms::{Lending, Method, Terms};

/// A limit that is counted by an engine.
#[derive(Debug)]
pub(crate) struct Leased {
    /// Its name, as wishes name it.
    pub(crate) hash: u64,
    pub(crate) terms: Terms,
    pub(crate) lease: Lease,
    /// What this gateway counts by itself while the engine is away.
    alone: Option<Table>,
    pub(crate) metrics: LeaseMetrics,
}

impl Leased {
    /// `own`: how it would be counted by one gateway; `alone`: where that is kept.
    pub(crate) fn new(
        config: &LimitConfig,
        own: &Quota,
        lending: &Lending,
        mode: Mode,
        alone: Option<Range>,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        let rate = *own.counting().rate();
        let method = match own {
            Quota::FixedWindow(_) => Method::Window,
            Quota::TokenBucket(bucket) => bucket_method(&rate, bucket.burst)?,
            Quota::SlidingWindow(_) => {
                let rule = "no engine counts a sliding window; expected `algorithm: token_bucket` or `fixed_window`";
                return Err(ConfigError::at("algorithm", rule));
            }
            Quota::InFlight(_) | Quota::Lease(_) => {
                let rule = "requests at a time are counted by one gateway; expected `scope: local`";
                return Err(ConfigError::at("scope", rule));
            }
        };
        check_engine(lending.engine, method, &rate)?;
        let largest = match method {
            Method::Window => rate.quota,
            Method::Bucket { capacity, .. } => capacity,
        };
        let lends = mode != Mode::Enforce || !lending.waits;
        let mut hasher = SipHasher24::new();
        hasher.write(config.name.as_str().as_bytes());
        let share = lending.local_share;
        Ok(Self {
            hash: hasher.finish(),
            lease: Lease::new(
                rate,
                largest,
                if lends {
                    lending.sizing.largest(rate.quota)
                } else {
                    0
                },
            ),
            alone: alone
                .zip(share)
                .map(|(range, share)| Table::new(own.part(share), range)),
            terms: Terms {
                limit: config.name.as_str().to_owned(),
                quota: rate.quota,
                window: rate.window,
                method,
            },
            metrics: LeaseMetrics::announce(config.name.as_str(), setup.metrics),
        })
    }

    /// How it is counted here.
    pub(crate) const fn quota(&self) -> Quota {
        Quota::Lease(self.lease)
    }

    /// What this gateway counts by itself while the engine is away.
    pub(crate) const fn alone(&self) -> Option<&Table> {
        self.alone.as_ref()
    }
}

/// How a token bucket is counted.
fn bucket_method(rate: &Rate, burst: u32) -> Result<Method, ConfigError> {
    match Lease::bucket_capacity(rate, burst) {
        0 => {
            let rule = "the bucket is too small for several gateways: what drips in while a lease is good is all of it; expected a larger `burst`";
            Err(ConfigError::at("burst", rule))
        }
        capacity => Ok(Method::Bucket {
            capacity,
            lease: Lease::bucket_lease(rate, burst),
        }),
    }
}

fn check_engine(engine: EngineName, method: Method, rate: &Rate) -> Result<(), ConfigError> {
    const SHORTEST: u64 = 10;
    if engine == EngineName::Redis {
        return Ok(());
    }
    if method != Method::Window {
        let rule = "this engine counts fixed windows only; expected `algorithm: fixed_window`, or `engine: redis`";
        return Err(ConfigError::at("algorithm", rule));
    }
    if rate.window.as_secs_ceil() < SHORTEST {
        let rule = "this engine tells whole seconds; expected at least 10s, or `engine: redis`";
        return Err(ConfigError::at("window", rule));
    }
    const UNITS: [u64; 3] = [60, 3_600, 86_400];
    if engine == EngineName::EnvoyRls && !UNITS.contains(&rate.window.as_secs_ceil()) {
        let rule = "the rate limit service has no such unit; expected 1m, 1h or 24h";
        return Err(ConfigError::at("window", rule));
    }
    Ok(())
}
