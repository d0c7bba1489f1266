//! Limits that several gateways share: what of them is withdrawn from an engine, by whichever worker comes by.
//!
//! ```text
//! request ─ lease in shared data: enough is held ────────────────────────────► it passes
//!              │ little is left, or it is not known what is (a wish, in shared data)
//!              ▼
//! tick, or a request that waits ─ next_call: takes all wishes, withdraws for them with one call
//!              │
//! call's end ─ learn: puts what was granted into the leases; else the engine is away
//! ```
//!
//! The engine counts what is withdrawn, and a gateway admits what it holds: so all gateways together admit no more than the quota.

mod engine;
mod metrics;
mod wishes;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use portcullis_policy::config::ConfigError;
use portcullis_policy::{
    CallId, CallReply, Entropy, HttpCall, LogLine, Ports, Setup, SlotError, Span, Timestamp,
};

use crate::NAME;
use crate::config::{EngineAway, EngineName, FirstRequest, GlobalConfig};
use crate::key::{EngineKey, Fingerprint, HashKey};
use crate::limit::Limit;
use crate::quota::{Spending, Unspent};
use crate::sizing::Sizing;
use crate::terms::{Lending, Terms};

pub(crate) use wishes::{Health, Placed};

use engine::{Asked, Engine, Item, Unread};
use metrics::EngineMetrics;
use wishes::{Wish, Wishes};

/// The first of the calls' names; those below it are another plugin's.
const FIRST_CALL: u32 = 1 << 16;

/// What a worker calls what it wishes for, where another instance makes the calls.
const WISH: CallId = CallId(FIRST_CALL - 1);

/// Calls of a worker's that are under way at a time.
const MOST_CALLS: usize = 8;

/// Leases that a worker looks after, to give back what is not spent of them.
const MOST_KEPT: usize = 4_096;

/// After so long without a request what is left of a lease goes back.
const IDLE: Span = Span::from_secs(1);

/// What is withdrawn, and from whom.
#[derive(Debug)]
pub(crate) struct Global {
    engine: Engine,
    config: GlobalConfig,
    pub(crate) sizing: Sizing,
    gives_back: bool,
    wishes: Wishes,
    under_way: RefCell<Vec<UnderWay>>,
    next_call: Cell<u32>,
    /// Whether a request of this worker's waits for a call that was not made yet.
    is_urgent: Cell<bool>,
    /// Whether something was wished for that whoever makes the calls was not told of.
    wanted: Cell<bool>,
    kept: RefCell<VecDeque<Kept>>,
    giving_back: RefCell<Vec<GivenBack>>,
    metrics: EngineMetrics,
}

/// A call that is under way.
#[derive(Debug)]
struct UnderWay {
    call: CallId,
    asked_at: Timestamp,
    wishes: Vec<Wish>,
    /// Of each key that it is about, in its order; those of wishes first.
    items: Vec<(Terms, Spending, u32)>,
}

/// A lease that was withdrawn, and may not be spent.
#[derive(Clone, Copy, Debug)]
struct Kept {
    limit: u64,
    key: EngineKey,
    /// When it is looked at.
    at: Timestamp,
    asked_at: Timestamp,
    spent: u32,
}

/// What goes back.
#[derive(Clone, Copy, Debug)]
struct GivenBack {
    limit: u64,
    key: EngineKey,
    unspent: Unspent,
}

