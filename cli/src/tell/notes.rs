//! Notes in words.

use serde_json::Value;

use crate::loaded::{Item, Loaded};
use crate::mask::Mask;
use crate::moment::shown_span;
use crate::trial::record::{LimitNote, Note, Stands};

/// What a note is about, and what it says.
pub(super) struct Told {
    pub(super) about: String,
    pub(super) says: String,
    /// Whether it is why a request does not pass.
    pub(super) is_against: bool,
}

/// Reasons of `jwt_auth` that are about no token.
const NOT_OF_TOKENS: [&str; 4] = [
    "no_rule",
    "ambiguous_path",
    "ambiguous_host",
    "duplicate_identity",
];

/// A note in words. `filter`: whose it is.
pub(super) fn told(note: &Note, filter: usize, loaded: &Loaded, mask: &Mask) -> Told {
    let (about, says, is_against) = match note {
        Note::Rule(None) => ("rules".to_owned(), "none matches".to_owned(), true),
        Note::Rule(Some(index)) => {
            let at = loaded.line(filter, "jwt_auth", "rules", Item::At(*index));
            let access = access(loaded, filter, *index);
            (
                format!("rules[{index}]"),
                format!("the first that matches{}: {access}", line(at)),
                false,
            )
        }
        Note::Preflight => {
            let says = "it passes without a token".to_owned();
            ("CORS preflight".to_owned(), says, false)
        }
        Note::Caller(provider) => {
            let says = format!("good, of the provider {provider}");
            ("token".to_owned(), says, false)
        }
        Note::Denied {
            event,
            reason,
            details,
        } => {
            let details: String = details
                .iter()
                .map(|(name, value)| format!(", {name} {}", mask.text(value)))
                .collect();
            let becomes = match event.as_str() {
                "refused" => "refused",
                "anonymous" => "not good, and so the request is nobody's",
                _ => "would be refused, were it not for the mode",
            };
            let says = format!("{becomes}: {reason}{details}");
            let about = match NOT_OF_TOKENS.contains(&reason.as_str()) {
                true => "jwt_auth",
                false => "token",
            };
            (about.to_owned(), says, event == "refused")
        }
        Note::Limit(limit) => limit_in_words(limit, filter, loaded),
        Note::Breaker { name, said, state } => {
            let becomes = match said.as_str() {
                "admitted" => "lets it pass",
                "rejected" => "refuses it",
                "elsewhere" => "has it go elsewhere",
                _ => "would refuse it, were it not for the mode",
            };
            let says = format!("{}; {becomes}", breaker_state(state));
            (format!("breaker {name}"), says, said == "rejected")
        }
        Note::Outcome { name, as_what } => {
            let says = match as_what.as_str() {
                "successes" => "the answer is a success",
                "failures" => "the answer is a failure",
                "ignored" => "the answer says nothing of the backend",
                "slow" => "the answer is slow",
                "stalled" => "the answer has stopped coming",
                _ => "the answer broke off",
            };
            (format!("breaker {name}"), says.to_owned(), false)
        }
        Note::Transition { name, to } => {
            let to = to.replace('_', "-");
            (format!("breaker {name}"), format!("is {to} now"), false)
        }
        Note::Credential(said) => {
            let says = match said.as_str() {
                "injected" => "added for the backend",
                "spoofed" => "the client sent one of its own, which goes no further",
                _ => "would be added, were it not for the mode",
            };
            ("credential".to_owned(), says.to_owned(), false)
        }
        Note::Used { limit, what, count } => {
            let says = match what.as_str() {
                "unreadable" => {
                    "the answer does not say what was used: it stays charged".to_owned()
                }
                "estimated" => "what was used is estimated".to_owned(),
                what => format!("{count} {}", what.replace('_', " ")),
            };
            (format!("limit {limit}"), says, false)
        }
        Note::Left { limit, remaining } => {
            let says = format!("{remaining} left, now that it is known what was used");
            (format!("limit {limit}"), says, false)
        }
        Note::NoKeys(url) => {
            let says = format!("{url} is not asked; --keys {url}=FILE says what is there");
            ("keys".to_owned(), says, true)
        }
        Note::Failed { plugin, reason } => (plugin.clone(), format!("failed: {reason}"), true),
        Note::Line(text) => ("log".to_owned(), mask.text(text), false),
    };
    Told {
        about,
        says,
        is_against,
    }
}

fn line(at: Option<usize>) -> String {
    at.map_or_else(String::new, |line| format!(" (line {line})"))
}

/// What a rule says of who may.
fn access(loaded: &Loaded, filter: usize, index: usize) -> String {
    let configured = loaded.chain.filters.get(filter);
    let jwt_auth = configured.and_then(|configured| configured.part("jwt_auth"));
    let rules = jwt_auth.and_then(|part| part.get("rules"));
    let Some(rule) = rules.and_then(|rules| rules.items().get(index)) else {
        return String::new();
    };
    match rule.get("require") {
        None => "anyone may".to_owned(),
        Some(require) => format!("require {}", flow(&require.to_json())),
    }
}

/// JSON as YAML has it on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}", flow(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn limit_in_words(limit: &LimitNote, filter: usize, loaded: &Loaded) -> (String, String, bool) {
    let about = format!("limit {}", limit.name);
    let named = Item::Named(&limit.name);
    let at = line(loaded.line(filter, "rate_limit", "limits", named));
    let becomes = match limit.said.as_str() {
        "allowed" => "counts it",
        "limited" => "refuses it",
        "elsewhere" => "has it go elsewhere",
        "skipped" => "does not count it",
        _ => "would refuse it, were it not for the mode",
    };
    let mut says = format!("{becomes}{at}");
    if let Some(reason) = &limit.reason {
        says.push_str(&format!(": {reason}"));
    }
    if let Some(stands) = &limit.stands {
        says.push_str(&format!(", {}", stands_in_words(stands, &limit.said)));
    }
    (about, says, limit.said == "limited")
}

fn stands_in_words(stands: &Stands, said: &str) -> String {
    let Stands {
        charged,
        remaining,
        quota,
        ..
    } = stands;
    let per = match stands.window {
        Some(window) => format!(" in {}", shown_span(window)),
        None => " at a time".to_owned(),
    };
    let key = key_in_words(stands);
    let mut says = match said {
        "allowed" => format!("charged {charged}{key}; {remaining} of {quota}{per} left"),
        _ => format!("{remaining} of {quota}{per} left{key}"),
    };
    if said != "allowed" && stands.retry_after.as_nanos() > 0 {
        let wait = stands.retry_after.as_secs_ceil();
        says.push_str(&format!("; the next passes in {wait}s"));
    }
    says
}

fn key_in_words(stands: &Stands) -> String {
    let parts: Vec<&str> = stands.key.iter().map(String::as_str).collect();
    match parts[..] {
        ["constant"] | [] => " for all together".to_owned(),
        _ => format!(" under {} {}", parts.join(" + "), stands.value)
            .trim_end()
            .to_owned(),
    }
}

fn breaker_state(state: &Value) -> String {
    let text = state.get("state").and_then(Value::as_str);
    let mut says = text.unwrap_or("in an unknown state").replace('_', "-");
    let failures = state.get("consecutive_failures").and_then(Value::as_u64);
    if let Some(failures @ 1..) = failures {
        says.push_str(&format!(", {failures} failed in a row"));
    }
    if let Some(wait) = state.get("retry_after").and_then(Value::as_u64) {
        says.push_str(&format!(", a probe in {wait}s"));
    }
    says
}
