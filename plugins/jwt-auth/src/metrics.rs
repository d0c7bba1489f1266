//! What is counted.

use portcullis_policy::{Counter, Gauge, MetricRegistry, Telemetry};

use crate::caller::Caller;
use crate::provider::Providers;
use crate::refusal::Reason;
use crate::remote::FetchResult;

/// What counts refusals, and requests at which the plugin failed, by their reason.
pub(crate) const DENIED: &str = "jwt_auth_denied";

pub(crate) struct Metrics {
    /// By the provider's index.
    allowed: Vec<Counter>,
    /// Of [`Reason::ALL`].
    denied: Vec<(Reason, Counter)>,
    pub(crate) cache_hits: Counter,
    pub(crate) cache_misses: Counter,
    /// Requests that were held for keys.
    pub(crate) held: Counter,
    /// Requests that passed with a header emptied whose claim did not fit, by the provider's index.
    unfit: Vec<Counter>,
    /// By the provider's index; `None` for one whose keys are not fetched.
    jwks: Vec<Option<JwksMetrics>>,
}

/// What is known of a provider's fetched keys.
struct JwksMetrics {
    /// By the result's index in [`FetchResult::ALL`].
    fetches: Vec<Counter>,
    /// When the last good set came, in seconds since the Unix epoch.
    fetched_at: Gauge,
    /// How many keys can be used.
    keys: Gauge,
    /// How many can't.
    skipped: Gauge,
}

impl Metrics {
    pub(crate) fn announce(providers: &Providers, registry: &mut MetricRegistry) -> Self {
        let names = || providers.entries().iter().map(|provider| &*provider.name);
        let allowed =
            names().map(|name| registry.counter(format!("jwt_auth_allowed.provider.{name}")));
        let allowed = allowed.collect();
        let denied = Reason::ALL.iter().map(|reason| {
            let name = format!("{DENIED}.reason.{}", reason.as_str());
            (*reason, registry.counter(name))
        });
        let denied = denied.collect();
        let fetched = |index: usize| providers.remote_keys().any(|(of, _)| of == index);
        let jwks = names()
            .enumerate()
            .map(|(index, name)| fetched(index).then(|| JwksMetrics::announce(name, registry)))
            .collect();
        Self {
            allowed,
            denied,
            cache_hits: registry.counter("jwt_auth_cache_hits"),
            cache_misses: registry.counter("jwt_auth_cache_misses"),
            held: registry.counter("jwt_auth_held"),
            unfit: names()
                .map(|name| registry.counter(format!("jwt_auth_claim_unfit.provider.{name}")))
                .collect(),
            jwks,
        }
    }

    pub(crate) fn count_allowed(&self, caller: &Caller, telemetry: &dyn Telemetry) {
        if let Some(counter) = self.allowed.get(caller.provider) {
            telemetry.count(*counter);
        }
        if let (true, Some(counter)) = (caller.has_unfit, self.unfit.get(caller.provider)) {
            telemetry.count(*counter);
        }
    }

    pub(crate) fn count_denied(&self, reason: Reason, telemetry: &dyn Telemetry) {
        let mut denied = self.denied.iter();
        if let Some((_, counter)) = denied.find(|(known, _)| *known == reason) {
            telemetry.count(*counter);
        }
    }

    pub(crate) fn count_fetch(
        &self,
        provider: usize,
        result: FetchResult,
        telemetry: &dyn Telemetry,
    ) {
        let metrics = self.jwks.get(provider).and_then(Option::as_ref);
        if let Some(counter) = metrics.and_then(|jwks| jwks.fetches.get(result as usize)) {
            telemetry.count(*counter);
        }
    }

    /// Shows what a provider's keys are now.
    pub(crate) fn show_keys(
        &self,
        provider: usize,
        providers: &Providers,
        telemetry: &dyn Telemetry,
    ) {
        let Some(Some(metrics)) = self.jwks.get(provider) else {
            return;
        };
        let sets = providers.remote_keys().filter(|(of, _)| *of == provider);
        let states: Vec<_> = sets.filter_map(|(_, keys)| keys.state()).collect();
        if states.is_empty() {
            // Another worker may have some.
            return;
        }
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        if let Some(oldest) = states
            .iter()
            .map(|state| state.fetched_at.unix_secs())
            .min()
        {
            telemetry.set(metrics.fetched_at, oldest);
        }
        telemetry.set(
            metrics.keys,
            states.iter().map(|state| gauge(state.keys)).sum(),
        );
        telemetry.set(
            metrics.skipped,
            states.iter().map(|state| gauge(state.skipped)).sum(),
        );
    }
}

impl JwksMetrics {
    fn announce(provider: &str, registry: &mut MetricRegistry) -> Self {
        let results = FetchResult::ALL.iter().map(|result| result.as_str());
        let fetches = results.map(|word| {
            registry.counter(format!(
                "jwt_auth_jwks_fetches.provider.{provider}.result.{word}"
            ))
        });
        Self {
            fetches: fetches.collect(),
            fetched_at: registry.gauge(format!("jwt_auth_jwks_fetched_at.provider.{provider}")),
            keys: registry.gauge(format!("jwt_auth_jwks_keys.provider.{provider}")),
            skipped: registry.gauge(format!("jwt_auth_jwks_skipped.provider.{provider}")),
        }
    }
}