impl Global {
    /// `config`: one that was [checked](GlobalConfig::check).
    pub(crate) fn new(config: &GlobalConfig, setup: &mut Setup<'_>) -> Result<Self, ConfigError> {
        if let Some(why) = Engine::unfit(config.engine, setup) {
            return Err(ConfigError::at("engine", why));
        }
        if config.first_request == FirstRequest::Wait && !setup.abilities.holds_requests {
            let rule = "this gateway can't hold a request; expected `admit`";
            return Err(ConfigError::at("first_request", rule));
        }
        let domain = config.domain.as_str();
        let lease = &config.lease;
        let takes_back = config.engine == EngineName::Redis;
        Ok(Self {
            engine: Engine::new(config.engine, domain),
            sizing: Sizing {
                share: lease.share.millionths(),
                at_least: lease.at_least.get(),
                at_most: lease.at_most.get(),
            },
            gives_back: lease.return_unspent.unwrap_or(takes_back),
            wishes: Wishes::new(&slot_name(domain), config.timeout.span()),
            under_way: RefCell::default(),
            next_call: Cell::new(0),
            is_urgent: Cell::new(false),
            wanted: Cell::new(false),
            kept: RefCell::default(),
            giving_back: RefCell::default(),
            metrics: EngineMetrics::announce(setup.metrics),
            config: config.clone(),
        })
    }

    /// Whether a request waits for what is not known.
    pub(crate) fn waits(&self) -> bool {
        self.config.first_request == FirstRequest::Wait
    }

    /// For how long a request waits at most.
    pub(crate) fn longest_wait(&self) -> Span {
        self.config.timeout.span()
    }

    /// What is the same for all limits that it counts.
    pub(crate) fn lending(&self) -> Lending {
        Lending {
            engine: self.config.engine,
            waits: self.waits(),
            sizing: self.sizing,
            local_share: self.config.local_share(),
        }
    }

    /// What becomes of requests while the engine is away.
    pub(crate) const fn on_error(&self) -> EngineAway {
        self.config.on_error
    }

    /// Lays out what workers share.
    pub(crate) fn lay_out(&self, ports: &Ports<'_>) -> Result<(), SlotError> {
        self.wishes.lay_out(ports.store)
    }

    /// The key of shared data that it uses.
    pub(crate) fn slot_name(&self) -> &str {
        self.wishes.slot_name()
    }

    /// Wishes for more of a key's quota. `need`: what a request waits for; 0 where none does; `parts`: the wishes that it is a
    /// part of already.
    pub(crate) fn wish(
        &self,
        limit: u64,
        key: EngineKey,
        need: u32,
        parts: &[u32],
        ports: &Ports<'_>,
    ) -> Result<Placed, SlotError> {
        let now = ports.clock.monotonic();
        let now = now.map_err(|_| SlotError::Unavailable)?;
        let placed = self
            .wishes
            .place(ports.store, limit, key, need, parts, now)?;
        if placed.is_new {
            self.wanted.set(true);
            if need > 0 && placed.health == Health::There {
                self.is_urgent.set(true);
            }
        }
        Ok(placed)
    }

    /// How the engine is.
    pub(crate) fn health(&self, ports: &Ports<'_>) -> Result<Health, SlotError> {
        self.wishes.health(ports.store)
    }

    /// Whether a request waits for a call that was not made yet.
    pub(crate) const fn is_urgent(&self) -> bool {
        self.is_urgent.get()
    }

    /// What whoever makes the calls was not told of.
    pub(crate) fn take_wanted(&self) -> Vec<CallId> {
        match self.wanted.replace(false) {
            true => vec![WISH],
            false => Vec::new(),
        }
    }

    /// Whether that is such a wish, which is then made at once.
    pub(crate) fn want(&self, call: CallId) {
        if call == WISH {
            self.is_urgent.set(true);
        }
    }

    /// Whether that is one of its calls.
    pub(crate) const fn made(call: CallId) -> bool {
        call.0 >= FIRST_CALL
    }

