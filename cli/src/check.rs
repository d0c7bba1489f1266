//! Everything that is found in a file.

use portcullis_policy::config::ConfigError;

use crate::allow;
use crate::document::{Content, Node, Place, Unreadable, read};
use crate::filter::{Filter, Host, Variables};
use crate::find::{Found, find};
use crate::finding::{Code, Finding};
use crate::gateway::{self, Configured};
use crate::path::follow;
use crate::rules;
use crate::source::Source;

/// How files are looked at.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Files hold the configuration of this filter, and nothing around it.
    pub filter: Option<(Filter, Host)>,
    /// The gateway's variables are those of this process.
    pub real_variables: bool,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// How many filters the file configures.
    pub filters: usize,
    /// What is amiss, in its order.
    pub findings: Vec<Finding>,
    /// Where secrets stand, which nobody is to be shown.
    pub secrets: Vec<Place>,
}

/// Looks at a file.
#[must_use]
pub fn check(source: &Source, options: Options) -> Checked {
    let documents = match read(&source.text) {
        Ok(documents) => documents,
        Err(error) => {
            return Checked {
                filters: 0,
                findings: vec![unreadable(error)],
                secrets: Vec::new(),
            };
        }
    };
    let found: Vec<Found> = match options.filter {
        Some((filter, host)) => vec![Found {
            filters: bare(filter, host, &documents),
            unreadable: Vec::new(),
        }],
        None => {
            let found = documents.iter();
            found.map(|document| find(source, document)).collect()
        }
    };
    let mut filters = 0_usize;
    let mut all: Vec<Finding> = Vec::new();
    let mut secrets = Vec::new();
    for found in found {
        filters = filters.saturating_add(found.filters.len());
        all.extend(found.unreadable.into_iter().map(unreadable));
        for configured in &found.filters {
            rules::gather_secrets(&configured.config, &mut secrets);
            let values = configured.variables.iter().flatten();
            let values = values.filter_map(|variable| variable.value.as_ref());
            secrets.extend(values.map(|value| value.written));
        }
        all.extend(rules::open_routes(&found.filters));
        let looked = found.filters.iter();
        all.extend(looked.flat_map(|configured| look_at(configured, options)));
    }
    let mut findings: Vec<Finding> = Vec::new();
    for finding in all {
        // What an alias stands for is looked at wherever it stands.
        let is_told = |told: &Finding| {
            (told.code, told.place, &told.message)
                == (finding.code, finding.place, &finding.message)
        };
        if !findings.iter().any(is_told) {
            findings.push(finding);
        }
    }
    let mut findings = allow::apply(source, &documents, findings);
    findings.sort_by_key(|finding| (finding.place, finding.code));
    Checked {
        filters,
        findings,
        secrets,
    }
}

/// A file that holds nothing configures a filter with nothing, and what is missing is said.
fn bare(filter: Filter, host: Host, documents: &[Node]) -> Vec<Configured> {
    let is_there = |document: &&Node| !matches!(document.content, Content::Null);
    let mut documents: Vec<Node> = documents.iter().filter(is_there).cloned().collect();
    if documents.is_empty() {
        documents.push(Node {
            content: Content::Map(Vec::new()),
            used: Place::default(),
            written: Place::default(),
        });
    }
    let configured = documents.iter();
    configured
        .map(|document| gateway::bare(filter, host, document))
        .collect()
}

fn unreadable(error: Unreadable) -> Finding {
    Finding {
        code: Code::Unreadable,
        place: error.place,
        message: error.reason,
        beside: None,
    }
}

fn look_at(configured: &Configured, options: Options) -> Vec<Finding> {
    if let Some(text) = &configured.text
        && serde_json::from_str::<serde_json::Value>(text).is_err()
        && let Err(error) = configured.filter.read_text(text)
    {
        return vec![refused(configured, &error)];
    }
    let value = configured.value();
    let mut variables = match options.real_variables {
        true => Variables::real(),
        false => Variables::assumed(&value),
    };
    for variable in configured.variables.iter().flatten() {
        if let Some(value) = variable.value.as_ref().and_then(Node::text) {
            variables.set(&variable.name, value);
        }
    }
    let filter = configured.filter;
    let errors = filter.errors(&value, configured.host, &variables);
    let of_build = match configured.host {
        // What another build of the filter takes.
        Host::EnvoyAlone => {
            let others = filter.errors(&value, Host::Envoy, &variables);
            let only_here = errors.iter().filter(|error| !others.contains(error));
            only_here.cloned().collect()
        }
        _ => Vec::new(),
    };
    let told = errors.iter().map(|error| match of_build.contains(error) {
        true => Finding {
            code: Code::AnswersNotShown,
            ..refused(configured, error)
        },
        false => refused(configured, error),
    });
    let mut findings: Vec<Finding> = told.collect();
    if let Ok(taken) = filter.take(value, configured.host, &variables) {
        findings.extend(rules::idle_limits(configured));
        findings.extend(rules::bodies_not_shown(configured, taken));
    }
    let asked = variables.asked();
    findings.extend(rules::hidden_variables(configured, &asked));
    findings.extend(rules::chosen_addresses(configured));
    findings.extend(rules::secrets_in_clear(configured, &asked));
    findings
}

/// What a filter says, and of what.
fn refused(configured: &Configured, error: &ConfigError) -> Finding {
    let target = follow(&configured.config, error.path());
    let is_name = error.rule().starts_with("unknown field");
    let place = match target.field {
        Some(field) if is_name && target.is_whole => field.place,
        _ => target.place(),
    };
    let used = target.used().filter(|_| !is_name);
    Finding {
        code: Code::Refused,
        place,
        message: format!("{}: {error}", configured.filter.name),
        beside: used.map(|used| (used, "it is used here".to_owned())),
    }
}
