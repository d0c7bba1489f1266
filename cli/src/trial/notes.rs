//! Makes notes of what a filter has told: its metrics say what was decided, its lines why.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::heard::Heard;
use super::log_line::{field, fields};
use super::record::{LimitNote, Note, Stands};

/// The notes of what a filter told. `before_auth`: the limits that are asked before the token is looked at.
pub(super) fn notes(heard: Vec<Heard>, before_auth: &[String]) -> Vec<Note> {
    let mut stands = BTreeMap::new();
    let mut breakers = Map::new();
    for heard in &heard {
        match heard {
            Heard::Stands(all) => {
                for (before, after) in all {
                    let known = Stands {
                        key: after.key.clone(),
                        value: after.value.clone(),
                        charged: before.remaining.saturating_sub(after.remaining),
                        remaining: after.remaining,
                        quota: after.quota,
                        window: after.window,
                        reset: after.reset,
                        retry_after: after.retry_after,
                    };
                    stands.insert(after.limit.clone(), known);
                }
            }
            Heard::Breakers(all) => breakers.clone_from(all),
            _ => {}
        }
    }
    let mut taken = Notes {
        notes: Vec::new(),
        stands,
        breakers,
        rule: None,
    };
    let mut is_answered = false;
    for heard in heard {
        match bearing(&heard, before_auth) {
            Bearing::None => {}
            Bearing::Behind => taken.tell_rule(),
            Bearing::Without => taken.rule = None,
        }
        match heard {
            Heard::Rule(index) => taken.rule = Some(index),
            Heard::Preflight => taken.notes.push(Note::Preflight),
            Heard::Answered => is_answered = true,
            Heard::Counted(name, by) => taken.counted(&name, by),
            Heard::Line(line) => taken.line(line),
            Heard::Left(limit, remaining) => taken.left(limit, remaining),
            Heard::Unanswered(url) => taken.push_once(Note::NoKeys(url)),
            Heard::Stands(_) | Heard::Breakers(_) => {}
        }
    }
    // Nothing else was told: a rule lets anyone pass, say.
    if !is_answered {
        taken.tell_rule();
    }
    taken.notes
}

/// What something that was told says of the rule.
enum Bearing {
    /// Nothing.
    None,
    /// It was looked for before.
    Behind,
    /// It was not looked for.
    Without,
}

fn bearing(heard: &Heard, before_auth: &[String]) -> Bearing {
    const WITHOUT: [&str; 3] = ["ambiguous_path", "ambiguous_host", "duplicate_identity"];
    let is_before = |limit: Option<&str>| {
        limit.is_some_and(|limit| before_auth.iter().any(|known| known == limit))
    };
    match heard {
        Heard::Counted(name, _) => {
            let reason = name.strip_prefix("jwt_auth_denied.reason.");
            let is_of_tokens = name.starts_with("jwt_auth_");
            if reason.is_some_and(|reason| WITHOUT.contains(&reason)) {
                Bearing::Without
            } else if reason.is_some() || name.starts_with("jwt_auth_allowed") {
                Bearing::Behind
            } else if is_of_tokens
                || name.starts_with("control_")
                || is_before(limit_of_metric(name).as_deref())
            {
                Bearing::None
            } else {
                Bearing::Behind
            }
        }
        Heard::Line(line) => {
            let fields = fields(line);
            let event = field(&fields, "event").unwrap_or_default();
            let is_of_none = event == "ready" || event.starts_with("control");
            match is_of_none || is_before(field(&fields, "limit")) {
                true => Bearing::None,
                false => Bearing::Behind,
            }
        }
        _ => Bearing::None,
    }
}

struct Notes {
    notes: Vec<Note>,
    stands: BTreeMap<String, Stands>,
    breakers: Map<String, Value>,
    /// Not told yet: some limits are asked before.
    rule: Option<Option<usize>>,
}

impl Notes {
    fn tell_rule(&mut self) {
        if let Some(index) = self.rule.take() {
            self.notes.push(Note::Rule(index));
        }
    }