    /// The call that is due.
    pub(crate) fn next_call(
        &self,
        limits: &[Limit],
        hash_key: &HashKey,
        ports: &Ports<'_>,
    ) -> Option<(CallId, HttpCall)> {
        self.is_urgent.set(false);
        if self.under_way.try_borrow().ok()?.len() >= MOST_CALLS {
            return None;
        }
        let asked_at = ports.clock.monotonic().ok()?;
        let most = self.engine.most_per_call();
        let knows = |limit: u64| leased(limits, limit).is_some();
        let wishes = self.wishes.take(ports.store, most, knows, asked_at).ok()?;
        let mut items = Vec::with_capacity(wishes.len());
        for wish in &wishes {
            let Some(limit) = leased(limits, wish.limit) else {
                continue;
            };
            let key = Fingerprint::of_engine_key(wish.key, hash_key);
            let spending = limit.spending(key, ports).unwrap_or_default();
            items.push(Item {
                terms: limit.terms()?,
                key: wish.key,
                need: wish.need,
                spending,
                back: None,
            });
        }
        let room = most.saturating_sub(items.len());
        for given in self.take_given_back(room) {
            let limit = leased(limits, given.limit);
            if let Some(terms) = limit.and_then(Limit::terms) {
                items.push(Item {
                    terms,
                    key: given.key,
                    need: 0,
                    spending: Spending::default(),
                    back: Some(given.unspent),
                });
            }
        }
        if items.is_empty() {
            return None;
        }
        let domain = self.config.domain.as_str();
        let asked = self
            .engine
            .ask(domain, &items, &self.sizing, nonce(ports.entropy, asked_at));
        let Asked {
            path,
            headers,
            body,
            wanted,
        } = asked;
        let items = items.iter().zip(wanted);
        let items = items.map(|(item, wanted)| (item.terms.clone(), item.spending, wanted));
        let call = CallId(FIRST_CALL.saturating_add(self.next_call.get()));
        self.next_call
            .set(self.next_call.get().wrapping_add(1) & 0xffff);
        let under_way = UnderWay {
            call,
            asked_at,
            wishes,
            items: items.collect(),
        };
        self.under_way.try_borrow_mut().ok()?.push(under_way);
        ports.telemetry.count(self.metrics.calls);
        let http_call = HttpCall {
            method: "POST",
            upstream: self.config.upstream.as_str().to_owned(),
            scheme: self.config.scheme.as_str(),
            authority: self.config.authority.as_str().to_owned(),
            path,
            headers,
            body,
            timeout: self.config.timeout.span(),
        };
        Some((call, http_call))
    }

    /// A call has ended.
    pub(crate) fn on_call_end(
        &self,
        call: CallId,
        reply: &dyn CallReply,
        limits: &[Limit],
        hash_key: &HashKey,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        let Some(ended) = self.take_under_way(call) else {
            return Ok(());
        };
        let now = ports.clock.monotonic();
        let now = now.map_err(|_| SlotError::Unavailable)?;
        let told = match self.engine.read(&ended.items, reply) {
            Ok(told) => told,
            Err(Unread::Again) => {
                self.is_urgent.set(true);
                return self.wishes.free(ports.store, &ended.wishes);
            }
            Err(Unread::Failed(why)) => {
                ports.telemetry.count(self.metrics.failed);
                let wishes = &ended.wishes;
                let before = self.wishes.ended(ports.store, wishes, false, now)?;
                if before == Health::There {
                    let why = if reply.has_no_upstream() {
                        "no_upstream"
                    } else {
                        why
                    };
                    let line = LogLine::new(NAME, "engine_away").with("reason", why);
                    ports.telemetry.log(line);
                }
                return Ok(());
            }
        };
        let mut outcome = Ok(());
        for ((wish, told), (_, _, wanted)) in ended.wishes.iter().zip(&told).zip(&ended.items) {
            let Some(limit) = leased(limits, wish.limit) else {
                continue;
            };
            let key = Fingerprint::of_engine_key(wish.key, hash_key);
            match limit.learn(key, told, ended.asked_at, now, ports) {
                Ok(()) => limit.count_lease(told, *wanted, ports),
                Err(error) => outcome = Err(error),
            }
            if self.gives_back && told.granted > 0 {
                self.keep(Kept {
                    limit: wish.limit,
                    key: wish.key,
                    at: now.after(IDLE),
                    asked_at: ended.asked_at,
                    spent: 0,
                });
            }
        }
        let before = self.wishes.ended(ports.store, &ended.wishes, true, now)?;
        if before == Health::Away {
            ports.telemetry.log(LogLine::new(NAME, "engine_back"));
        }
        outcome
    }

