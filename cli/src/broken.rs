//! Which rules a configuration breaks: what breaks one is taken out, and the rest asked again.

use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::Policy as _;
use portcullis_policy::config::ConfigError;
use serde_json::{Value, json};

use crate::filter::{Filter, Host, Variables};
use crate::path::{Step, next_step};
use crate::pointer::leads_through;

/// More than anybody puts right at once.
pub(crate) const MOST: usize = 100;

/// All rules that a configuration breaks, as far as one can be told without the other being put right. Its shape is right.
pub(crate) fn rule_errors(
    filter: &Filter,
    config: &Value,
    host: Host,
    variables: &Variables,
) -> Vec<ConfigError> {
    let take = |config: &Value| filter.take(config.clone(), host, variables).err();
    let mut rest = Rest {
        config: config.clone(),
        taken: Vec::new(),
    };
    let mut errors: Vec<ConfigError> = Vec::new();
    for _ in 0..MOST {
        let Some(error) = take(&rest.config) else {
            break;
        };
        let told = ConfigError::at(rest.original_path(error.path()), rest.original_rule(&error));
        let mut former = errors.iter();
        let is_new = former.all(|former| !leads_through(former.path(), told.path()));
        if is_new && !rest.brings_about(&error) {
            errors.push(told);
        }
        let is_better = |repaired: &Rest| {
            (filter.reads)(repaired.config.clone()).is_ok()
                && take(&repaired.config).is_none_or(|left| {
                    let path = repaired.original_path(left.path());
                    (path, left.rule()) != (rest.original_path(error.path()), error.rule())
                })
        };
        let repairs = rest.repairs(filter, error.path());
        match repairs.into_iter().find(is_better) {
            Some(repaired) => rest = repaired,
            None => break,
        }
    }
    errors
}

/// A configuration of which something was taken out.
struct Rest {
    config: Value,
    taken: Vec<Taken>,
}

/// What was taken out of it.
#[derive(Clone)]
struct Taken {
    /// Where it was, by the numbers and names of the whole configuration.
    at: Vec<Token>,
    /// What others may call it.
    name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Item(usize),
    Field(String),
}

