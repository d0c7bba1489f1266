//! What goes on between requests: key sets come and go.

use std::cell::Cell;

use portcullis_policy::{CallReply, HttpCall, LogLine, Policy as _, Ports};

use crate::JwtAuth;
use crate::provider::Providers;
use crate::remote::{Event, FetchResult};

/// Which key set this worker is fetching.
#[derive(Default)]
pub(crate) struct Background {
    /// Its place among [`Providers::remote_keys`].
    fetching: Cell<Option<usize>>,
    /// The place that is asked first, so that no set has to wait for one whose issuer is away.
    next: Cell<usize>,
}

impl Background {
    /// The call that is due. A set whose fetch takes two calls makes the second before another one
    /// gets its turn.
    pub(crate) fn next_call(&self, providers: &Providers, ports: &Ports<'_>) -> Option<HttpCall> {
        let fetching = self.fetching.take();
        let half_done = fetching.filter(|place| {
            let keys = providers.remote_keys().nth(*place);
            keys.is_some_and(|(_, keys)| keys.has_second_call())
        });
        let first = half_done.unwrap_or(self.next.get());
        let sets = || providers.remote_keys().map(|(_, keys)| keys).enumerate();
        let in_turn = sets().skip(first).chain(sets().take(first));
        for (place, keys) in in_turn {
            if let Some(call) = keys.next_call(ports) {
                self.fetching.set(Some(place));
                self.next.set(place.saturating_add(1));
                return Some(call);
            }
        }
        None
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

    /// Sees the answer to this worker's call.
    pub(crate) fn learn(&self, reply: &dyn CallReply, ports: &Ports<'_>) {
        let fetched = self.background.fetching.get();
        let keys = fetched.and_then(|place| self.providers.remote_keys().nth(place));
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
            Event::Fetched(result) => {
                self.metrics.count_fetch(provider, result, ports.telemetry);
                if result != FetchResult::Ok {
                    let line = LogLine::new(Self::NAME, "keys_not_fetched")
                        .with("provider", name)
                        .with("result", result.word());
                    ports.telemetry.log(line);
                }
            }
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
