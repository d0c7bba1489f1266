//! One limit as it is configured: whom it counts, and what it charges.

use portcullis_policy::config::{ConfigError, IfAmbiguous, Match, Mode};
use portcullis_policy::{Counter, LogLine, MetricRegistry, Ports, Problem, Request, Span};

use crate::config::{LimitConfig, WhenKeyMissing};
use crate::failure::Failure;
use crate::headers::Standing;
use crate::key::{Fingerprint, HashKey, KeyPart, NoKey, Source};
use crate::policy::NAME;
use crate::quota::Quota;
use crate::table::Table;

/// One limit.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) mode: Mode,
    pub(crate) before_auth: bool,
    name: String,
    matches: Match,
    key: Vec<KeyPart>,
    quota: Quota,
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
    pub(crate) fingerprint: Fingerprint,
    /// The window that it was charged to.
    pub(crate) window: u64,
    remaining: u32,
    reset: Span,
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
            quota: Quota {
                algorithm: config.algorithm,
                quota: config.quota.get(),
                window: config.window.span(),
            },
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
        let window = self.quota.window;
        let key = Fingerprint::of(&self.name, window, &self.key, source, hash_key, share);
        let fingerprint = match key {
            Ok(fingerprint) => fingerprint,
            Err(NoKey::AddressUnknown) => return Err(Failure::Address),
            Err(NoKey::Missing) if self.when_key_missing == WhenKeyMissing::Deny => {
                return Ok(Answer::KeyMissing);
            }
            Err(NoKey::Missing) => return Ok(Answer::Skipped),
        };
        let now = ports.clock.now().map_err(|_| Failure::Clock)?;
        let charged = table
            .charge(ports.store, fingerprint, &self.quota, now)
            .map_err(Failure::Slot)?;
        if charged.evicted {
            ports.telemetry.count(self.metrics.evictions);
        }
        let decision = charged.decision;
        let charge = |window: u64| Charge {
            fingerprint,
            window,
            remaining: decision.remaining,
            reset: decision.reset,
        };
        Ok(match decision.charged {
            Some(window) => Answer::Admitted(charge(window)),
            None => Answer::Exhausted(charge(0), decision.retry_after),
        })
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
        let remaining = standing.remaining.saturating_add(1).min(standing.quota);
        Some(Standing {
            remaining,
            ..standing
        })
    }

    /// The window's length.
    pub(crate) const fn window(&self) -> Span {
        self.quota.window
    }

    /// Where the client stands; `None` in shadow, of which it is not to know.
    pub(crate) fn standing(&self, charge: &Charge) -> Option<Standing<'_>> {
        (self.mode == Mode::Enforce).then(|| Standing {
            name: &self.name,
            quota: self.quota.quota,
            window: self.window_secs,
            remaining: charge.remaining,
            reset: charge.reset.as_secs_ceil(),
        })
    }
}