    fn push_once(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn counted(&mut self, metric: &str, by: u32) {
        let mut words = metric.split('.');
        let kind = words.next().unwrap_or_default();
        let label = words.nth(1).unwrap_or_default().to_owned();
        if let Some(said) = kind.strip_prefix("rate_limit_") {
            self.of_limit(said, label, by);
        } else if let Some(said) = kind.strip_prefix("circuit_breaker_") {
            let to = words.nth(1).unwrap_or_default();
            self.of_breaker(said, label, to);
        } else if let Some(said) = kind.strip_prefix("service_token_") {
            match said {
                "errors" => self.failed("service_token", label),
                _ => self.notes.push(Note::Credential(said.to_owned())),
            }
        } else if kind == "jwt_auth_allowed" {
            self.notes.push(Note::Caller(label));
        }
    }

    /// Of limits that are charged by what the answer says only, and once.
    fn left(&mut self, limit: String, remaining: u32) {
        let is_charged = |note: &Note| matches!(note, Note::Used { limit: of, .. } if *of == limit);
        if self.notes.iter().any(is_charged) {
            self.notes.push(Note::Left { limit, remaining });
        }
    }

    fn failed(&mut self, plugin: &str, reason: String) {
        self.push_once(Note::Failed {
            plugin: plugin.to_owned(),
            reason,
        });
    }

    fn of_limit(&mut self, said: &str, limit: String, by: u32) {
        match said {
            "allowed" | "limited" | "shadow_limited" | "skipped" | "elsewhere" => {
                self.notes.push(Note::Limit(LimitNote {
                    stands: self.stands.get(&limit).cloned(),
                    name: limit,
                    said: said.to_owned(),
                    reason: None,
                }));
            }
            "input_tokens"
            | "cached_input_tokens"
            | "output_tokens"
            | "estimated"
            | "unreadable" => self.notes.push(Note::Used {
                limit,
                what: said.to_owned(),
                count: by,
            }),
            "errors" => self.failed("rate_limit", limit),
            _ => {}
        }
    }

    fn of_breaker(&mut self, said: &str, name: String, to: &str) {
        match said {
            "admitted" | "rejected" | "shadow_rejected" | "elsewhere" => {
                self.notes.push(Note::Breaker {
                    state: self.breakers.get(&name).cloned().unwrap_or_default(),
                    name,
                    said: said.to_owned(),
                });
            }
            "successes" | "failures" | "ignored" | "slow" | "broken_off" | "stalled" => {
                self.notes.push(Note::Outcome {
                    name,
                    as_what: said.to_owned(),
                });
            }
            "transitions" => self.notes.push(Note::Transition {
                name,
                to: to.to_owned(),
            }),
            "errors" => self.failed("circuit_breaker", name),
            _ => {}
        }
    }

    fn line(&mut self, line: String) {
        let fields = fields(&line);
        let named = |name| field(&fields, name).unwrap_or_default();
        let (plugin, event) = (named("plugin"), named("event"));
        match (plugin, event) {
            ("jwt_auth", "refused" | "shadow_refused" | "anonymous") => {
                const KNOWN: [&str; 8] = [
                    "plugin",
                    "event",
                    "reason",
                    "method",
                    "path",
                    "request_id",
                    "status",
                    "token",
                ];
                let details = fields.iter();
                let details = details.filter(|(name, _)| !KNOWN.contains(&name.as_str()));
                self.notes.push(Note::Denied {
                    event: event.to_owned(),
                    reason: named("reason").to_owned(),
                    details: details.cloned().collect(),
                });
            }
            ("rate_limit", "refused" | "shadow_refused" | "skipped") => {
                let known = self.notes.iter_mut().rev().find_map(|note| match note {
                    Note::Limit(limit) if limit.name == named("limit") => Some(limit),
                    _ => None,
                });
                match known {
                    Some(limit) => {
                        let reason = named("reason");
                        let is_usual = reason == "quota_exceeded";
                        limit.reason = (!is_usual).then(|| match field(&fields, "part") {
                            Some(part) => format!("{reason} {part}"),
                            None => reason.to_owned(),
                        });
                    }
                    None => self.notes.push(Note::Line(line)),
                }
            }
            // What every worker says once.
            ("service_token", "ready") => {}
            ("circuit_breaker", "refused" | "shadow_refused" | "transition") => {
                let is_known = self
                    .notes
                    .iter()
                    .any(|note| matches!(note, Note::Breaker { .. } | Note::Transition { .. }));
                if !is_known {
                    self.notes.push(Note::Line(line));
                }
            }
            _ => self.notes.push(Note::Line(line)),
        }
    }
}

/// The limit that a metric is of.
fn limit_of_metric(metric: &str) -> Option<String> {
    let label = metric.strip_prefix("rate_limit_")?.split_once(".limit.")?.1;
    label.split('.').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_told_behind_the_limits_that_are_asked_before_it() {
        let heard = || {
            vec![
                Heard::Rule(Some(1)),
                Heard::Counted("rate_limit_allowed.limit.per_ip".to_owned(), 1),
                Heard::Counted("jwt_auth_allowed.provider.dashboard".to_owned(), 1),
            ]
        };
        let is_rule = |note: &Note| matches!(note, Note::Rule(_));
        let before = notes(heard(), &["per_ip".to_owned()]);
        assert_eq!(before.iter().position(is_rule), Some(1), "{before:?}");
        assert_eq!(notes(heard(), &[]).iter().position(is_rule), Some(0));
    }

    #[test]
    fn a_request_that_a_limit_refuses_before_its_token_has_met_no_rule() {
        let heard = vec![
            Heard::Rule(Some(1)),
            Heard::Counted("rate_limit_limited.limit.per_ip".to_owned(), 1),
            Heard::Line(
                "plugin=rate_limit event=refused reason=quota_exceeded limit=per_ip".into(),
            ),
            Heard::Answered,
        ];
        let notes = notes(heard, &["per_ip".to_owned()]);
        let [Note::Limit(limit)] = &notes[..] else {
            panic!("{notes:?}");
        };
        assert_eq!((limit.said.as_str(), &limit.reason), ("limited", &None));
    }
}
