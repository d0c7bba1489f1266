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
use crate::rules::kong::Kong;
use crate::settings::{self, Settings, is_conf};
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
    /// Whether it says how Kong is started, and is no file for filters.
    pub is_conf: bool,
    /// What is amiss, in its order.
    pub findings: Vec<Finding>,
    /// Where secrets stand, which nobody is to be shown.
    pub secrets: Vec<Place>,
}

/// Looks at a file.
#[must_use]
pub fn check(source: &Source, options: Options) -> Checked {
    let checked = check_all(std::slice::from_ref(source), options);
    checked.into_iter().next().unwrap_or_default()
}

/// Looks at files that belong together: what one of them says of the gateway is known in the others.
#[must_use]
pub fn check_all(sources: &[Source], options: Options) -> Vec<Checked> {
    let files: Vec<File<'_>> = sources
        .iter()
        .map(|source| File::read(source, options))
        .collect();
    let settings = files.iter().map(|file| &file.settings).collect();
    let of_kong = files.iter().map(|file| {
        let own = file.filters().filter(|it| it.host == Host::Kong);
        own.collect()
    });
    let kong = Kong::new(settings, of_kong.collect());
    files
        .iter()
        .map(|file| file.check(&kong, options))
        .collect()
}

/// A file, and what is in it.
struct File<'a> {
    source: &'a Source,
    documents: Vec<Node>,
    /// What is in each of the documents.
    found: Vec<Found>,
    /// What it says of how Kong is started.
    settings: Settings,
    /// Why it can't be read.
    error: Option<Unreadable>,
}

impl<'a> File<'a> {
    fn read(source: &'a Source, options: Options) -> Self {
        let is_conf = options.filter.is_none() && is_conf(source);
        let read = if is_conf {
            Ok(Vec::new())
        } else {
            read(&source.text)
        };
        let (documents, error) = match read {
            Ok(documents) => (documents, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let found = match options.filter {
            Some(_) if error.is_some() => Vec::new(),
            Some((filter, host)) => vec![Found {
                filters: bare(filter, host, &documents),
                unreadable: Vec::new(),
                routes: Vec::new(),
            }],
            None => {
                let found = documents.iter();
                found.map(|document| find(source, document)).collect()
            }
        };
        let settings = match is_conf {
            true => settings::of_conf(source),
            false => {
                let mut settings = Settings::default();
                for document in &documents {
                    settings.look_at(document);
                }
                settings
            }
        };
        Self {
            source,
            documents,
            found,
            settings,
            error,
        }
    }

    fn filters(&self) -> impl Iterator<Item = &Configured> {
        self.found.iter().flat_map(|found| &found.filters)
    }

    fn check(&self, kong: &Kong<'_>, options: Options) -> Checked {
        if let Some(error) = &self.error {
            return Checked {
                findings: vec![unreadable(error.clone())],
                ..Checked::default()
            };
        }
        let mut secrets = Vec::new();
        for configured in self.filters() {
            rules::secrets::gather_secrets(&configured.config, &mut secrets);
            let values = configured.variables.iter().flatten();
            let values = values.filter_map(|variable| variable.value.as_ref());
            secrets.extend(values.map(|value| value.written));
        }
        let mut findings: Vec<Finding> = Vec::new();
        for finding in self.all(kong, options) {
            // What an alias stands for is looked at wherever it stands.
            let is_told = |told: &Finding| {
                (told.code, told.place, &told.message)
                    == (finding.code, finding.place, &finding.message)
            };
            if !findings.iter().any(is_told) {
                findings.push(finding);
            }
        }
        let mut findings = allow::apply(self.source, &self.documents, findings);
        findings.sort_by_key(|finding| (finding.place, finding.code));
        Checked {
            filters: self.filters().count(),
            is_conf: self.settings.is_conf,
            findings,
            secrets,
        }
    }

    fn all(&self, kong: &Kong<'_>, options: Options) -> Vec<Finding> {
        let mut all = kong.look_at(&self.settings);
        let routes = self.found.iter().flat_map(|found| found.routes.clone());
        let routes: Vec<_> = routes.collect();
        for (index, found) in self.found.iter().enumerate() {
            let around = rules::Around {
                all: &found.filters,
                routes: &routes,
            };
            let unread = found.unreadable.iter().cloned();
            all.extend(unread.map(unreadable));
            let document = self.documents.get(index);
            let format = document.and_then(|it| rules::kong::format_version(it, &found.filters));
            all.extend(format);
            all.extend(rules::of_all(around));
            for configured in &found.filters {
                all.extend(look_at(configured, around, kong, options));
            }
        }
        all
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

fn look_at(
    configured: &Configured,
    around: rules::Around<'_>,
    kong: &Kong<'_>,
    options: Options,
) -> Vec<Finding> {
    let of_kong = (configured.host == Host::Kong).then(|| Configured {
        variables: kong.variables(),
        ..configured.clone()
    });
    let configured = of_kong.as_ref().unwrap_or(configured);
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
        findings.extend(rules::of_filter(configured, taken, around));
        findings.extend(of_kong.as_ref().and_then(|own| kong.without_zone(own)));
    }
    let asked = variables.asked();
    findings.extend(rules::secrets::hidden_variables(configured, &asked));
    findings.extend(rules::gateway::chosen_addresses(configured));
    findings.extend(rules::secrets::secrets_in_clear(configured, &asked));
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
