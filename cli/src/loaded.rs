//! A chain of filters out of a file, ready to be tried.

use std::io::Read as _;
use std::{fs, io};

use portcullis_policy::Timestamp;
use serde_json::Value;

use crate::check::{Options, check};
use crate::document::{Node, read};
use crate::filter::{Filter, Host, Variables};
use crate::finding::Level;
use crate::gateway::{Configured, bare};
use crate::mask::Mask;
use crate::source::Source;
use crate::token::key::SigningKey;
use crate::token::provider::{self, Token, Wanted};
use crate::token::stand_in;
use crate::trial::chain::{Chain, chains};

/// A chain, and the file that it stands in.
pub struct Loaded {
    /// The file.
    pub source: Source,
    /// Its filters.
    pub chain: Chain,
    /// Which variables the gateway has.
    pub given: Given,
    /// Providers whose tokens are signed by a key that stands in for their issuers'.
    pub stands_in: Vec<String>,
}

/// Which variables the gateway has.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Whether those that are not named are those of this process. Else they are assumed to be there.
    pub are_real: bool,
    /// Those that are named, with what they hold.
    pub named: Vec<(String, String)>,
}

/// Which chain of a file is meant.
#[derive(Clone, Copy, Default)]
pub struct Choice {
    /// The file holds the configuration of this filter, and nothing around it.
    pub filter: Option<(Filter, Host)>,
    /// The chain's number, from 1.
    pub chain: Option<usize>,
}

/// Reads a file, or what comes in where it is named `-`.
///
/// # Errors
/// It can't be read.
pub fn read_named(name: &str) -> io::Result<Source> {
    let mut text = String::new();
    match name {
        "-" => drop(io::stdin().read_to_string(&mut text)?),
        name => text = fs::read_to_string(name)?,
    }
    let name = if name == "-" { "stdin" } else { name }.to_owned();
    Ok(Source { name, text })
}

impl Loaded {
    /// Takes a chain out of a file.
    ///
    /// # Errors
    /// What is wrong, in a line or several: of a configuration that is refused, where.
    pub fn new(source: Source, choice: Choice, given: Given) -> Result<Self, String> {
        let name = &source.name;
        let documents = read(&source.text)
            .map_err(|error| format!("{name}:{}: {}", source.line_of(error.place), error.reason))?;
        let mut all = match choice.filter {
            Some((filter, host)) => vec![of_bare(filter, host, &documents)],
            None => chains(&source, &documents),
        };
        let chain = match (choice.chain, all.len()) {
            (_, 0) => {
                return Err(format!(
                    "{name}: no filter is configured in it (a filter's configuration by itself: --filter NAME)"
                ));
            }
            (None, 1) => all.remove(0),
            (None, _) => {
                return Err(format!(
                    "{name}: several chains of filters; choose one with --chain:{}",
                    listed(&source, &all)
                ));
            }
            (Some(number), count) => match number.checked_sub(1).filter(|at| *at < count) {
                Some(at) => all.remove(at),
                None => {
                    return Err(format!(
                        "{name}: no chain {number}; there are:{}",
                        listed(&source, &all)
                    ));
                }
            },
        };
        let loaded = Self {
            source,
            chain,
            given,
            stands_in: Vec::new(),
        };
        loaded.check(choice)?;
        Ok(loaded)
    }

    /// The variables as a filter sees them.
    #[must_use]
    pub fn variables(&self, configured: &Configured) -> Variables {
        let mut variables = match self.given.are_real {
            true => Variables::real(),
            false => Variables::assumed(&configured.value()),
        };
        for variable in configured.variables.iter().flatten() {
            if let Some(value) = variable.value.as_ref().and_then(Node::text) {
                variables.set(&variable.name, value);
            }
        }
        for (name, value) in &self.given.named {
            variables.set(name, value);
        }
        variables
    }

