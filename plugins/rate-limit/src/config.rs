//! What a user writes.

mod cost;
mod global;
mod usage;
mod words;

use portcullis_policy::config::{
    Bounded, ByClaim, ClaimPath, ClientAddressConfig, ConfigError, ControlConfig, Duration,
    FallbackConfig, HeaderName, List, Match, Mode, Name, NonEmpty, OnError, check_reached,
};
use serde::Deserialize;

pub use cost::{AnsweredConfig, Cost};
pub(crate) use cost::{
    FieldConfig, InputReserve, LEAST_GRANTED, OutputReserve, TokensConfig, Unreadable, Weight,
    WeightsConfig,
};
pub use global::{EngineAway, EngineName, FirstRequest, GlobalConfig, LeaseConfig, Scope};
pub use usage::{AcceptEncoding, IncludeUsage, Log, MaxBody, UsageConfig};
pub(crate) use words::JsonPath;
pub(crate) use words::Model;

use cost::Amount;

use crate::KeyPart;
use crate::key::WhenKeyMissing;
use crate::quota::{Algorithm, Form, Quota};
use crate::range::{Placed, ranges, shares};

/// Configuration of `rate_limit`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The limits. A request must be admitted by all that match it.
    pub limits: NonEmpty<LimitConfig>,
    /// Keys held at once, by all limits together. Beyond its share a limit's idlest make room.
    #[serde(default = "default_capacity")]
    pub capacity: Bounded<1, 1_000_000, u32>,
    /// Headers that tell a client where it stands.
    #[serde(default)]
    pub headers: HeaderStyle,
    /// How the client's address is found.
    #[serde(default)]
    pub client_address: ClientAddressConfig,
    /// Claims that a `jwt_auth` before this filter writes, each to the header that is given. Without
    /// one before it, whatever a client writes there counts. Not in `edge` beside `jwt_auth`, where
    /// claims are known.
    #[serde(default)]
    pub claim_headers: ByClaim<HeaderName>,
    /// Whether CORS preflights are counted.
    #[serde(default)]
    pub cors_preflight: CorsPreflight,
    /// How long requests' bodies may be: 413 for longer ones; the first that matches counts.
    #[serde(default)]
    pub max_body: List<MaxBody>,
    /// How answers say what they used, where a limit has `cost.tokens`.
    pub usage: Option<UsageConfig>,
    /// What is logged besides refusals: `usage`, a line for each request that a limit with `cost.tokens` counts.
    pub log: Option<Log>,
    /// The engine that counts limits with `scope: global`, for all gateways that ask it.
    pub global: Option<GlobalConfig>,
    /// What is done with decisions.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the limiter itself fails.
    #[serde(default = "default_on_error")]
    pub on_error: OnError,
    /// Where limits are looked at, and a client is given a fresh start. In `edge` it stands beside the plugins.
    pub control: Option<ControlConfig>,
    /// In `edge` only: limits that are asked before the token is looked at.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub before_auth: List<Name>,
}

/// A limit.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// Its name. Counts belong to it: a limit of another name starts afresh.
    pub name: Name,
    /// Which requests it is about.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// What tells clients apart: all parts together.
    pub key: NonEmpty<KeyPart>,
    /// Requests in a window.
    pub quota: Option<Bounded<1, 1_000_000_000, u32>>,
    /// The window, at least a second.
    pub window: Option<Duration>,
    /// In place of `quota` and `window`: requests at a time.
    pub in_flight: Option<Bounded<1, 1_000_000, u32>>,
    /// How requests are counted in a window. Default: `sliding_window`.
    pub algorithm: Option<Algorithm>,
    /// Who counts: this gateway for itself, or the engine of `global` for several.
    #[serde(default)]
    pub scope: Scope,
    /// `token_bucket`: requests that may come at once. Default: as many as `quota`.
    pub burst: Option<Bounded<1, 1_000_000_000, u32>>,
    /// What a request takes of the quota: a number, of which 0 passes and is told where it stands; `when`, with `status`, a
    /// list: 1 where it is answered with one of these, and nothing else; `field`: as much as it asks for; or `tokens`, with
    /// `reserve`: what a model uses for it. Default: 1.
    #[serde(default)]
    pub cost: Cost,
    /// Requests that take something else; the first that matches counts.
    #[serde(default)]
    pub costs: List<CostConfig>,
    /// Keys that this limit holds at once, out of the plugin's `capacity`. Default: an even share of
    /// what the limits with one of their own leave.
    pub capacity: Option<Bounded<1, 1_000_000, u32>>,
    /// What becomes of a request that lacks a part of the key.
    #[serde(default)]
    pub when_key_missing: WhenKeyMissing,
    /// What becomes of what a request was charged that the gateway answered with 503 in the upstream's
    /// stead, such as one that an open breaker refused. Default: `give_back`.
    pub when_unserved: Option<WhenUnserved>,
    /// What is done with this limit's decisions.
    #[serde(default)]
    pub mode: Mode,
    /// What is set in a request that it would refuse since nothing is left, which then goes on, by another of the gateway's routes.
    pub on_exceeded: Option<FallbackConfig>,
}

