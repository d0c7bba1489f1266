//! One limit as it is configured: whom it counts, and what it charges.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;

use portcullis_policy::config::{ConfigError, Fallback, IfAmbiguous, Match, Mode, check_reached};
use portcullis_policy::{
    ClientAddress, ClockUnavailable, Counter, Failure, GrpcStatus, LogLine, Ports, Problem,
    Request, Setup, SlotError, Span, Timestamp,
};
use portcullis_usage::Counts;
use serde_json::{Map, Value};

use crate::NAME;
use crate::answer::{How, Used};
use crate::body::{Places, Said};
use crate::bucket::Charged;
use crate::busiest::Busiest;
use crate::config::{CostConfig, LimitConfig, Scope, WhenUnserved};
use crate::cost::{Price, Pricing, Reserved, Tokens, Unpriced, check_cost};
use crate::failure::ADDRESS;
use crate::headers::Allowance;
use crate::key::{EngineKey, Fingerprint, HashKey, KeyPart, NoKey, Source, WhenKeyMissing, label};
use crate::leased::Leased;
use crate::permits::{Permit, Permits};
use crate::quota::{Decision, Need, Quota, Rate};
use crate::range::Placed;
use crate::refusal::refusal;
use crate::rewrite::Target;
use crate::table::{Asked, Plan, Table};
use crate::terms::Lending;

/// What is the same for all limits.
#[derive(Clone, Copy)]
pub(crate) struct All<'a> {
    /// The mode of all together: the weaker of this and a limit's own holds.
    pub(crate) mode: Mode,
    /// Whether there is somebody who can ask for the busiest keys.
    pub(crate) keeps_busiest: bool,
    /// Names for models that tokens are counted by.
    pub(crate) models: &'a [&'a str],
    /// Who counts those that several gateways share.
    pub(crate) lending: Option<Lending>,
}

/// One limit.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) mode: Mode,
    pub(crate) before_auth: bool,
    pub(crate) name: String,
    matches: Match,
    pub(crate) key: Vec<KeyPart>,
    /// The first that matches says what a request costs.
    costs: Vec<(Match, u32)>,
    cost: Pricing,
    /// The statuses of answers that leave a request charged; `None`: whatever becomes of it.
    when_answered: Option<Vec<u16>>,
    window_secs: u64,
    when_key_missing: WhenKeyMissing,
    pub(crate) when_unserved: WhenUnserved,
    table: Table,
    /// Where an engine counts it for several gateways.
    pub(crate) leased: Option<Leased>,
    /// Kept where there is somebody who can ask for it.
    pub(crate) busiest: Option<Busiest>,
    metrics: Metrics,
    /// Of requests at a time: those of this worker.
    pub(crate) permits: Option<Permits>,
    /// Whether the log has said that requests are skipped.
    reported_skipped: Cell<bool>,
    /// Where requests go for which nothing is left.
    pub(crate) on_exceeded: Option<Fallback>,
}

#[derive(Debug)]
struct Metrics {
    allowed: Counter,
    limited: Counter,
    shadow_limited: Counter,
    skipped: Counter,
    evictions: Counter,
    /// Where requests go elsewhere that would be refused.
    elsewhere: Option<Counter>,
    tokens: Option<TokenMetrics>,
}

/// Of a limit whose requests are settled by what they use.
#[derive(Debug)]
struct TokenMetrics {
    input: Counter,
    cached: Counter,
    output: Counter,
    /// Requests whose answers did not say all of it.
    estimated: Counter,
    /// Requests of whose answers nothing could be read: they stay charged as they were.
    unreadable: Counter,
    /// Tokens of prompts and of answers, by the model that requests want: those that are named, and then all others.
    by_model: Vec<(Counter, Counter)>,
}

/// What a request was charged, or found exhausted.
#[derive(Debug)]
pub(crate) struct Charge {
    asked: Asked,
    engine_key: Option<EngineKey>,
    counted: Counted,
    charged: Charged,
    /// Whether it was given back: since the request was not served, or has ended.
    returned: bool,
    /// What it holds while it lives, where requests at a time are counted.
    permit: Option<Rc<Permit>>,
    /// What it was charged for, until it is known what it used.
    reserved: Option<Reserved>,
}