impl Rest {
    /// The steps of a path as far as it leads to something, as they are now and as they were, and what is left of it.
    fn follow<'p>(&self, path: &'p str) -> (Vec<Token>, Vec<Token>, &'p str) {
        let (mut now, mut then) = (Vec::new(), Vec::new());
        let (mut value, mut rest) = (Some(&self.config), path);
        while let Some(here) = value.filter(|_| !rest.is_empty()) {
            let fields = here.as_object().into_iter().flatten();
            let Some((step, behind)) = next_step(rest, fields.map(|(name, _)| name.as_str()))
            else {
                break;
            };
            match step {
                Step::Item(index) => {
                    then.push(Token::Item(self.original_index(&then, index)));
                    now.push(Token::Item(index));
                    value = here.get(index);
                }
                Step::Field(name) => {
                    then.push(Token::Field(name.to_owned()));
                    now.push(Token::Field(name.to_owned()));
                    value = here.get(name);
                }
            }
            rest = behind;
        }
        (now, then, rest)
    }

    /// What an item's number was before others were taken out of its list.
    fn original_index(&self, list: &[Token], index: usize) -> usize {
        let gone = self
            .taken
            .iter()
            .filter_map(|taken| match taken.at.split_last() {
                Some((Token::Item(gone), own)) if own == list => Some(*gone),
                _ => None,
            });
        let mut gone: Vec<usize> = gone.collect();
        gone.sort_unstable();
        gone.into_iter()
            .fold(index, |index, gone| match gone <= index {
                true => index.saturating_add(1),
                false => index,
            })
    }

    /// A path by the numbers of the whole configuration.
    fn original_path(&self, path: &str) -> String {
        let (_, then, behind) = self.follow(path);
        let mut original = String::new();
        for token in then {
            match token {
                Token::Item(index) => original.push_str(&format!("[{index}]")),
                Token::Field(name) if original.is_empty() => original = name,
                Token::Field(name) => original.push_str(&format!(".{name}")),
            }
        }
        original + behind
    }

    /// A rule of which the entries beside the one that breaks it have their numbers in the whole configuration.
    fn original_rule(&self, error: &ConfigError) -> String {
        let (now, then, _) = self.follow(error.path());
        let mut rule = error.rule().to_owned();
        for depth in (1..now.len()).rev() {
            let (Some(Token::Item(_)), Some(Token::Field(list))) =
                (now.get(depth), now.get(depth.saturating_sub(1)))
            else {
                continue;
            };
            let own = then.get(..depth).unwrap_or_default();
            let mark = format!("{list}[");
            let mut parts = rule.split(&mark);
            let mut renumbered = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let (number, behind) = part.split_once(']').unwrap_or((part, ""));
                let number = number
                    .parse()
                    .ok()
                    .map(|number| self.original_index(own, number));
                match number {
                    Some(number) => renumbered.push_str(&format!("{list}[{number}]{behind}")),
                    None => renumbered.push_str(&format!("{list}[{part}")),
                }
            }
            rule = renumbered;
        }
        rule
    }

    /// Whether something is wrong only since something else was taken out.
    fn brings_about(&self, error: &ConfigError) -> bool {
        /// What goes by what there is in a list.
        const GO_BY: [(&str, &str); 5] = [
            ("limits", "claim_headers"),
            ("limits", "usage"),
            ("limits", "log"),
            ("limits", "capacity"),
            ("keys", "algorithms"),
        ];
        let (now, then, _) = self.follow(error.path());
        let is_field = |token: &Token, name: &str| *token == Token::Field(name.to_owned());
        let meant = at(&self.config, &now).and_then(Value::as_str);
        self.taken.iter().any(|taken| {
            let is_meant = taken.name.as_deref().is_some_and(|name| {
                meant == Some(name) || error.rule().contains(&format!("{name:?}"))
            });
            let mut lists = taken.at.iter().filter_map(|token| match token {
                Token::Field(name) => Some(name.as_str()),
                Token::Item(_) => None,
            });
            let is_around = taken.at.starts_with(&then);
            is_meant
                || is_around
                || lists.any(|list| {
                    let mut go_by = GO_BY.iter().filter(|(of, _)| *of == list);
                    go_by.any(|(_, field)| now.iter().any(|token| is_field(token, field)))
                })
        })
    }

    /// The same without what breaks the rule: the item that it stands in, first the innermost; then the field; of `edge` the
    /// whole part.
    fn repairs(&self, filter: &Filter, path: &str) -> Vec<Self> {
        let (now, then, _) = self.follow(path);
        let depths = || (1..=now.len()).rev();
        let is_item = |depth: &usize| {
            let (own, list) = (now.get(depth.saturating_sub(1)), depth.checked_sub(2));
            let list = list.and_then(|list| now.get(list));
            let is_named = list.is_some_and(|list| *list == Token::Field("providers".to_owned()));
            is_named || matches!(own, Some(Token::Item(_)))
        };
        let items = depths().filter(is_item);
        let fields = depths().filter(|depth| !is_item(depth));
        let without = items.chain(fields).flat_map(|depth| {
            let other = self.with_another_provider(&now, depth);
            other.into_iter().chain(self.without(&now, &then, depth))
        });
        let mut repairs: Vec<Self> = without.collect();
        let is_of_jwt_auth = now.first() == Some(&Token::Field(JwtAuth::NAME.to_owned()));
        if filter.name == Edge::NAME && is_of_jwt_auth {
            // The other parts go by its being there.
            let mut config = self.config.clone();
            if let Some(part) = config.get_mut(JwtAuth::NAME) {
                *part = some_jwt_auth();
                let taken = self.taken.clone();
                let at = repairs.len().saturating_sub(1);
                repairs.insert(at, Self { config, taken });
            }
        }
        repairs
    }

    /// The same with a provider in the place of this one that is right, and has its name: rules go by that. First with as
    /// little of it changed as may do.
    fn with_another_provider(&self, now: &[Token], depth: usize) -> Vec<Self> {
        let own = now.get(..depth).unwrap_or_default();
        let [.., Token::Field(providers), Token::Field(name)] = own else {
            return Vec::new();
        };
        let right = some_provider(name);
        let with = |fields: &[&str]| {
            let mut config = self.config.clone();
            let provider = at_mut(&mut config, own)?.as_object_mut()?;
            for field in fields {
                provider.insert((*field).to_owned(), right.get(*field)?.clone());
            }
            let taken = self.taken.clone();
            Some(Self { config, taken })
        };
        let all = [
            &["keys", "algorithms"][..],
            &["keys", "algorithms", "issuer", "audiences"],
        ];
        let all = all.into_iter().filter(|_| providers == "providers");
        all.filter_map(with).collect()
    }

    fn without(&self, now: &[Token], then: &[Token], depth: usize) -> Option<Self> {
        let (last, parent) = now.get(..depth)?.split_last()?;
        let mut config = self.config.clone();
        let list = at_mut(&mut config, parent)?;
        let (gone, called) = match last {
            // Without it an entry is for all requests, and leaves nothing to those behind it.
            Token::Field(name) if name == "match" => return None,
            Token::Field(name) => (list.as_object_mut()?.remove(name)?, Some(name.clone())),
            Token::Item(index) => {
                let items = list.as_array_mut()?;
                (*index < items.len()).then_some(())?;
                (items.remove(*index), None)
            }
        };
        let said = |name: &str| gone.get(name).and_then(Value::as_str).map(str::to_owned);
        let name = said("name").or_else(|| said("id"));
        let name = name.or_else(|| gone.as_str().map(str::to_owned)).or(called);
        let mut taken = self.taken.clone();
        taken.push(Taken {
            at: then.get(..depth)?.to_vec(),
            name,
        });
        Some(Self { config, taken })
    }
}

fn at<'a>(config: &'a Value, tokens: &[Token]) -> Option<&'a Value> {
    tokens.iter().try_fold(config, |value, token| match token {
        Token::Item(index) => value.get(*index),
        Token::Field(name) => value.get(name),
    })
}

fn at_mut<'a>(config: &'a mut Value, tokens: &[Token]) -> Option<&'a mut Value> {
    tokens.iter().try_fold(config, |value, token| match token {
        Token::Item(index) => value.get_mut(*index),
        Token::Field(name) => value.get_mut(name),
    })
}

/// A `jwt_auth` that is right.
fn some_jwt_auth() -> Value {
    json!({
        "providers": { "some": some_provider("some") },
        "rules": [{ "require": { "any_of": ["some"] } }]
    })
}

/// A provider that is right, and like no other.
fn some_provider(name: &str) -> Value {
    json!({
        "issuer": format!("https://{name}.portcullis.invalid"),
        "audiences": ["some"],
        "algorithms": ["HS256"],
        "keys": [{ "secret": { "value": "0123456789abcdef0123456789abcdef" } }]
    })
}

#[cfg(test)]
mod tests;
