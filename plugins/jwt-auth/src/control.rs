//! What a person on call can ask of tokens: whether their keys are here, and who a caller of the log is.

use portcullis_policy::{Answer, CallerNames, Command, Controlled, Failed, Ports};
use serde_json::{Map, Value, json};

use crate::NAME;
use crate::policy::JwtAuth;
use crate::provider::Provider;

impl Controlled for JwtAuth {
    fn carry_out(&self, command: &Command, ports: &Ports<'_>) -> Option<Result<Answer, Failed>> {
        match command {
            Command::State => Some(Ok(Answer::of(NAME, self.described(ports)))),
            Command::Who(name) => Some(self.who(name)),
            Command::Subject { subject, provider } => {
                Some(self.called(subject, provider.as_deref()))
            }
            Command::Limit(_)
            | Command::Key(_)
            | Command::Breaker(_)
            | Command::Reset(_)
            | Command::Turn { .. } => None,
        }
    }
}

impl JwtAuth {
    /// Each provider, with whether its keys are here; of those that are fetched, when and how many.
    fn described(&self, ports: &Ports<'_>) -> Value {
        let now = ports.clock.now().ok();
        let described = |provider: &Provider| {
            let mut shown = Map::new();
            let ready = now.is_some_and(|now| provider.is_ready(now));
            shown.insert("ready".to_owned(), ready.into());
            let states = provider.keys.remote.iter().filter_map(|keys| keys.state());
            let fetched = states.map(|state| {
                json!({
                    "at": state.fetched_at.unix_secs(), "keys": state.keys, "skipped": state.skipped
                })
            });
            if !provider.keys.remote.is_empty() {
                shown.insert("fetched".to_owned(), fetched.collect());
            }
            (provider.name.to_string(), Value::Object(shown))
        };
        let providers = self.providers.entries().iter().map(described);
        json!({ "mode": self.mode().as_str(), "providers": Map::from_iter(providers) })
    }

    fn names(&self) -> Result<&CallerNames, Failed> {
        // Whoever asks has come by the path that they are made for.
        let names = self.naming.names.as_ref();
        names.ok_or(Failed::Unavailable("no_names"))
    }

    fn who(&self, name: &str) -> Result<Answer, Failed> {
        let (provider, subject) = self.names()?.who(name).ok_or_else(|| {
            let rule = "no name that this control path's token has given";
            Failed::Unknown(format!("{name:?} is {rule}"))
        })?;
        let shown = json!({ "provider": provider, "sub": subject });
        Ok(Answer::of(NAME, shown).about(name.to_owned()))
    }

    fn called(&self, subject: &str, provider: Option<&str>) -> Result<Answer, Failed> {
        let names = self.names()?;
        let all = self
            .providers
            .entries()
            .iter()
            .map(|provider| &*provider.name);
        let meant: Vec<&str> = all
            .clone()
            .filter(|name| provider.is_none_or(|provider| provider == *name))
            .collect();
        if meant.is_empty() {
            let given = provider.unwrap_or_default();
            return Err(Failed::not_among("provider", given, all));
        }
        let called = meant.iter().map(|provider| {
            let name = names.name(provider, subject);
            ((*provider).to_owned(), Value::from(name))
        });
        let callers: Map<String, Value> = called.collect();
        let about: Vec<&str> = callers.values().filter_map(Value::as_str).collect();
        let about = about.join(",");
        Ok(Answer::of(NAME, json!({ "callers": callers })).about(about))
    }
}