/// A request as a limit looked at it, not charged yet.
#[derive(Debug)]
pub(crate) struct Look {
    asked: Asked,
    engine_key: Option<EngineKey>,
    counted: Counted,
    plan: Plan,
    reserved: Option<Reserved>,
}

/// Where a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Where the limit says.
    Ordinarily,
    /// By this gateway alone, since the engine is away.
    Alone,
}

/// Under what a limit counts a request.
#[derive(Debug)]
pub(crate) enum Keyed {
    /// It does not count it.
    Skipped,
    /// It refuses it, for this reason.
    Refused(Unasked),
    Under(Demand),
}

/// Why a request is refused before it is asked what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// It has no key.
    NoKey(NoKey),
    /// It is not to be said what it takes.
    Unpriced(Unpriced),
}

/// What a request asks of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    key: Fingerprint,
    /// What the engine knows the key by, where one counts it.
    engine_key: Option<EngineKey>,
    price: Price,
}

impl Demand {
    /// What the engine knows the key by, where one counts it.
    pub(crate) const fn engine_key(&self) -> Option<EngineKey> {
        self.engine_key
    }

    /// What it takes.
    pub(crate) const fn cost(&self) -> u32 {
        self.price.cost
    }
}

/// What is counted under a key.
#[derive(Debug)]
pub(crate) struct Found {
    /// Whether something is that still limits.
    pub(crate) is_counted: bool,
    /// What is left, and how long an ordinary request would have to wait.
    pub(crate) left: Decision,
}

impl Charge {
    /// What the engine knows its key by, where it was counted by one.
    pub(crate) fn engine_key(&self) -> Option<EngineKey> {
        self.engine_key
            .filter(|_| self.counted == Counted::Ordinarily)
    }

    /// Under what it was asked for.
    pub(crate) const fn key(&self) -> Fingerprint {
        self.asked.key
    }

    pub(crate) const fn is_admitted(&self) -> bool {
        self.charged.decision.charged.is_some()
    }

    /// What the engine is to be asked for.
    pub(crate) const fn need(&self) -> Need {
        self.charged.decision.need
    }

    /// How many tokens each answer of the request may have, where that is fewer than it asks for.
    pub(crate) fn granted(&self) -> Option<NonZeroU32> {
        self.reserved.filter(|_| !self.returned)?.granted
    }

    /// Whether it is to be settled by what the request uses.
    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserved.is_some() && !self.returned
    }
}

impl Look {
    /// Under what it was asked for.
    pub(crate) const fn key(&self) -> Fingerprint {
        self.asked.key
    }

    pub(crate) const fn is_admitted(&self) -> bool {
        self.plan.charged.decision.charged.is_some()
    }

    /// What the engine knows its key by, where one counts it.
    pub(crate) const fn engine_key(&self) -> Option<EngineKey> {
        self.engine_key
    }

    /// Whether it would be refused since nobody knows whether anything is left.
    pub(crate) fn lacks_lease(&self) -> bool {
        !self.is_admitted() && self.plan.charged.decision.need == Need::Known
    }

    /// Whether it is a refusal that has to be written all the same, after a clock was set back.
    pub(crate) const fn is_refusal_to_write(&self) -> bool {
        !self.is_admitted() && self.plan.writes()
    }

    /// What would be charged, without doing so.
    pub(crate) fn uncharged(&self) -> Charge {
        Charge {
            asked: self.asked,
            engine_key: self.engine_key,
            counted: self.counted,
            charged: self.plan.charged.clone(),
            returned: false,
            permit: None,
            reserved: self.reserved,
        }
    }
}

