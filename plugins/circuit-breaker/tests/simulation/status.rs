//! The status page: what it is expected to show, and somebody who looks at it.

use portcullis_policy::Timestamp;
use portcullis_sim::{Answer, VirtualClock, World};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::generate::{Force, Guard, Mode};
use crate::reference::{Breaker, State, is_out, left};

const SECOND: u64 = 1_000_000_000;

/// Looks at the status page, by a clock of its own. Nothing changes by that.
pub(crate) struct Watcher(Gateway);

impl Watcher {
    pub(crate) fn new(world: &World, config: &str) -> Self {
        let mut worker: Gateway = world.worker(config).unwrap();
        worker.clock = VirtualClock::at(world.clock.read());
        Self(worker)
    }

    /// All that is shown at `now`.
    pub(crate) fn shown(&self, now: u64) -> Value {
        self.page("/status?verbose", now)
    }

    /// The state of the breaker of that name at `now`.
    pub(crate) fn state(&self, name: &str, now: u64) -> String {
        let shown = self.page("/status", now);
        shown[name].as_str().unwrap().to_owned()
    }

    fn page(&self, target: &str, now: u64) -> Value {
        self.0.clock.set(Timestamp::from_unix_nanos(now));
        let headers = [(":method", "GET"), (":path", target)];
        match self.0.request("", &headers).0 {
            Answer::Refused(reply) if reply.status == 200 => {
                serde_json::from_str(&reply.body).unwrap()
            }
            other => panic!("no status page: {other:?}"),
        }
    }

    /// When the breaker's time will be up, which is somewhere from `shortest` to `longest`; what is
    /// not comes back as the moment beside.
    pub(crate) fn until(&self, name: &str, shortest: u64, longest: u64) -> u64 {
        let is_open = |now| self.state(name, now) == "open";
        assert_ne!(self.state(name, shortest), "closed", "it did not open");
        if !is_open(shortest - 1) {
            return shortest - 1;
        }
        let (mut open, mut over) = (shortest - 1, longest + 1);
        while over - open > 1 {
            let middle = open + (over - open) / 2;
            if is_open(middle) {
                open = middle;
            } else {
                over = middle;
            }
        }
        over
    }
}

/// Compares what is shown of a breaker at `now`.
pub(crate) fn check(guard: &Guard, breaker: &Breaker, shown: &Value, now: u64) {
    let expected = match (guard.mode, guard.force) {
        (Mode::Off, _) | (_, Force::Closed) => json!({ "state": "closed" }),
        (Mode::Enforce | Mode::Shadow, Force::Open) => json!({ "state": "open" }),
        (Mode::Enforce | Mode::Shadow, Force::None) => {
            if let State::Open { until, .. } = breaker.state
                && left(breaker.since.unwrap_or_default(), until, now).is_none()
            {
                // It is half-open for the next request; which keys go with that is left open.
                assert_eq!(shown["state"], "half_open");
                assert_eq!(shown["mode"], guard.mode.name());
                return;
            }
            of(guard, breaker, now)
        }
    };
    let mut expected = expected;
    expected["mode"] = guard.mode.name().into();
    if guard.force != Force::None {
        expected["forced"] = true.into();
    }
    assert_eq!(*shown, expected, "{}", guard.name);
}

fn of(guard: &Guard, breaker: &Breaker, now: u64) -> Value {
    let settings = &guard.settings;
    let mut shown = json!({ "state": breaker.state() });
    if let Some(since) = breaker.since {
        shown["since"] = (since / SECOND).into();
    }
    match &breaker.state {
        State::Closed { row, failing, slow } => {
            if settings.consecutive.is_some() {
                shown["consecutive_failures"] = row.dates.len().into();
            }
            if let Some(ratio) = &settings.failing {
                let seen = failing.window.seen(ratio, now);
                shown["failure_ratio"] =
                    json!({ "requests": seen.requests, "failures": seen.failed });
            }
            if let Some(ratio) = &settings.slow {
                let seen = slow.window.seen(ratio, now);
                shown["slow_ratio"] = json!({ "requests": seen.requests, "slow": seen.slow });
            }
        }
        State::Open { until, reason } => {
            shown["reason"] = (*reason).into();
            shown["probe_at"] = (until / SECOND).into();
            let left = left(breaker.since.unwrap_or_default(), *until, now);
            shown["retry_after"] = left.unwrap_or_default().div_ceil(SECOND).into();
        }
        State::HalfOpen {
            leases, successes, ..
        } => {
            let out = leases
                .iter()
                .flatten()
                .filter(|lease| is_out(lease, settings, now));
            shown["probes_out"] = out.count().into();
            shown["successes"] = (*successes).into();
        }
    }
    shown
}
