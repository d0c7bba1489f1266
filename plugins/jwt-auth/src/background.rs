//! What goes on between requests: key sets come and go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use portcullis_policy::{CallId, CallReply, HttpCall, LogLine, Policy as _, Ports};

use crate::JwtAuth;
use crate::jwks::SkippedKey;
use crate::provider::Providers;
use crate::remote::{Event, FetchResult};

/// Most lines about keys of one set that can't be used; how many there are is said besides.
const MOST_SKIPPED_TOLD: usize = 8;

/// Which key sets this worker is fetching: each has a call of its own, so that an issuer who does
/// not answer keeps no other's keys.
#[derive(Default)]
pub(crate) struct Background {
    /// By index, those of [`Providers::remote_keys`] whose call is under way.
    under_way: RefCell<BTreeSet<usize>>,
    /// The index that is asked first, so that each gets its turn where there are more sets than
    /// calls.
    next: Cell<usize>,
}

impl Background {
    /// A call that is due, by its set's index. A set whose fetch takes two calls makes the second
    /// before another one begins.
    pub(crate) fn next_call(
        &self,
        providers: &Providers,
        ports: &Ports<'_>,
    ) -> Option<(CallId, HttpCall)> {
        let mut under_way = self.under_way.try_borrow_mut().ok()?;
        let first = self.next.get();
        let sets = || providers.remote_keys().map(|(_, keys)| keys).enumerate();
        let half_done = sets().filter(|(_, keys)| keys.has_second_call());
        let in_turn = half_done
            .chain(sets().skip(first))
            .chain(sets().take(first));
        for (index, keys) in in_turn {
            if under_way.contains(&index) {
                continue;
            }
            let Ok(id) = u32::try_from(index) else {
                continue;
            };
            if let Some(call) = keys.next_call(ports) {
                under_way.insert(index);
                self.next.set(index.saturating_add(1));
                return Some((CallId(id), call));
            }
        }
        None
    }

    /// The index of the set whose call has ended.
    fn end(&self, CallId(id): CallId) -> Option<usize> {
        let index = usize::try_from(id).ok()?;
        let mut under_way = self.under_way.try_borrow_mut().ok()?;
        under_way.remove(&index).then_some(index)
    }
}

impl JwtAuth {
    /// Takes over what other workers have fetched.
    pub(crate) fn sync(&self, ports: &Ports<'_>) {
        for (provider, keys) in self.providers.remote_keys() {
            if let Some(event) = keys.sync(ports) {
                self.tell(provider, event, ports);
            }
        }
    }

    /// The sets that requests want, by their calls.
    pub(crate) fn wanted(&self) -> Vec<CallId> {
        let sets = self.providers.remote_keys().zip(0..);
        let wanted = sets.filter(|((_, keys), _)| keys.take_wanted());
        wanted.map(|(_, id)| CallId(id)).collect()
    }

    /// A request of another instance wants the set of this call.
    pub(crate) fn want(&self, CallId(id): CallId, ports: &Ports<'_>) {
        let index = usize::try_from(id).ok();
        let keys = index.and_then(|index| self.providers.remote_keys().nth(index));
        if let (Some((_, keys)), Ok(now)) = (keys, ports.clock.now()) {
            keys.want(now);
        }
    }

    /// Says which keys of the configuration are left out.
    pub(crate) fn tell_skipped(&self, ports: &Ports<'_>) {
        for provider in self.providers.entries() {
            log_skipped(&provider.name, &provider.keys.skipped, ports);
        }
    }

    /// Sees the answer to a call of this worker's.
    pub(crate) fn learn(&self, call: CallId, reply: &dyn CallReply, ports: &Ports<'_>) {
        let fetched = self.background.end(call);
        let keys = fetched.and_then(|index| self.providers.remote_keys().nth(index));
        if let Some((provider, keys)) = keys {
            for event in keys.learn(reply, ports) {
                self.tell(provider, event, ports);
            }
        }
    }

    fn tell(&self, provider: usize, event: Event, ports: &Ports<'_>) {
        let name = self.providers.entries().get(provider);
        let name = name.map_or("", |provider| &*provider.name);
        match event {
            Event::Fetched => {
                self.metrics
                    .count_fetch(provider, FetchResult::Ok, ports.telemetry);
            }
            Event::Failed(failure) => {
                let result = failure.result;
                self.metrics.count_fetch(provider, result, ports.telemetry);
                let line = LogLine::new(Self::NAME, "keys_not_fetched")
                    .with("provider", name)
                    .with("result", result.as_str());
                let details = failure.details.iter();
                let line = details.fold(line, |line, (word, value)| line.with(word, value));
                ports.telemetry.log(line);
            }
            Event::Skipped(keys) => log_skipped(name, &keys, ports),
            Event::NotShared => {
                // The other workers fetch for themselves.
                let line = LogLine::new(Self::NAME, "keys_not_shared").with("provider", name);
                ports.telemetry.log(line);
            }
            Event::Changed => {
                // What was decided with the keys of before is not to be believed.
                self.cache.forget(provider);
                self.verifier.rejected.forget(provider);
                let sets = self
                    .providers
                    .remote_keys()
                    .filter(|(of, _)| *of == provider);
                let states = sets.filter_map(|(_, keys)| keys.state());
                let (keys, skipped) = states.fold((0_usize, 0_usize), |(keys, skipped), state| {
                    (
                        keys.saturating_add(state.keys),
                        skipped.saturating_add(state.skipped),
                    )
                });
                let line = LogLine::new(Self::NAME, "keys_changed")
                    .with("provider", name)
                    .with("keys", keys.to_string())
                    .with("skipped", skipped.to_string());
                ports.telemetry.log(line);
            }
        }
        self.metrics
            .show_keys(provider, &self.providers, ports.telemetry);
    }
}

fn log_skipped(provider: &str, keys: &[SkippedKey], ports: &Ports<'_>) {
    for key in keys.iter().take(MOST_SKIPPED_TOLD) {
        let line = LogLine::new(JwtAuth::NAME, "key_skipped")
            .with("provider", provider)
            .with("key", &key.path);
        let line = match &key.kid {
            Some(kid) => line.with("kid", kid),
            None => line,
        };
        ports.telemetry.log(line.with("why", key.why));
    }
    if let Some(more) = keys.len().checked_sub(MOST_SKIPPED_TOLD).filter(|n| *n > 0) {
        let line = LogLine::new(JwtAuth::NAME, "key_skipped")
            .with("provider", provider)
            .with("more", more.to_string());
        ports.telemetry.log(line);
    }
}
