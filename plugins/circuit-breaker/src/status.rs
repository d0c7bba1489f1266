//! The breakers' states, for people and their dashboards to look at.

use portcullis_policy::config::Mode;
use portcullis_policy::{
    Failure, LocalReply, Ports, Request, Timestamp, query_pairs, query_value, read,
};
use serde_json::{Map, Value, json};

use crate::NAME;
use crate::breaker::{Record, State};
use crate::circuit::Circuit;
use crate::config::Force;
use crate::permits::left;
use crate::transition::Phase;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Each breaker's state, as a word.
    Word,
    /// Each breaker as an object.
    All,
}

/// The states by name, in the configuration's order. An open breaker whose time is up is shown as
/// half-open, which it is for the next request.
///
/// # Errors
/// A state that can't be read is not made up.
pub(crate) fn answer(
    circuits: &[Circuit],
    request: &Request<'_>,
    ports: &Ports<'_>,
) -> Result<LocalReply, Failure> {
    let verbose = query_pairs(request.target()).any(|pair| query_value(pair, "verbose").is_some());
    let detail = match verbose {
        true => Detail::All,
        false => Detail::Word,
    };
    let mut shown = Vec::with_capacity(circuits.len());
    for circuit in circuits {
        // A name needs no escaping.
        shown.push(format!(
            "\"{}\":{}",
            circuit.name,
            circuit.shown(detail, ports)?
        ));
    }
    Ok(LocalReply {
        status: 200,
        headers: Vec::new(),
        body: format!("{{{}}}", shown.join(",")),
        grpc: None,
        cause: String::new(),
    }
    .because(NAME, "status")
    .with("content-type", "application/json")
    .with("cache-control", "no-store"))
}

impl Circuit {
    pub(crate) fn shown(&self, detail: Detail, ports: &Ports<'_>) -> Result<Value, Failure> {
        // What was left in the slot of a breaker that is off or forced is of no effect.
        let set = match (self.mode, self.force) {
            (Mode::Off, _) | (_, Force::Closed) => Some(Phase::Closed),
            (Mode::Enforce | Mode::Shadow, Force::Open) => Some(Phase::Open),
            (Mode::Enforce | Mode::Shadow, Force::None) => None,
        };
        let (phase, record) = match set {
            Some(phase) => (phase, None),
            None => {
                let record = read::<Record>(ports.store, &self.key)?.unwrap_or_default();
                let phase = match (record.hold, record.phase()) {
                    (None, phase @ (Phase::Closed | Phase::HalfOpen)) => phase,
                    (Some(_), _) | (None, Phase::Open) => record.phase_at(ports.clock.now()?),
                };
                (phase, Some(record))
            }
        };
        if detail == Detail::Word {
            return Ok(phase.as_str().into());
        }
        let mut shown = Map::new();
        shown.insert("state".to_owned(), phase.as_str().into());
        shown.insert("mode".to_owned(), self.mode.as_str().into());
        if self.force != Force::None {
            shown.insert("forced".to_owned(), true.into());
        }
        if let Some(record) = record {
            self.describe(&record, ports.clock.now()?, &mut shown);
        }
        Ok(Value::Object(shown))
    }

    /// Counts, since when, and when it will probe. Points in time are in seconds since the Unix
    /// epoch; `since` is absent where the breaker never had another state.
    fn describe(&self, record: &Record, now: Timestamp, shown: &mut Map<String, Value>) {
        let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        if let (Some(hold), Some(_)) = (record.hold, record.held(now)) {
            show("forced", true.into());
            show("forced_until", hold.until.unix_secs().into());
            return;
        }
        if record.since != Timestamp::default() {
            show("since", record.since.unix_secs().into());
        }
        match &record.state {
            State::Closed { run, failing, slow } => {
                if self.settings.consecutive_failures.is_some() {
                    show("consecutive_failures", run.failures.into());
                }
                if let Some(ratio) = &self.settings.failure_ratio {
                    let seen = failing.window.sum(ratio, now);
                    let seen = json!({ "requests": seen.requests, "failures": seen.bad });
                    show("failure_ratio", seen);
                }
                if let Some(ratio) = &self.settings.slow_ratio {
                    let seen = slow.window.sum(ratio, now);
                    show(
                        "slow_ratio",
                        json!({ "requests": seen.requests, "slow": seen.bad }),
                    );
                }
            }
            State::Open { until, why } => {
                show("reason", why.as_str().into());
                show("probe_at", until.unix_secs().into());
                let left = left(record.since, *until, now).unwrap_or_default();
                show("retry_after", left.as_secs_ceil().into());
            }
            State::HalfOpen { permits, successes } => {
                show(
                    "probes_out",
                    permits.out(self.settings.probe_lease, now).into(),
                );
                show("successes", (*successes).into());
            }
        }
    }
}