    /// Takes out of leases what nobody has spent for a while.
    pub(crate) fn on_tick(
        &self,
        limits: &[Limit],
        hash_key: &HashKey,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        /// Leases that are looked at with a tick.
        const MOST: usize = 64;
        let Ok(now) = ports.clock.monotonic() else {
            return Ok(());
        };
        let mut outcome = Ok(());
        for _ in 0..MOST {
            let Some(kept) = self.take_due(now) else {
                break;
            };
            let Some(limit) = leased(limits, kept.limit) else {
                continue;
            };
            let key = Fingerprint::of_engine_key(kept.key, hash_key);
            let spending = match limit.spending(key, ports) {
                Ok(spending) => spending,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            // A later lease has been looked after since.
            let asked_before = spending.since.map(|since| now.before(since));
            if asked_before != Some(kept.asked_at) || spending.held == 0 {
                continue;
            }
            if spending.spent != kept.spent {
                self.keep(Kept {
                    at: now.after(IDLE),
                    spent: spending.spent,
                    ..kept
                });
                continue;
            }
            match limit.take_unspent(key, kept.asked_at, kept.spent, now, ports) {
                Ok(Some(unspent)) => {
                    limit.count_returned(unspent.units, ports);
                    if let Ok(mut giving_back) = self.giving_back.try_borrow_mut() {
                        giving_back.push(GivenBack {
                            limit: kept.limit,
                            key: kept.key,
                            unspent,
                        });
                    }
                }
                Ok(None) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Tells in a metric how the engine is.
    pub(crate) fn show_health(&self, ports: &Ports<'_>) -> Result<(), SlotError> {
        let health = self.health(ports)?;
        self.metrics.show(health == Health::Away, ports);
        Ok(())
    }

    /// Counts a request that was decided on without the engine.
    pub(crate) fn count_without(&self, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.without);
    }

    fn take_under_way(&self, call: CallId) -> Option<UnderWay> {
        let mut calls = self.under_way.try_borrow_mut().ok()?;
        let at = calls.iter().position(|known| known.call == call)?;
        Some(calls.swap_remove(at))
    }

    fn keep(&self, kept: Kept) {
        if let Ok(mut all) = self.kept.try_borrow_mut()
            && all.len() < MOST_KEPT
        {
            all.push_back(kept);
        }
    }

    /// The next lease that is to be looked at by now: all are kept for as long.
    fn take_due(&self, now: Timestamp) -> Option<Kept> {
        let mut kept = self.kept.try_borrow_mut().ok()?;
        kept.pop_front_if(|first| first.at <= now)
    }

    fn take_given_back(&self, most: usize) -> Vec<GivenBack> {
        let Ok(mut all) = self.giving_back.try_borrow_mut() else {
            return Vec::new();
        };
        let rest = all.len().saturating_sub(most);
        all.split_off(rest)
    }
}

/// The limit of that name's hash, if it is withdrawn from the engine.
fn leased(limits: &[Limit], hash: u64) -> Option<&Limit> {
    limits.iter().find(|limit| limit.leased_as() == Some(hash))
}

fn slot_name(domain: &str) -> String {
    format!("portcullis/rate_limit/wishes/{domain}")
}

/// What no other call has. Where random bytes are weak or absent the time makes it rarer that two are alike: then what comes back
/// with the second is lost.
fn nonce(entropy: &dyn Entropy, now: Timestamp) -> u64 {
    let mut drawn = [0; 8];
    let _ = entropy.fill(&mut drawn);
    u64::from_le_bytes(drawn) ^ now.unix_nanos()
}