    /// Has tokens of a provider signed by a key that stands in for its issuer's, where nothing at hand signs them: its keys are public
    /// ones. Who signs them by a key of their own has no need of that.
    ///
    /// # Errors
    /// There is no such provider.
    pub fn stand_in(&mut self, provider: Option<&str>) -> Result<(), String> {
        let (_, jwt_auth) = self.jwt_auth()?;
        let (name, found) = provider::find(&jwt_auth, provider)?;
        if !stand_in::is_needed(found) {
            return Ok(());
        }
        for configured in &mut self.chain.filters {
            let mut value = configured.value();
            match configured.filter.name {
                "jwt_auth" => stand_in::put(&mut value, name),
                _ => match value.get_mut("jwt_auth") {
                    Some(jwt_auth) => stand_in::put(jwt_auth, name),
                    None => continue,
                },
            }
            configured.text = Some(value.to_string());
        }
        self.stands_in.push(name.to_owned());
        Ok(())
    }

    /// A token that is good for a provider of the chain's `jwt_auth`, but for what is wanted else. `key`: who signs it in place of the
    /// provider's secret.
    ///
    /// # Errors
    /// There is no such provider, or nothing that signs.
    pub fn token(
        &self,
        wanted: &Wanted,
        key: Option<&SigningKey>,
        now: Timestamp,
    ) -> Result<Token, String> {
        let (configured, jwt_auth) = self.jwt_auth()?;
        let variables = self.variables(configured);
        provider::token(&jwt_auth, wanted, key, &variables, now)
    }

    /// The filter with a `jwt_auth`, and that.
    ///
    /// # Errors
    /// There is none.
    pub fn jwt_auth(&self) -> Result<(&Configured, Value), String> {
        let mut filters = self.chain.filters.iter();
        let found =
            filters.find_map(|configured| Some((configured, provider::jwt_auth(configured)?)));
        found.ok_or_else(|| format!("{}: no filter in it has a `jwt_auth`", self.source.name))
    }

    /// What is not to be shown.
    #[must_use]
    pub fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        for configured in &self.chain.filters {
            let variables = self.variables(configured);
            let _asked = configured
                .filter
                .take(configured.value(), configured.host, &variables);
            mask.add(configured, &variables);
        }
        mask
    }

    /// The line in which a value stands that is found by names and numbers from a plugin's configuration on.
    #[must_use]
    pub fn line(&self, filter: usize, plugin: &str, list: &str, item: Item<'_>) -> Option<usize> {
        let configured = self.chain.filters.get(filter)?;
        let items = configured.part(plugin)?.get(list)?.items();
        let item = match item {
            Item::At(index) => items.get(index),
            Item::Named(name) => items.iter().find(|item| {
                let named = item.get("name").and_then(Node::text);
                named == Some(name)
            }),
        };
        Some(self.source.line_of(item?.place()))
    }

    /// Every filter takes its configuration.
    fn check(&self, choice: Choice) -> Result<(), String> {
        let mut refused = String::new();
        for configured in &self.chain.filters {
            let value = configured.value();
            let variables = self.variables(configured);
            let taken = configured.filter.take(value, configured.host, &variables);
            if let Err(error) = taken {
                refused.push_str(&format!("\n  {}: {error}", configured.filter.name));
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        // Where it stands, of what `check` finds too.
        let options = Options {
            filter: choice.filter,
            real_variables: self.given.are_real,
        };
        let checked = check(&self.source, options);
        let errors = checked.findings.iter();
        let errors = errors.filter(|finding| finding.code.level() == Level::Error);
        let lines: String = errors
            .map(|finding| {
                let line = self.source.line_of(finding.place);
                format!("\n  {}:{line}: {}", self.source.name, finding.message)
            })
            .collect();
        let lines = if lines.is_empty() { refused } else { lines };
        Err(format!(
            "{}: a filter refuses its configuration:{lines}",
            self.source.name
        ))
    }
}

/// An item of a list.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// By its index.
    At(usize),
    /// By its `name`.
    Named(&'a str),
}

fn of_bare(filter: Filter, host: Host, documents: &[Node]) -> Chain {
    let filters = documents.iter();
    Chain {
        filters: filters
            .map(|document| bare(filter, host, document))
            .collect(),
    }
}

fn listed(source: &Source, chains: &[Chain]) -> String {
    let chains = (1_usize..).zip(chains);
    let lines = chains.map(|(number, chain)| {
        let filters = chain.filters.iter();
        let names: Vec<&str> = filters.map(|configured| configured.filter.name).collect();
        let first = chain.filters.first();
        let line = first.map_or(0, |first| source.line_of(first.place));
        format!("\n  {number}  {} (from line {line} on)", names.join(", "))
    });
    lines.collect()
}