/// What certain requests take of a quota.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CostConfig {
    /// Which.
    pub r#match: Match,
    /// How much.
    pub cost: Amount,
}

/// What becomes of what a request was charged that never reached the upstream, for no fault of its
/// client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenUnserved {
    /// It is given back.
    #[default]
    GiveBack,
    /// It stays charged.
    Charge,
}

/// Headers that tell a client where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HeaderStyle {
    /// `RateLimit-Policy` and `RateLimit`.
    Ietf,
    /// `X-RateLimit-…`.
    Legacy,
    /// Both.
    #[default]
    Both,
    /// None; `Retry-After` on a refusal stays.
    None,
}

/// Whether CORS preflights are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CorsPreflight {
    /// They pass uncounted.
    #[default]
    Pass,
    /// They are counted like any other request.
    Check,
}

const fn default_capacity() -> Bounded<1, 1_000_000, u32> {
    Bounded::new(65_536)
}

const fn default_on_error() -> OnError {
    OnError::Allow
}

/// Shortest window. A shorter one is below what clocks of several workers agree on.
const SHORTEST_WINDOW_NANOS: u64 = 1_000_000_000;

/// Most limits of one filter: each that matches is a write to shared data.
const MOST_LIMITS: usize = 32;

impl LimitConfig {
    /// How much may be used, and how that is counted.
    ///
    /// # Errors
    /// What is missing, or does not belong there.
    pub(crate) fn to_quota(&self) -> Result<Quota, ConfigError> {
        if let Some(most) = self.in_flight {
            let others = [
                ("quota", self.quota.is_some()),
                ("window", self.window.is_some()),
                ("algorithm", self.algorithm.is_some()),
                ("burst", self.burst.is_some()),
                ("when_unserved", self.when_unserved.is_some()),
                ("cost.when", self.cost.statuses().is_some()),
                ("cost.tokens", matches!(self.cost, Cost::Tokens(_))),
            ];
            return match others.iter().find(|(_, is_there)| *is_there) {
                None => Ok(Quota::in_flight(most.get())),
                Some((name, _)) => {
                    let rule =
                        "it is for a quota in a window; `in_flight` counts requests at a time";
                    Err(ConfigError::at(*name, rule))
                }
            };
        }
        let missing = |name: &str| {
            let rule =
                format!("missing field `{name}`; expected `quota` and `window`, or `in_flight`");
            ConfigError::at("", rule)
        };
        let quota = self.quota.ok_or_else(|| missing("quota"))?;
        let window = self.window.as_ref().ok_or_else(|| missing("window"))?;
        if window.span().as_nanos() < SHORTEST_WINDOW_NANOS {
            return Err(ConfigError::at("window", "shorter than 1s"));
        }
        let algorithm = self.algorithm.unwrap_or_default();
        let burst = self.burst.map(Bounded::get);
        let quota = Quota::new(algorithm, quota.get(), window.span(), burst);
        Ok(match self.cost {
            Cost::Tokens(_) => quota.with_debts(),
            Cost::Always(_) | Cost::When(_) | Cost::Field(_) => quota,
        })
    }
}

