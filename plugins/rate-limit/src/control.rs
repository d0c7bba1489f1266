//! Limits as a person on call sees them, and gives a client a fresh start.

use portcullis_policy::{
    Answer, Command, Controlled, Failed, Failure, KeyNamed, Ports, SlotError, Timestamp,
};
use serde_json::{Map, Value, json};

use crate::NAME;
use crate::busiest::Summary;
use crate::key::Fingerprint;
use crate::limit::{Found, Limit};
use crate::policy::RateLimit;

/// Keys that a line of the log names.
const NAMED: usize = 5;

/// Keys that are shown of a period.
const SHOWN: usize = 10;

impl Controlled for RateLimit {
    fn carry_out(&self, command: &Command, ports: &Ports<'_>) -> Option<Result<Answer, Failed>> {
        Some(match command {
            Command::State => self.describe(self.limits.iter(), ports),
            Command::Limit(name) => {
                let found = self.find(name);
                found.and_then(|limit| self.describe(std::iter::once(limit), ports))
            }
            Command::Key(key) => self.show_keys(key, ports),
            Command::Reset(key) => self.reset(key, ports),
            Command::Breaker(_)
            | Command::Turn { .. }
            | Command::Who(_)
            | Command::Subject { .. } => return None,
        })
    }
}

impl RateLimit {
    fn find(&self, name: &str) -> Result<&Limit, Failed> {
        let found = self.limits.iter().find(|limit| limit.name == name);
        found.ok_or_else(|| {
            let names = self.limits.iter().map(|limit| limit.name.as_str());
            Failed::not_among("limit", name, names)
        })
    }

    fn describe<'l>(
        &self,
        limits: impl Iterator<Item = &'l Limit>,
        ports: &Ports<'_>,
    ) -> Result<Answer, Failed> {
        let mut shown = Map::new();
        for limit in limits {
            let now = self.now(ports)?;
            let described = limit.described(now, ports);
            let mut described = described.map_err(|error| self.failed_at(error, ports))?;
            // A limit of one key has only that to be asked for.
            if let Ok(keys) = self.of_values(Some(&limit.name), &[], ports) {
                for (limit, key) in keys {
                    let left = limit.left(key, now, ports);
                    described.extend(left.map_err(|error| self.failed_at(error, ports))?);
                }
            }
            shown.insert(limit.name.clone(), Value::Object(described));
        }
        Ok(Answer::of(NAME, Value::Object(shown)))
    }

    fn show_keys(&self, key: &KeyNamed, ports: &Ports<'_>) -> Result<Answer, Failed> {
        let keys = self.named(key, ports)?;
        let mut answer = self.shown_keys(&keys, ports)?;
        if let KeyNamed::Values { limit: None, .. } = key {
            let asked = |limit: &&Limit| keys.iter().any(|(asked, _)| asked.name == limit.name);
            let others = self.limits.iter().filter(|limit| !asked(limit));
            let others: Map<String, Value> = others
                .map(|limit| (limit.name.clone(), limit.parts().into()))
                .collect();
            if !others.is_empty() {
                answer.shown.insert("not_asked".to_owned(), others.into());
            }
        }
        Ok(answer)
    }

    /// Of limits that are not named, only those that count something under the key: else it would seem that somebody was
    /// reset who is limited under another.
    fn reset(&self, key: &KeyNamed, ports: &Ports<'_>) -> Result<Answer, Failed> {
        let mut keys = self.named(key, ports)?;
        if matches!(key, KeyNamed::Values { limit: None, .. }) {
            let mut counted = Vec::new();
            for (limit, key) in keys {
                let found = limit.look_at(key, ports);
                let found = found.map_err(|error| self.failed_at(error, ports))?;
                if found.is_counted {
                    counted.push((limit, key));
                }
            }
            if counted.is_empty() {
                let why = "no limit counts anything under this key. The line of a refusal names limit and caller; a limit \
                           whose key has other parts wants `limit`, and `key` for each";
                return Err(Failed::Unknown(why.to_owned()));
            }
            keys = counted;
        }
        if let Some((limit, _)) = keys.iter().find(|(limit, _)| limit.leased.is_some()) {
            let why = format!(
                "{:?} is counted by the engine, for all gateways: what it counts under a key is to be deleted there",
                limit.name
            );
            return Err(Failed::Invalid(why));
        }
        for (limit, key) in &keys {
            let reset = limit.reset(*key, ports);
            reset.map_err(|error| self.failed_at(error, ports))?;
        }
        self.shown_keys(&keys, ports)
    }

    fn shown_keys(
        &self,
        keys: &[(&Limit, Fingerprint)],
        ports: &Ports<'_>,
    ) -> Result<Answer, Failed> {
        let now = self.now(ports)?;
        let mut shown = Map::new();
        for (limit, key) in keys {
            let left = limit.left(*key, now, ports);
            let left = left.map_err(|error| self.failed_at(error, ports))?;
            shown.insert(limit.name.clone(), Value::Object(left));
        }
        // A line has room for a few.
        let named = keys.iter().take(NAMED).map(|(_, key)| key.caller());
        let more = keys.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("+{more}"));
        let about: Vec<String> = named.chain(more).collect();
        Ok(Answer::of(NAME, Value::Object(shown)).about(about.join(",")))
    }

    /// The limits and keys that are meant; one at least.
    fn named(
        &self,
        key: &KeyNamed,
        ports: &Ports<'_>,
    ) -> Result<Vec<(&Limit, Fingerprint)>, Failed> {
        match key {
            KeyNamed::Caller(caller) => Ok(vec![self.called(caller, ports)?]),
            KeyNamed::Values { limit, values } => self.of_values(limit.as_deref(), values, ports),
        }
    }

    /// The limit that counts under such a name.
    fn called(&self, caller: &str, ports: &Ports<'_>) -> Result<(&Limit, Fingerprint), Failed> {
        let key = Fingerprint::from_caller(caller);
        let key = key.ok_or_else(|| {
            let rule = "expected the caller of a limit's line, k. and 32 digits";
            Failed::Invalid(format!("{caller:?} is no key; {rule}"))
        })?;
        let now = self.now(ports)?;
        for limit in &self.limits {
            let counts = limit.knows(key, now, ports);
            if counts.map_err(|error| self.failed_at(error, ports))? {
                return Ok((limit, key));
            }
        }
        let none = "nothing is counted under this name: what was is over, or of before the gateway's start";
        Err(Failed::Unknown(none.to_owned()))
    }

    fn of_values(
        &self,
        limit: Option<&str>,
        values: &[Vec<u8>],
        ports: &Ports<'_>,
    ) -> Result<Vec<(&Limit, Fingerprint)>, Failed> {
        let hash_key = self.hash_key(ports);
        let hash_key = hash_key.map_err(|failure| self.failed_at(failure, ports))?;
        let key_of = |limit: &Limit| limit.key_of_values(values, &self.client_address, &hash_key);
        if let Some(name) = limit {
            let limit = self.find(name)?;
            let key = key_of(limit).map_err(Failed::Invalid)?;
            return Ok(vec![(limit, key)]);
        }
        if values.iter().any(Vec::is_empty) {
            let rule = "an empty `key` is a part that is missing, and wants `limit`";
            return Err(Failed::Invalid(rule.to_owned()));
        }
        let limits = self.limits.iter();
        let keys: Vec<_> = limits
            .filter_map(|limit| Some((limit, key_of(limit).ok()?)))
            .collect();
        if keys.is_empty() {
            let rule = "no limit has such a key; name one by `limit` to hear why";
            return Err(Failed::Invalid(rule.to_owned()));
        }
        Ok(keys)
    }

    fn now(&self, ports: &Ports<'_>) -> Result<Timestamp, Failed> {
        let now = ports.clock.now();
        now.map_err(|error| self.failed_at(error, ports))
    }

    fn failed_at(&self, failure: impl Into<Failure>, ports: &Ports<'_>) -> Failed {
        let failure = failure.into();
        self.errors.count(failure, ports);
        Failed::Unavailable(failure.as_str())
    }
}

