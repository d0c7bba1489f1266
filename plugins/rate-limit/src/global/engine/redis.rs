//! Redis, behind Webdis: one script, which withdraws from many keys at a time.
//!
//! It is run by its hash (`EVALSHA`), and sent whole (`EVAL`) once a server does not know it: after its start, or `SCRIPT FLUSH`.
//! All keys have one hash tag, `{domain}`, so that in Redis Cluster they lie on one node, as a script wants it.

use std::cell::Cell;
use std::fmt::Write as _;

use portcullis_policy::{CallReply, Span};
use serde::Deserialize;

use super::{Asked, Item, LONGEST_ANSWER, Unread};
use crate::quota::{Spending, Told};
use crate::sizing::Sizing;
use crate::terms::{Method, Terms};

/// What withdraws.
pub(crate) const SCRIPT: &str = include_str!("script.lua");

/// Its SHA-1, by which Redis knows it.
const SCRIPT_SHA1: &str = "2c6e3d61d0e3049b7680e7a6189db3694bf9c131";

/// Redis.
#[derive(Debug)]
pub(crate) struct Redis {
    /// What its keys begin with.
    prefix: String,
    /// Whether it is sent the script.
    sends_script: Cell<bool>,
}

/// The reply to a command, which Webdis calls by the command.
#[derive(Deserialize)]
struct Reply {
    #[serde(alias = "EVALSHA", alias = "EVAL")]
    reply: Values,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Numbers(Vec<u64>),
    Error(#[expect(dead_code, reason = "always false")] bool, String),
}

/// Numbers that the script gives of each key.
const TOLD: usize = 5;

impl Redis {
    pub(crate) fn new(domain: &str) -> Self {
        Self {
            prefix: format!("portcullis:{{{domain}}}:"),
            sends_script: Cell::new(false),
        }
    }

    pub(super) fn ask(&self, items: &[Item<'_>], sizing: &Sizing, nonce: u64) -> Asked {
        let mut words: Vec<String> = Vec::new();
        match self.sends_script.get() {
            true => words.extend(["EVAL".to_owned(), SCRIPT.to_owned()]),
            false => words.extend(["EVALSHA".to_owned(), SCRIPT_SHA1.to_owned()]),
        }
        let gives_back = items.iter().any(|item| item.back.is_some());
        let keys = items.len().saturating_add(gives_back.into());
        words.push(keys.to_string());
        let prefix = &self.prefix;
        words.extend(items.iter().map(|item| {
            let (kind, limit) = (kind(item.terms), &item.terms.limit);
            format!("{prefix}{limit}:{kind}:{}", item.key.hex())
        }));
        if gives_back {
            words.push(format!("{prefix}call:{nonce:016x}"));
        }
        words.push(items.len().to_string());
        let mut wanted = Vec::with_capacity(items.len());
        for item in items {
            let terms = item.terms;
            // What only comes back is not asked for.
            let (want, least) = match item.back {
                Some(_) => (0, 0),
                None => {
                    let ask = sizing.ask(terms.quota, item.need, &item.spending);
                    (ask.want, ask.least)
                }
            };
            let capacity = match terms.method {
                Method::Window => terms.quota,
                Method::Bucket { capacity, .. } => capacity,
            };
            let (back, mark) = item.back.map_or((0, 0), |back| (back.units, back.mark));
            words.push(kind(terms).to_owned());
            let numbers = [
                u64::from(terms.quota),
                terms.window.as_millis(),
                capacity.into(),
                want.into(),
                least.into(),
                sizing.share.into(),
                item.spending.debt.into(),
                back.into(),
                mark,
            ];
            words.extend(numbers.iter().map(ToString::to_string));
            wanted.push(want);
        }
        Asked {
            path: "/".to_owned(),
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            body: command(&words),
            wanted,
        }
    }

    pub(super) fn read(
        &self,
        items: &[(Terms, Spending, u32)],
        status: u16,
        reply: &dyn CallReply,
    ) -> Result<Vec<Told>, Unread> {
        if status != 200 {
            return Err(Unread::Failed("status"));
        }
        let body = reply.body(LONGEST_ANSWER);
        let body = body.map_err(|_| Unread::Failed("body"))?;
        let Ok(Reply { reply }) = serde_json::from_slice(&body) else {
            return Err(Unread::Failed("not_understood"));
        };
        let numbers = match reply {
            Values::Numbers(numbers) => numbers,
            Values::Error(_, error)
                if error.starts_with("NOSCRIPT") && !self.sends_script.get() =>
            {
                self.sends_script.set(true);
                return Err(Unread::Again);
            }
            Values::Error(..) => return Err(Unread::Failed("refused")),
        };
        self.sends_script.set(false);
        let (told, rest) = numbers.as_chunks::<TOLD>();
        if told.len() != items.len() || !rest.is_empty() {
            return Err(Unread::Failed("not_understood"));
        }
        let told = told.iter().zip(items);
        let told = told.map(
            |([granted, left, reset, none, mark], (terms, spending, _))| {
                let number = |number: &u64| u32::try_from(*number).unwrap_or(u32::MAX);
                let reset = Span::from_millis(*reset);
                Told {
                    granted: number(granted),
                    good_for: match terms.method {
                        Method::Window => reset,
                        Method::Bucket { lease, .. } => lease,
                    },
                    left: number(left),
                    reset,
                    none_for: Span::from_millis(*none),
                    settled: spending.debt,
                    spent: spending.spent,
                    mark: *mark,
                }
            },
        );
        Ok(told.collect())
    }
}

/// As the script calls it.
const fn kind(terms: &Terms) -> &'static str {
    match terms.method {
        Method::Window => "w",
        Method::Bucket { .. } => "b",
    }
}

/// A command as Webdis takes it: its words, escaped, between slashes.
fn command(words: &[String]) -> Vec<u8> {
    let mut command = String::new();
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            command.push('/');
        }
        for byte in word.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_:".contains(&byte) {
                command.push(byte.into());
            } else {
                let _ = write!(command, "%{byte:02X}");
            }
        }
    }
    command.into_bytes()
}