impl Limit {
    pub(crate) fn new(
        config: LimitConfig,
        all: &All<'_>,
        before_auth: bool,
        placed: Placed,
        places: &mut Places,
        setup: &mut Setup<'_>,
    ) -> Result<Self, ConfigError> {
        let own = config.to_quota()?;
        let mode = all.mode.weaker(config.mode);
        let leased = match (config.scope, &all.lending) {
            (Scope::Local, _) => None,
            (Scope::Global, Some(lending)) => {
                let is_waited_for = before_auth && lending.waits;
                if is_waited_for {
                    let rule = "no request waits before_auth; expected `first_request: admit`";
                    return Err(ConfigError::at("scope", rule));
                }
                Some(Leased::new(
                    &config,
                    &own,
                    lending,
                    mode,
                    placed.alone,
                    setup,
                )?)
            }
            (Scope::Global, None) => {
                let rule = "nobody counts it; expected `global` beside the limits";
                return Err(ConfigError::at("scope", rule));
            }
        };
        let quota = leased.as_ref().map_or(own, Leased::quota);
        let key = config.key.into_vec();
        if before_auth && key.iter().any(|part| matches!(part, KeyPart::Claim(_))) {
            return Err(ConfigError::at("key", "a claim is not known before_auth"));
        }
        if config.burst.is_some() && !matches!(own, Quota::TokenBucket(_)) {
            let rule = "it is for `algorithm: token_bucket`";
            return Err(ConfigError::at("burst", rule));
        }
        let window = quota.counting().rate().window;
        let largest_cost = quota.counting().largest_cost();
        let when_answered = config.cost.statuses();
        let cost = Pricing::new(&config.cost, places);
        check_cost(cost.largest(), largest_cost).map_err(|error| error.within("cost"))?;
        check_bodies(&cost, before_auth, setup).map_err(|error| error.within("cost"))?;
        let on_exceeded = config.on_exceeded.as_ref();
        let on_exceeded = on_exceeded.map(|fallback| Fallback::new(fallback, setup));
        let on_exceeded = on_exceeded
            .transpose()
            .map_err(|error| error.within("on_exceeded"))?;
        let metrics = &mut *setup.metrics;
        let mut costs: Vec<(Match, u32)> = Vec::new();
        for (index, CostConfig { r#match, cost }) in config.costs.0.into_iter().enumerate() {
            let before = costs.iter().map(|(before, _)| before);
            check_reached("costs", index, &r#match, before)?;
            let at = format!("costs[{index}].cost");
            costs.push((
                r#match,
                check_cost(cost.get(), largest_cost).map_err(|e| e.within(&at))?,
            ));
        }
        let name = config.name.as_str().to_owned();
        let by_model = cost.tokens().map(|_| {
            let pairs = all.models.iter().map(|model| {
                let mut of = |what: &str| {
                    metrics.counter(format!(
                        "rate_limit_model_{what}.limit.{name}.model.{model}"
                    ))
                };
                (of("input_tokens"), of("output_tokens"))
            });
            pairs.collect::<Vec<_>>()
        });
        let mut counter = |what: &str| metrics.counter(format!("rate_limit_{what}.limit.{name}"));
        let tokens = by_model.map(|by_model| TokenMetrics {
            input: counter("input_tokens"),
            cached: counter("cached_input_tokens"),
            output: counter("output_tokens"),
            estimated: counter("estimated"),
            unreadable: counter("unreadable"),
            by_model,
        });
        Ok(Self {
            mode,
            leased,
            before_auth,
            metrics: Metrics {
                allowed: counter("allowed"),
                limited: counter("limited"),
                shadow_limited: counter("shadow_limited"),
                skipped: counter("skipped"),
                evictions: counter("evictions"),
                elsewhere: on_exceeded.is_some().then(|| counter("elsewhere")),
                tokens,
            },
            name,
            matches: config.matches,
            key,
            busiest: all
                .keeps_busiest
                .then(|| Busiest::new(config.name.as_str(), window)),
            permits: quota.permits().map(|_| Permits::default()),
            table: Table::new(quota, placed.range),
            costs,
            cost,
            when_answered,
            window_secs: match quota.permits() {
                None => window.as_secs_ceil(),
                Some(_) => 0,
            },
            when_key_missing: config.when_key_missing,
            when_unserved: config.when_unserved.unwrap_or_default(),
            reported_skipped: Cell::new(false),
            on_exceeded,
        })
    }

    /// Whether it refuses a request for which nothing is left.
    pub(crate) fn refuses(&self) -> bool {
        self.mode == Mode::Enforce && self.on_exceeded.is_none()
    }

    /// Whether the limit counts this request. A path with two readings is counted: it must not slip
    /// past.
    pub(crate) fn counts(&self, request: &Request<'_>) -> bool {
        self.mode != Mode::Off && self.matches.matches(request, IfAmbiguous::Matches)
    }

    /// Whether a request's body says what it takes.
    pub(crate) fn reads_request(&self, request: &Request<'_>) -> bool {
        self.reads_requests()
            && self.counts(request)
            && (request.path().is_err() || self.overriding(request).next().is_none())
    }

    /// Whether bodies of requests say what they take.
    pub(crate) fn reads_requests(&self) -> bool {
        self.mode != Mode::Off && self.cost.reads_requests()
    }

    /// Whether requests are settled by what they use.
    pub(crate) fn has_tokens(&self) -> bool {
        self.mode != Mode::Off && self.cost.tokens().is_some()
    }

    /// The key of a request, and what the engine knows it by, where one counts it.
    pub(crate) fn fingerprint(
        &self,
        source: &Source<'_, '_>,
        hash_key: &HashKey,
    ) -> Result<(Fingerprint, Option<EngineKey>), NoKey> {
        let when_missing = self.when_key_missing;
        let (name, quota, parts) = (&self.name, &self.table.quota, &self.key);
        match &self.leased {
            None => Fingerprint::of(name, quota, parts, source, hash_key, when_missing)
                .map(|key| (key, None)),
            Some(_) => EngineKey::of(name, quota, parts, source, when_missing)
                .map(|key| (Fingerprint::of_engine_key(key, hash_key), Some(key))),
        }
    }

    /// Under what it counts a request. `said`: what its body says.
    pub(crate) fn key(
        &self,
        source: &Source<'_, '_>,
        said: &Said,
        hash_key: &HashKey,
        ports: &Ports<'_>,
    ) -> Result<Keyed, Failure> {
        let when_missing = self.when_key_missing;
        let key = self.fingerprint(source, hash_key);
        // What is only looked ahead for is counted when it is asked for.
        let is_asked = !matches!(said, Said::NotYet);
        match key {
            Ok(_) if matches!(said, Said::Lost) && self.reads_request(source.request) => {
                Ok(Keyed::Skipped)
            }
            Ok((key, engine_key)) => {
                let price = self.price_of(source.request, said);
                let price = price.and_then(|price| self.affordable(price).ok_or(Unpriced::TooDear));
                let price = match price {
                    Ok(price) => price,
                    Err(why) => return Ok(Keyed::Refused(Unasked::Unpriced(why))),
                };
                if let (Some(busiest), Ok(now), true) = (&self.busiest, ports.clock.now(), is_asked)
                {
                    busiest.asked(key, price.cost, now, || label(&self.key, source));
                }
                Ok(Keyed::Under(Demand {
                    key,
                    engine_key,
                    price,
                }))
            }
            Err(NoKey::AddressUnknown) => Err(ADDRESS),
            Err(NoKey::Missing(part)) if when_missing == WhenKeyMissing::Skip => {
                if is_asked {
                    self.report_skipped(part, source.request, ports);
                }
                Ok(Keyed::Skipped)
            }
            Err(missing) => Ok(Keyed::Refused(Unasked::NoKey(missing))),
        }
    }

    /// A price that something is left for at some time: by granting fewer tokens, where that is to be had.
    fn affordable(&self, price: Price) -> Option<Price> {
        let most = self.table.quota.counting().largest_cost();
        if price.cost <= most {
            return Some(price);
        }
        let tokens = self.cost.tokens()?;
        Some(tokens.granting(price, self.grant(price, most)?))
    }

    /// How many tokens each answer of a request may have for which only so much is left.
    fn grant(&self, price: Price, left: u32) -> Option<NonZeroU32> {
        let tokens = self.cost.tokens()?;
        (self.mode == Mode::Enforce).then(|| tokens.grant(price, left))?
    }

    /// How many tokens each answer may have of a request for which not enough was left.
    pub(crate) fn grant_to(&self, demand: &Demand, look: &Look) -> Option<NonZeroU32> {
        self.grant(demand.price, look.plan.charged.decision.remaining)
    }

    /// A request whose answers may have no more tokens than that each asks for less.
    pub(crate) fn granting(&self, demand: &Demand, granted: NonZeroU32) -> Demand {
        match self.cost.tokens() {
            Some(tokens) if self.mode == Mode::Enforce => Demand {
                price: tokens.granting(demand.price, granted),
                ..*demand
            },
            Some(_) | None => *demand,
        }
    }

    /// Where requests say how many tokens they want, where that may be lowered.
    pub(crate) fn lowered(&self) -> &[Target] {
        self.cost.tokens().map_or(&[], Tokens::lowered)
    }

    /// Looks at what a request would be charged.
    pub(crate) fn look(&self, demand: Demand, ports: &Ports<'_>) -> Result<Look, Failure> {
        self.look_where(demand, Counted::Ordinarily, ports)
    }

    /// The same by this gateway's own counts, where it has some for while the engine is away.
    pub(crate) fn look_alone(
        &self,
        demand: Demand,
        ports: &Ports<'_>,
    ) -> Result<Option<Look>, Failure> {
        match self.leased.as_ref().and_then(Leased::alone) {
            None => Ok(None),
            Some(_) => self.look_where(demand, Counted::Alone, ports).map(Some),
        }
    }

    fn look_where(
        &self,
        Demand {
            key,
            engine_key,
            price,
        }: Demand,
        counted: Counted,
        ports: &Ports<'_>,
    ) -> Result<Look, Failure> {
        let asked = Asked {
            key,
            cost: price.cost,
            now: self.now(counted, ports)?,
        };
        let plan = self.table(counted).look(ports.store, asked)?;
        Ok(Look {
            asked,
            engine_key,
            counted,
            plan,
            reserved: price.reserved,
        })
    }

    fn table(&self, counted: Counted) -> &Table {
        let alone = self.leased.as_ref().and_then(Leased::alone);
        match (counted, alone) {
            (Counted::Alone, Some(table)) => table,
            (Counted::Ordinarily | Counted::Alone, _) => &self.table,
        }
    }

    /// The time that counts go by.
    fn now(&self, counted: Counted, ports: &Ports<'_>) -> Result<Timestamp, ClockUnavailable> {
        match (&self.leased, counted) {
            (Some(_), Counted::Ordinarily) => ports.clock.monotonic(),
            (Some(_) | None, _) => ports.clock.now(),
        }
    }

    /// Charges a request that was looked at. If another worker was faster it may be refused.
    pub(crate) fn charge(&self, look: Look, ports: &Ports<'_>) -> Result<Charge, SlotError> {
        let Look {
            asked,
            engine_key,
            counted,
            plan,
            reserved,
        } = look;
        let charged = self.table(counted).commit(ports.store, asked, plan)?;
        // What takes no place is not to be renewed.
        let permits = self.permits.as_ref().filter(|_| asked.cost > 0);
        let permits = permits.zip(charged.decision.charged);
        Ok(Charge {
            permit: permits.map(|(permits, span)| permits.give(asked, span)),
            asked,
            engine_key,
            counted,
            charged,
            returned: false,
            reserved,
        })
    }

    /// A path with two readings costs as much as the dearest that it may be.
    fn price_of(&self, request: &Request<'_>, said: &Said) -> Result<Price, Unpriced> {
        if request.path().is_err() {
            let price = self.cost.of(request, said)?;
            let dearest = self.overriding(request).fold(price.cost, u32::max);
            return Ok(Price {
                cost: dearest,
                answers: None,
                ..price
            });
        }
        match self.overriding(request).next() {
            Some(cost) => Ok(Price::of(cost)),
            None => self.cost.of(request, said),
        }
    }

    /// What the request takes in place of what others do, by each that matches it.
    fn overriding(&self, request: &Request<'_>) -> impl Iterator<Item = u32> {
        let matching =
            move |(matches, _): &&(Match, u32)| matches.matches(request, IfAmbiguous::Matches);
        self.costs.iter().filter(matching).map(|(_, cost)| *cost)
    }

    /// Settles what a request was charged by what it used, once. What it used is not known of all: it stays charged then.
    pub(crate) fn settle(
        &self,
        charge: &mut Charge,
        used: &Used,
        model: Option<usize>,
        ports: &Ports<'_>,
    ) -> Result<Option<Settled>, SlotError> {
        if matches!(used, Used::Unserved) && self.when_unserved == WhenUnserved::Charge {
            return Ok(None);
        }
        let (Some(tokens), Some(reserved), false) =
            (self.cost.tokens(), charge.reserved.take(), charge.returned)
        else {
            return Ok(None);
        };
        let found = used.of(tokens, reserved);
        let mut settled = Settled {
            key: charge.key(),
            reserved: charge.asked.cost,
            charged: charge.asked.cost,
            used: found,
        };
        self.count_used(&settled, model, ports);
        let Some((counts, _)) = found else {
            return Ok(Some(settled));
        };
        settled.charged = tokens.cost(&counts);
        charge.returned = settled.charged == 0;
        let asked = Asked {
            now: self.now(charge.counted, ports).unwrap_or(charge.asked.now),
            ..charge.asked
        };
        let store = ports.store;
        let evicted =
            self.table(charge.counted)
                .settle(store, asked, &charge.charged, settled.charged)?;
        if evicted {
            ports.telemetry.count(self.metrics.evictions);
        }
        Ok(Some(settled))
    }

    fn count_used(&self, settled: &Settled, model: Option<usize>, ports: &Ports<'_>) {
        let Some(metrics) = &self.metrics.tokens else {
            return;
        };
        let Some((counts, how)) = &settled.used else {
            ports.telemetry.count(metrics.unreadable);
            return;
        };
        let (input, output) = (counts.input.unwrap_or(0), counts.output.unwrap_or(0));
        let of_model = match model {
            Some(model) => metrics.by_model.get(model),
            None => metrics.by_model.last(),
        };
        let of_model = of_model.map(|(of_input, of_output)| {
            [
                (*of_input, input.saturating_add(counts.cached)),
                (*of_output, output),
            ]
        });
        let of_all = [
            (metrics.input, input),
            (metrics.cached, counts.cached),
            (metrics.output, output),
        ];
        for (counter, tokens) in of_all.into_iter().chain(of_model.into_iter().flatten()) {
            let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
            if tokens > 0 {
                ports.telemetry.add(counter, tokens);
            }
        }
        if *how == How::Estimated {
            ports.telemetry.count(metrics.estimated);
        }
    }

    /// Gives back what a request was charged.
    pub(crate) fn give_back(
        &self,
        charge: &mut Charge,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        let Charge {
            asked,
            charged,
            counted,
            ..
        } = charge;
        match charge.permit.take() {
            None => self.table(*counted).give_back(ports.store, *asked, charged),
            // It may have been renewed meanwhile, and is not any more.
            Some(permit) => self.table.release(ports.store, *asked, permit.span.get()),
        }
    }

    /// Whether a request that ends, or that takes long, is to be heard of.
    pub(crate) const fn counts_at_a_time(&self) -> bool {
        self.permits.is_some()
    }

    /// A request has ended: what it held others may have. Once, however often this is called.
    pub(crate) fn end(&self, charge: &mut Charge, ports: &Ports<'_>) -> Result<(), SlotError> {
        let (Some(permits), Some(_)) = (&self.permits, &charge.permit) else {
            return Ok(());
        };
        charge.returned = true;
        if let Ok(now) = ports.clock.now() {
            permits.took(now.since(charge.asked.now));
        }
        self.give_back(charge, ports)
    }

    /// Renews what this worker's requests hold, where that is due. One that can't be renewed now may be with the next tick.
    pub(crate) fn renew(&self, ports: &Ports<'_>) -> Result<(), SlotError> {
        let Some(permits) = &self.permits else {
            return Ok(());
        };
        let Ok(now) = ports.clock.now() else {
            return Ok(());
        };
        let mut outcome = Ok(());
        for permit in permits.due(now) {
            let asked = Asked {
                now,
                ..permit.asked
            };
            match self.table.renew(ports.store, asked, permit.span.get()) {
                Ok(renewed) => {
                    permit.span.set(renewed.span);
                    if renewed.evicted {
                        ports.telemetry.count(self.metrics.evictions);
                    }
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// When a request that is refused may come again. Of requests at a time that is when one ends: after about as long as most
    /// have taken lately.
    fn retry_after(&self, decision: &Decision) -> Span {
        match (&self.permits, decision.retry_after) {
            (Some(permits), wait) if wait > Span::ZERO => permits.usual(),
            (Some(_) | None, wait) => wait,
        }
    }

    /// Gives back what a request was charged that was not served, once, where that is configured.
    pub(crate) fn return_unserved(
        &self,
        charge: &mut Charge,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        if self.when_unserved == WhenUnserved::Charge || charge.returned {
            return Ok(());
        }
        charge.returned = true;
        self.give_back(charge, ports)
    }

    /// Whether the answer says what a request is charged.
    pub(crate) const fn charges_by_answer(&self) -> bool {
        self.when_answered.is_some()
    }

    /// A request is answered with this status: gives back what it was charged, once, where that is charged for others. `grpc`:
    /// the status of gRPC, which a refusal of a gRPC client's has in place of its own.
    pub(crate) fn answered(
        &self,
        charge: &mut Charge,
        status: u16,
        grpc: Option<u8>,
        ports: &Ports<'_>,
    ) -> Result<(), SlotError> {
        let is_it =
            |listed: &u16| *listed == status || grpc == Some(GrpcStatus::of_http(*listed).code());
        match &self.when_answered {
            Some(statuses) if !charge.returned && !statuses.iter().any(is_it) => {
                charge.returned = true;
                self.give_back(charge, ports)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where its keys are.
    pub(crate) const fn own_table(&self) -> &Table {
        &self.table
    }

    /// Counts a key that still limited someone and was forgotten.
    pub(crate) fn count_evicted(&self, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.evictions);
    }

    /// Counts a request that passes.
    pub(crate) fn count_allowed(&self, charge: &Charge, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.allowed);
        if charge.charged.evicted {
            ports.telemetry.count(self.metrics.evictions);
        }
    }

    /// Counts a request that does not pass, or in shadow would not.
    pub(crate) fn count_refused(&self, key: Option<Fingerprint>, ports: &Ports<'_>) {
        if let (Some(busiest), Some(key)) = (&self.busiest, key) {
            busiest.refused(key);
        }
        ports.telemetry.count(match self.mode {
            Mode::Enforce => self.metrics.limited,
            Mode::Shadow | Mode::Off => self.metrics.shadow_limited,
        });
    }

    /// Counts a request that goes elsewhere.
    pub(crate) fn count_elsewhere(&self, key: Fingerprint, ports: &Ports<'_>) {
        if let Some(busiest) = &self.busiest {
            busiest.refused(key);
        }
        if let Some(elsewhere) = self.metrics.elsewhere {
            ports.telemetry.count(elsewhere);
        }
    }

    /// Logs a request that does not pass, or in shadow would not.
    pub(crate) fn log_refused(
        &self,
        reason: &str,
        problem: Problem,
        key: Option<Fingerprint>,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) {
        let line = refusal(self.mode, reason, Some(&self.name), problem, request);
        ports.telemetry.log(match key {
            Some(key) => line.with("caller", key.caller()),
            None => line,
        });
    }

    /// Counts a request that lacks the part with this index. The log says so of the first one: a limit that
    /// never counts anything is most likely a mistake.
    fn report_skipped(&self, index: usize, request: &Request<'_>, ports: &Ports<'_>) {
        ports.telemetry.count(self.metrics.skipped);
        if self.reported_skipped.replace(true) {
            return;
        }
        let part = self.key.get(index).map(KeyPart::to_string);
        let line = LogLine::new(NAME, "skipped")
            .with("reason", "key_missing")
            .with("limit", &self.name)
            .with("part", part.unwrap_or_default());
        ports.telemetry.log(line.with_id_of(request));
    }

    /// Its settings, for people.
    pub(crate) fn settings(&self) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        show("mode", self.mode.as_str().into());
        show("key", self.parts().into());
        if self.permits.is_some() {
            show("in_flight", self.rate().quota.into());
            return shown;
        }
        show("quota", self.rate().quota.into());
        show("window", self.window_secs.into());
        if let Quota::TokenBucket(bucket) = &self.table.quota {
            show("burst", bucket.burst.into());
        }
        if self.leased.is_some() {
            show("scope", "global".into());
        }
        shown
    }

    /// The key of these values.
    pub(crate) fn key_of_values(
        &self,
        values: &[Vec<u8>],
        client_address: &ClientAddress,
        hash_key: &HashKey,
    ) -> Result<Fingerprint, String> {
        let (name, quota, parts) = (&self.name, &self.table.quota, &self.key);
        match &self.leased {
            None => Fingerprint::of_values(name, quota, parts, values, client_address, hash_key),
            Some(_) => EngineKey::of_values(name, quota, parts, values, client_address)
                .map(|key| Fingerprint::of_engine_key(key, hash_key)),
        }
    }

    /// The parts of its key, as they are configured.
    pub(crate) fn parts(&self) -> Vec<String> {
        self.key.iter().map(KeyPart::to_string).collect()
    }

    /// Whether something is or was counted under a key.
    pub(crate) fn holds(&self, key: Fingerprint, ports: &Ports<'_>) -> Result<bool, SlotError> {
        Ok(self.table.used(ports.store, key)?.is_some())
    }

    /// What an ordinary request of a key would find.
    pub(crate) fn look_at(&self, key: Fingerprint, ports: &Ports<'_>) -> Result<Found, Failure> {
        let now = self.now(Counted::Ordinarily, ports)?;
        let used = self.table.used(ports.store, key)?;
        let counting = self.table.quota.counting();
        let charged = |cost| counting.charge(&mut used.unwrap_or_default(), cost, now);
        let ordinary = self.cost.ordinary();
        Ok(Found {
            is_counted: used.is_some_and(|used| counting.idle_at(&used) > now),
            left: Decision {
                retry_after: self.retry_after(&charged(ordinary)),
                ..charged(0)
            },
        })
    }

    /// Forgets what is counted under a key. Of what an engine counts that is what is held here, and no fresh start: it says no. What was under way and is given back later is given back all the same.
    pub(crate) fn reset(&self, key: Fingerprint, ports: &Ports<'_>) -> Result<(), SlotError> {
        self.table.forget(ports.store, key)
    }

    /// Seconds until a request that was refused is admitted, one at least; `None` for one that was
    /// not, or in shadow, which refuses nobody.
    pub(crate) fn wait(&self, charge: &Charge) -> Option<u64> {
        let refuses = self.refuses() && !charge.is_admitted();
        let decision = &charge.charged.decision;
        refuses.then(|| self.retry_after(decision).as_secs_ceil().max(1))
    }

    /// How much may be used in a window.
    pub(crate) fn quota(&self) -> u32 {
        self.rate().quota
    }

    pub(crate) fn rate(&self) -> &Rate {
        self.table.quota.counting().rate()
    }

    /// Seconds in a window.
    pub(crate) const fn window_secs(&self) -> u64 {
        self.window_secs
    }

    /// Where the client stands after a request that passed; `None` in shadow, of which it is not to
    /// know.
    pub(crate) fn allowance(&self, charge: &Charge) -> Option<Allowance<'_>> {
        match charge.returned {
            true => self.allowance_uncharged(charge),
            false => self.allowance_at(&charge.charged.decision, 0),
        }
    }

    /// Where the client stands after a request that was refused, by this limit or by another, so
    /// that nothing is charged.
    pub(crate) fn allowance_uncharged(&self, charge: &Charge) -> Option<Allowance<'_>> {
        let table = self.table(charge.counted);
        let decision = table.uncharged(charge.asked, &charge.charged);
        self.allowance_at(&decision, self.wait(charge).unwrap_or(0))
    }

    fn allowance_at(&self, decision: &Decision, wait: u64) -> Option<Allowance<'_>> {
        (self.mode == Mode::Enforce).then(|| Allowance {
            name: &self.name,
            quota: self.rate().quota,
            window: self.window_secs,
            remaining: decision.remaining,
            reset: decision.reset.as_secs_ceil(),
            wait,
        })
    }
}

/// What is settled of a request, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) key: Fingerprint,
    /// What it was charged first, of the quota.
    pub(crate) reserved: u32,
    /// What it is charged.
    pub(crate) charged: u32,
    /// Its tokens; `None` where nothing of them is known.
    pub(crate) used: Option<(Counts, How)>,
}

/// A gateway has to show what a limit goes by.
fn check_bodies(cost: &Pricing, before_auth: bool, setup: &Setup<'_>) -> Result<(), ConfigError> {
    let rule = if cost.reads_requests() && !setup.abilities.reads_requests {
        "this gateway can't show a request's body before the request goes on"
    } else if cost.reads_requests() && before_auth {
        "a body is not read before_auth"
    } else if cost.tokens().is_some() {
        return setup.check_reads_responses();
    } else {
        return Ok(());
    };
    Err(ConfigError::at("", rule))
}