impl Config {
    /// Each claim that a limit counts by must be known: by a `jwt_auth` beside this plugin, or by a
    /// header.
    pub(crate) fn check_claims(&self, has_claims: bool) -> Result<(), ConfigError> {
        let headers = self.claim_headers.as_slice();
        if has_claims {
            return match headers.first() {
                None => Ok(()),
                Some(_) => Err(ConfigError::at(
                    "claim_headers",
                    "claims are known here, beside `jwt_auth`; expected none",
                )),
            };
        }
        for (claim, _) in headers {
            let counts = |part: &KeyPart| matches!(part, KeyPart::Claim(path) if path == claim);
            let limits = self.limits.as_slice().iter();
            if !limits.flat_map(|limit| limit.key.as_slice()).any(counts) {
                let at = format!("claim_headers.{}", claim.as_str());
                return Err(ConfigError::at(at, "no limit counts by this claim"));
            }
        }
        let is_known = |path: &ClaimPath| headers.iter().any(|(claim, _)| claim == path);
        for (index, limit) in self.limits.as_slice().iter().enumerate() {
            for (part, key) in limit.key.as_slice().iter().enumerate() {
                if let KeyPart::Claim(path) = key
                    && !is_known(path)
                {
                    let at = format!("limits[{index}].key[{part}]");
                    let rule = format!(
                        "nobody tells the claim {:?}; expected its header in `claim_headers`, or \
                         the filter `edge` with `jwt_auth`",
                        path.as_str()
                    );
                    return Err(ConfigError::at(at, rule));
                }
            }
        }
        Ok(())
    }

    /// The slots of each limit.
    pub(crate) fn placed(&self) -> Result<Vec<Placed>, ConfigError> {
        let limits = self.limits.as_slice();
        let is_constant = |part: &KeyPart| *part == KeyPart::Constant;
        let own = |limit: &LimitConfig| {
            let has_one_key = limit.key.as_slice().iter().all(is_constant);
            (limit.capacity.map(Bounded::get), has_one_key)
        };
        let own: Vec<_> = limits.iter().map(own).collect();
        let slots = shares(self.capacity.get(), &own)?;
        let global = self.global.as_ref();
        let counts_alone = global.is_some_and(|global| global.local_share().is_some());
        let mut named = Vec::with_capacity(limits.len());
        // No limit has a name with a slash.
        let mut alone = Vec::new();
        for (index, (limit, slots)) in limits.iter().zip(slots).enumerate() {
            let own = limit.to_quota()?.counting().form();
            let form = match limit.scope {
                Scope::Local => own,
                Scope::Global => Form::Lease,
            };
            named.push((limit.name.as_str().to_owned(), slots, form));
            if limit.scope == Scope::Global && counts_alone {
                alone.push((
                    index,
                    (format!("{}/alone", limit.name.as_str()), slots, own),
                ));
            }
        }
        let all = named.iter().chain(alone.iter().map(|(_, one)| one));
        let all: Vec<_> = all
            .map(|(name, slots, form)| (name.as_str(), *slots, *form))
            .collect();
        let mut placed = ranges(&all).into_iter();
        let mut limits: Vec<Placed> = placed
            .by_ref()
            .take(named.len())
            .map(|range| Placed { range, alone: None })
            .collect();
        for ((index, _), range) in alone.iter().zip(placed) {
            if let Some(limit) = limits.get_mut(*index) {
                limit.alone = Some(range);
            }
        }
        Ok(limits)
    }

    /// What is set in requests that go elsewhere is taken out of all others: it is nothing that somebody is counted by.
    fn check_fallbacks(&self) -> Result<(), ConfigError> {
        let limits = self.limits.as_slice();
        let parts = limits.iter().flat_map(|limit| limit.key.as_slice());
        let of_claims = self.claim_headers.as_slice().iter();
        let counted: Vec<&str> = parts
            .filter_map(|part| match part {
                KeyPart::Header(name) | KeyPart::HeaderLine(name) => Some(name.as_str()),
                _ => None,
            })
            .chain(of_claims.map(|(_, header)| header.as_str()))
            .collect();
        for (index, limit) in limits.iter().enumerate() {
            for (name, _) in limit.on_exceeded.iter().flat_map(|to| to.set.as_slice()) {
                let name = name.as_str();
                if counted
                    .iter()
                    .any(|header| header.eq_ignore_ascii_case(name))
                {
                    let at = format!("limits[{index}].on_exceeded.set.{name}");
                    let rule = "requests are counted by it; expected another header";
                    return Err(ConfigError::at(at, rule));
                }
            }
        }
        Ok(())
    }