impl Limit {
    /// What it is, and who asks for most.
    fn described(
        &self,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<Map<String, Value>, SlotError> {
        let mut shown = self.settings();
        if let Some(busiest) = &self.busiest {
            let (since, record) = busiest.read(now, ports)?;
            shown.insert("since".to_owned(), since.into());
            shown.insert("busiest".to_owned(), described(&record.now));
            shown.insert("busiest_before".to_owned(), described(&record.before));
        }
        Ok(shown)
    }

    /// Whether something is counted under a key, or it is among the busiest.
    fn knows(
        &self,
        key: Fingerprint,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<bool, SlotError> {
        if self.holds(key, ports)? {
            return Ok(true);
        }
        let Some(busiest) = &self.busiest else {
            return Ok(false);
        };
        let (_, record) = busiest.read(now, ports)?;
        Ok(record.find(key).is_some())
    }

    /// What a key has left.
    fn left(
        &self,
        key: Fingerprint,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<Map<String, Value>, Failure> {
        let mut shown = self.settings();
        let Found { is_counted, left } = self.look_at(key, ports)?;
        let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        show("caller", key.caller().into());
        show("counted", is_counted.into());
        show("remaining", left.remaining.into());
        show("reset", left.reset.as_secs_ceil().into());
        show("retry_after", left.retry_after.as_secs_ceil().into());
        if let Some(busiest) = &self.busiest {
            let (_, record) = busiest.read(now, ports)?;
            if let Some(known) = record.find(key) {
                show("named", known.label.as_str().into());
            }
        }
        Ok(shown)
    }
}

fn described(summary: &Summary) -> Value {
    let keys = summary.busiest().into_iter().take(SHOWN).map(|key| {
        json!({
            "caller": key.key.caller(), "named": key.label, "asked": key.asked, "error": key.error,
            "refused": key.refused
        })
    });
    json!({ "asked": summary.asked, "keys": keys.collect::<Vec<_>>() })
}
