//! What engines are asked, each in its own protocol, and what they answer.

mod limitador;
mod redis;
mod rls;

use portcullis_policy::{CallReply, Setup, Span};

use crate::config::EngineName;
use crate::key::EngineKey;
use crate::quota::{Spending, Told, Unspent};
use crate::sizing::Sizing;
use crate::terms::Terms;

pub(crate) use redis::Redis;

/// An engine.
#[derive(Debug)]
pub(crate) enum Engine {
    Redis(Redis),
    RateLimitService,
    Limitador,
}

/// What is asked about a key.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) terms: &'a Terms,
    pub(crate) key: EngineKey,
    /// What requests wait for.
    pub(crate) need: u32,
    pub(crate) spending: Spending,
    /// What comes back.
    pub(crate) back: Option<Unspent>,
}

/// What a call consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    /// What was asked for of each item.
    pub(crate) wanted: Vec<u32>,
}

/// Why an answer is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// A fixed word for the log.
    Failed(&'static str),
    /// It is to be asked once more.
    Again,
}

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

impl Engine {
    pub(crate) fn new(name: EngineName, domain: &str) -> Self {
        match name {
            EngineName::Redis => Self::Redis(Redis::new(domain)),
            EngineName::EnvoyRls => Self::RateLimitService,
            EngineName::Limitador => Self::Limitador,
        }
    }

    /// Why this gateway can't ask it.
    pub(crate) fn unfit(name: EngineName, setup: &Setup<'_>) -> Option<&'static str> {
        let needs_http2 = name == EngineName::EnvoyRls;
        (needs_http2 && !setup.abilities.calls_http2)
            .then_some("this gateway makes no gRPC calls; expected `redis` or `limitador`")
    }

    /// How many keys a call is about at most.
    pub(crate) const fn most_per_call(&self) -> usize {
        match self {
            Self::Redis(_) => 64,
            Self::RateLimitService | Self::Limitador => 1,
        }
    }

    /// Asks about these keys. `nonce`: what no other call has.
    pub(crate) fn ask(
        &self,
        domain: &str,
        items: &[Item<'_>],
        sizing: &Sizing,
        nonce: u64,
    ) -> Asked {
        match (self, items.first()) {
            (Self::Redis(redis), _) => redis.ask(items, sizing, nonce),
            (Self::RateLimitService, Some(item)) => rls::ask(domain, item, sizing),
            (Self::Limitador, Some(item)) => limitador::ask(domain, item, sizing),
            (Self::RateLimitService | Self::Limitador, None) => Asked::default(),
        }
    }

    /// Reads what it answered: of each item in its order.
    pub(crate) fn read(
        &self,
        items: &[(Terms, Spending, u32)],
        reply: &dyn CallReply,
    ) -> Result<Vec<Told>, Unread> {
        let status = reply.status().ok_or(Unread::Failed("no_answer"))?;
        match (self, items.first()) {
            (Self::Redis(redis), _) => redis.read(items, status, reply),
            (Self::RateLimitService, Some(item)) => {
                rls::read(item, status, reply).map(|told| vec![told])
            }
            (Self::Limitador, Some(item)) => {
                limitador::read(item, status, reply).map(|told| vec![told])
            }
            (Self::RateLimitService | Self::Limitador, None) => Ok(Vec::new()),
        }
    }
}

/// What an engine says that gives all or nothing. `reset`: time until its window ends, as far as it says.
fn told_whole(
    terms: &Terms,
    spending: &Spending,
    asked: u32,
    granted: bool,
    left: Option<u32>,
    reset: Option<Span>,
) -> Told {
    /// What is held at a window's end is good for so long, since engines tell whole seconds.
    const SHORTEST: Span = Span::from_millis(250);
    const UNKNOWN: Span = Span::from_secs(1);
    let second = Span::from_secs(1).as_nanos();
    let good_for = match reset {
        None => UNKNOWN.min(terms.window),
        Some(reset) => Span::from_nanos(reset.as_nanos().saturating_sub(second)).max(SHORTEST),
    };
    let reset = reset.unwrap_or(terms.window);
    let known = Told {
        good_for,
        reset,
        none_for: reset,
        spent: spending.spent,
        ..Told::default()
    };
    match granted {
        true => Told {
            granted: asked,
            left: left.unwrap_or(terms.quota),
            settled: spending.debt,
            ..known
        },
        false => Told { left: 0, ..known },
    }
}