    /// What is set in requests' bodies must not lie within each other.
    fn check_lowered(&self) -> Result<(), ConfigError> {
        let lowered = |limit: &LimitConfig| match &limit.cost {
            Cost::Tokens(TokensConfig { reserve, .. }) => match &reserve.output {
                OutputReserve::Asked(asked) if asked.clamp => asked.from(),
                OutputReserve::Asked(_) | OutputReserve::Number(_) => Vec::new(),
            },
            Cost::Always(_) | Cost::When(_) | Cost::Field(_) => Vec::new(),
        };
        let usage = self.usage.as_ref();
        let forces = usage.is_some_and(|usage| usage.include_usage == IncludeUsage::Force);
        let mut known: Vec<JsonPath> = Vec::new();
        for (index, limit) in self.limits.as_slice().iter().enumerate() {
            let at = format!("limits[{index}].cost.reserve.output.from");
            for path in lowered(limit) {
                let mut others = known.iter().filter(|known| **known != path);
                if let Some(other) = others.find(|known| known.overlaps(path.as_str())) {
                    let rule = format!(
                        "{:?} and {:?} of another limit are one, or one lies within the other",
                        path.as_str(),
                        other.as_str()
                    );
                    return Err(ConfigError::at(at, rule));
                }
                if forces
                    && ["stream", "stream_options"]
                        .iter()
                        .any(|name| path.overlaps(name))
                {
                    let rule = "`include_usage: force` goes by it; expected another field";
                    return Err(ConfigError::at(at, rule));
                }
                known.push(path);
            }
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let limits = self.limits.as_slice();
        if limits.len() > MOST_LIMITS {
            return Err(ConfigError::at(
                "limits",
                format!("{} limits; at most {MOST_LIMITS}", limits.len()),
            ));
        }
        for (index, limit) in limits.iter().enumerate() {
            let at = |field: &str| format!("limits[{index}].{field}");
            if limits
                .iter()
                .take(index)
                .any(|other| other.name == limit.name)
            {
                return Err(ConfigError::at(
                    at("name"),
                    format!("{:?} is there twice", limit.name.as_str()),
                ));
            }
            let quota = limit.to_quota();
            quota.map_err(|error| error.within(&format!("limits[{index}]")))?;
        }
        if let Some(global) = &self.global {
            global.check().map_err(|error| error.within("global"))?;
            if limits.iter().all(|limit| limit.scope == Scope::Local) {
                let rule = "no limit has `scope: global`, which it is for";
                return Err(ConfigError::at("global", rule));
            }
        }
        for (index, bound) in self.max_body.0.iter().enumerate() {
            let before = self.max_body.0.iter().take(index);
            let before = before.map(|bound| &bound.matches);
            check_reached("max_body", index, &bound.matches, before)?;
        }
        self.check_fallbacks()?;
        let has_tokens = limits
            .iter()
            .any(|limit| matches!(limit.cost, Cost::Tokens(_)));
        for (key, is_there) in [("usage", self.usage.is_some()), ("log", self.log.is_some())] {
            if is_there && !has_tokens {
                let rule = "no limit has `cost.tokens`, which it is for";
                return Err(ConfigError::at(key, rule));
            }
        }
        self.check_lowered()?;
        if let Some(usage) = &self.usage {
            usage.check().map_err(|error| error.within("usage"))?;
        }
        for (index, name) in self.before_auth.0.iter().enumerate() {
            if !limits.iter().any(|limit| limit.name == *name) {
                let message = format!("{:?} is not the name of a limit", name.as_str());
                return Err(ConfigError::at(format!("before_auth[{index}]"), message));
            }
        }
        Ok(())
    }
}
