//! One limit as it is configured: whom it counts, and what it charges.

use portcullis_policy::config::{Bounded, ConfigError, IfAmbiguous, Match, Mode};
use portcullis_policy::{
    Counter, LogLine, MetricRegistry, Ports, Problem, Request, SlotError, Span, Timestamp,
};

use crate::config::{Algorithm, CostConfig, LimitConfig, WhenKeyMissing};
use crate::failure::Failure;
use crate::headers::Standing;
use crate::key::{Fingerprint, HashKey, KeyPart, NoKey, Source};
use crate::policy::NAME;
use crate::quota::Quota;
use crate::table::{Charged, Table};

/// One limit.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) mode: Mode,
    pub(crate) before_auth: bool,
    pub(crate) name: String,
    matches: Match,
    key: Vec<KeyPart>,
    quota: Quota,
    /// The first that matches says what a request costs.
    costs: Vec<(Match, u32)>,
    cost: u32,
    window_secs: u64,
    when_key_missing: WhenKeyMissing,
    metrics: Metrics,
}

#[derive(Debug)]
struct Metrics {
    allowed: Counter,
    limited: Counter,
    shadow_limited: Counter,
    evictions: Counter,
}

/// What a request was charged, or found exhausted.
#[derive(Debug)]
pub(crate) struct Charge {
    key: Fingerprint,
    cost: u32,
    charged: Charged,
}

/// How a limit answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It does not count this request.
    Skipped,
    Admitted(Charge),
    /// Nothing is left; come again after that time.
    Exhausted(Charge, Span),
    KeyMissing,
}

impl Limit {
    /// `plugin` is the mode of all limits together: the milder of the two holds.
    pub(crate) fn new(
        config: LimitConfig,
        plugin: Mode,
        before_auth: bool,
        metrics: &mut MetricRegistry,
    ) -> Result<Self, ConfigError> {
        let key = config.key.into_vec();
        if before_auth && key.iter().any(|part| matches!(part, KeyPart::Claim(_))) {
            return Err(ConfigError::at("key", "a claim is not known before_auth"));
        }
        let quota = Quota {
            algorithm: config.algorithm,
            quota: config.quota.get(),
            window: config.window.span(),
            burst: burst(config.algorithm, config.burst, config.quota.get())?,
        };
        let cost = check_cost(config.cost, &quota).map_err(|e| e.within("cost"))?;
        let mut costs = Vec::new();
        for (place, CostConfig { r#match, cost }) in config.costs.0.into_iter().enumerate() {
            let at = format!("costs[{place}].cost");
            costs.push((
                r#match,
                check_cost(cost, &quota).map_err(|e| e.within(&at))?,
            ));
        }
        let name = config.name.as_str().to_owned();
        let mut counter = |what: &str| metrics.counter(format!("rate_limit_{what}.limit.{name}"));
        Ok(Self {
            mode: plugin.milder(config.mode),
            before_auth,
            metrics: Metrics {
                allowed: counter("allowed"),
                limited: counter("limited"),
                shadow_limited: counter("shadow_limited"),
                evictions: counter("evictions"),
            },
            name,
            matches: config.matches,
            key,
            quota,
            costs,
            cost,
            window_secs: config.window.span().as_secs_ceil(),
            when_key_missing: config.when_key_missing,
        })
    }

    /// Whether the limit counts this request. A path with two readings is counted: it must not slip
    /// past.
    pub(crate) fn counts(&self, request: &Request<'_>) -> bool {
        self.mode != Mode::Off && self.matches.matches(request, IfAmbiguous::Matches)
    }

    /// Charges one request.
    pub(crate) fn ask(
        &self,
        source: &Source<'_, '_>,
        table: &Table,
        hash_key: &HashKey,
        ports: &Ports<'_>,
    ) -> Result<Answer, Failure> {
        let share = self.when_key_missing == WhenKeyMissing::Share;
        let key = Fingerprint::of(&self.name, &self.quota, &self.key, source, hash_key, share);
        let key = match key {
            Ok(key) => key,
            Err(NoKey::AddressUnknown) => return Err(Failure::Address),
            Err(NoKey::Missing) if self.when_key_missing == WhenKeyMissing::Deny => {
                return Ok(Answer::KeyMissing);
            }
            Err(NoKey::Missing) => return Ok(Answer::Skipped),
        };
        let now = ports.clock.now().map_err(|_| Failure::Clock)?;
        let cost = self.cost_of(source.request);
        let charged = table
            .charge(ports.store, key, &self.quota, cost, now)
            .map_err(Failure::Slot)?;
        if charged.evicted {
            ports.telemetry.count(self.metrics.evictions);
        }
        let charge = Charge { key, cost, charged };
        Ok(match charged.decision.charged {
            Some(_) => Answer::Admitted(charge),
            None => Answer::Exhausted(charge, charged.decision.retry_after),
        })
    }

    /// A path with two readings costs as much as the dearest that it may be.
    fn cost_of(&self, request: &Request<'_>) -> u32 {
        let matching =
            |(matches, _): &&(Match, u32)| matches.matches(request, IfAmbiguous::Matches);
        if request.path().is_err() {
            let all = self.costs.iter().filter(matching).map(|(_, cost)| *cost);
            return all.max().unwrap_or(self.cost).max(self.cost);
        }
        let first = self.costs.iter().find(matching);
        first.map_or(self.cost, |(_, cost)| *cost)
    }

    /// Gives back what a request was charged.
    pub(crate) fn give_back(
        &self,
        charge: &Charge,
        table: &Table,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        // Without the time nothing drips out of a bucket again: it is as if it had been long ago.
        let now = ports.clock.now();
        let now = now.unwrap_or(Timestamp::from_unix_nanos(u64::MAX));
        let at = (charge.cost, now);
        table.give_back(ports.store, charge.key, &charge.charged, &self.quota, at)
    }

    /// Counts a request that passes.
    pub(crate) fn count_allowed(&self, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.allowed);
    }

