//! Runs cases.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use super::{Case, Cases, Step, Token, Wrong};
use crate::document::Place;
use crate::loaded::{Choice, Given, Loaded, read_named};
use crate::mask::Mask;
use crate::token::key::SigningKey;
use crate::token::provider::{self, Wanted};
use crate::trial::record::Record;
use crate::trial::series::Series;
use crate::trial::{CLIENT, Setting, Trial};

/// What came of a case.
pub struct Outcome {
    /// What it shows.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// What came otherwise than expected.
    pub failures: Vec<Failure>,
}

/// What came otherwise than expected.
pub struct Failure {
    /// What, and where it was expected.
    pub wrong: Wrong,
    /// The request.
    pub record: Option<Record>,
}

/// The configuration that cases are about. `folder`: what their file lies in.
///
/// # Errors
/// It can't be tried, and where it is named.
pub fn load(cases: &Cases, folder: &Path, are_real: bool) -> Result<Loaded, Wrong> {
    let wrong = |message: String| Wrong {
        place: cases.configuration.place,
        message,
    };
    let path = folder.join(&cases.configuration.value);
    let name = path.display().to_string();
    let source = read_named(&name).map_err(|error| wrong(format!("{name}: {error}")))?;
    let choice = Choice {
        filter: cases.filter,
        chain: cases.chain,
    };
    let given = Given {
        are_real,
        named: cases.variables.clone(),
    };
    let mut loaded = Loaded::new(source, choice, given).map_err(wrong)?;
    for token in &cases.tokens {
        let is_signed = |other: &Token| other.provider == token.provider && other.key.is_some();
        if !cases.tokens.iter().any(is_signed) {
            let stands_in = loaded.stand_in(token.provider.as_deref());
            stands_in.map_err(|message| Wrong {
                place: token.place,
                message: format!("tokens.{}: {message}", token.name),
            })?;
        }
    }
    Ok(loaded)
}

/// Runs a case, in a world of its own.
///
/// # Errors
/// A token can't be written, or a file that it needs can't be read.
pub fn run(case: &Case, cases: &Cases, loaded: &Loaded, folder: &Path) -> Result<Outcome, Wrong> {
    let mut answers = BTreeMap::new();
    for keys in &cases.keys {
        let (url, file) = &keys.value;
        let read = fs::read(folder.join(file)).map_err(|error| Wrong {
            place: keys.place,
            message: format!("{file}: {error}"),
        })?;
        answers.insert(url.clone(), read);
    }
    let mut tokens = BTreeMap::new();
    for token in &cases.tokens {
        let is_used = |step: &Step| {
            let used = step.token.as_ref();
            used.is_some_and(|used| used.value == token.name)
        };
        if case.steps.iter().any(is_used) {
            let minted = minted(token, cases, loaded, folder);
            let minted = minted.map_err(|message| Wrong {
                place: token.place,
                message: format!("tokens.{}: {message}", token.name),
            })?;
            tokens.insert(token.name.as_str(), minted);
        }
    }
    let setting = Setting {
        at: cases.at,
        client: CLIENT,
        answers,
    };
    let started = Trial::start(&loaded.chain, setting, |configured| {
        loaded.variables(configured)
    });
    let mut trial = started.map_err(|message| Wrong {
        place: cases.configuration.place,
        message,
    })?;
    let mut sent: Vec<Range<usize>> = Vec::new();
    for step in &case.steps {
        let mut asked = step.asked.clone();
        asked.client = step.client;
        asked.route.clone_from(&step.route);
        let token = step.token.as_ref();
        if let Some(token) = token.and_then(|token| tokens.get(token.value.as_str())) {
            token.carry(&mut asked);
        }
        trial.wait(step.wait);
        let series = Series {
            from: trial.now(),
            repeat: step.repeat,
            over: step.over,
        };
        let begin = trial.records().len();
        series.send(&[asked], &step.upstream, &mut trial);
        sent.push(begin..trial.records().len());
    }
    let records = trial.finish();
    let mask = loaded.mask();
    let mut failures = Vec::new();
    for (step, range) in case.steps.iter().zip(sent) {
        failures.extend(failed(step, records.get(range).unwrap_or_default(), &mask));
    }
    Ok(Outcome {
        name: case.name.clone(),
        place: case.place,
        failures,
    })
}

fn failed(step: &Step, records: &[Record], mask: &Mask) -> Vec<Failure> {
    if step.expected.is_nothing() {
        return Vec::new();
    }
    let wrong = step.expected.check(records, step.place, mask).into_iter();
    let failures = wrong.map(|wrong| Failure {
        wrong,
        record: records.last().cloned(),
    });
    failures.collect()
}

fn minted(
    token: &Token,
    cases: &Cases,
    loaded: &Loaded,
    folder: &Path,
) -> Result<provider::Token, String> {
    let key = match &token.key {
        None => None,
        Some(file) => {
            let text = fs::read_to_string(folder.join(file));
            let text = text.map_err(|error| format!("{file}: {error}"))?;
            Some(SigningKey::parse(&text).map_err(|error| format!("{file}: {error}"))?)
        }
    };
    let wanted = Wanted {
        provider: token.provider.clone(),
        kid: token.kid.clone(),
        claims: token.claims.clone(),
        ttl: token.ttl.map(|ttl| ttl.as_secs_ceil()),
    };
    loaded.token(&wanted, key.as_ref(), cases.at)
}