    /// Counts and logs a request that does not pass, or in shadow would not.
    pub(crate) fn tell_refusal(
        &self,
        reason: &str,
        problem: Problem,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) {
        let (event, counter) = match self.mode {
            Mode::Enforce => ("refused", self.metrics.limited),
            Mode::Shadow | Mode::Off => ("shadow_refused", self.metrics.shadow_limited),
        };
        ports.telemetry.count(counter);
        let line = LogLine::new(NAME, event)
            .with("reason", reason)
            .with("limit", &self.name)
            .with("status", problem.status.to_string())
            .with("method", request.method())
            .with("path", request.target_without_query());
        ports.telemetry.log(line.with_id_of(request));
    }

    /// The same limit's standing once `charge` is given back.
    pub(crate) fn standing_without(&self, charge: &Charge) -> Option<Standing<'_>> {
        let standing = self.standing(charge)?;
        let most = self.quota.largest_cost();
        let remaining = standing.remaining.saturating_add(charge.cost).min(most);
        Some(Standing {
            remaining,
            ..standing
        })
    }

    /// How long a count of this limit can matter.
    pub(crate) fn longest(&self) -> Span {
        self.quota.longest()
    }

    /// Where the client stands; `None` in shadow, of which it is not to know.
    pub(crate) fn standing(&self, charge: &Charge) -> Option<Standing<'_>> {
        (self.mode == Mode::Enforce).then(|| Standing {
            name: &self.name,
            quota: self.quota.quota,
            window: self.window_secs,
            remaining: charge.charged.decision.remaining,
            reset: charge.charged.decision.reset.as_secs_ceil(),
        })
    }
}

/// How many requests a bucket holds.
fn burst(
    algorithm: Algorithm,
    burst: Option<Bounded<1, 1_000_000_000, u32>>,
    quota: u32,
) -> Result<u32, ConfigError> {
    match (algorithm, burst) {
        (Algorithm::TokenBucket, Some(burst)) => Ok(burst.get()),
        (Algorithm::FixedWindow | Algorithm::SlidingWindow, Some(_)) => Err(ConfigError::at(
            "burst",
            "it is for `algorithm: token_bucket`",
        )),
        (_, None) => Ok(quota),
    }
}

fn check_cost(cost: Bounded<0, 1_000_000_000, u32>, quota: &Quota) -> Result<u32, ConfigError> {
    let (cost, most) = (cost.get(), quota.largest_cost());
    if cost <= most {
        return Ok(cost);
    }
    let rule = format!("{cost} is more than the {most} that are ever left: nothing would pass");
    Err(ConfigError::at("", rule))
}
