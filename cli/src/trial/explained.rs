//! What each policy can be asked beside what it decides.

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_jwt_auth::config::CorsPreflight;
use portcullis_policy::config::{Claims, Match};
use portcullis_policy::{Command, Controlled, KeyNamed, Policy, Ports, Request};
use portcullis_rate_limit::{RateLimit, Standing};
use portcullis_service_token::ServiceToken;
use serde_json::{Map, Value};

/// A policy that can be asked why. Whoever asks has ports whose telemetry counts nothing.
pub(super) trait Explained: Policy {
    /// The rules about who may do what.
    fn rules(_: &Self::Config) -> Vec<Match> {
        Vec::new()
    }

    /// Whether a CORS preflight passes without a look at these.
    fn passes_preflights(_: &Self::Config) -> bool {
        false
    }

    /// Where a request stands with the limits that it matches: before it was decided on, and afterwards.
    fn standings<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _before: &Ports<'_>,
        _after: &Ports<'_>,
    ) -> Vec<(Standing, Standing)> {
        Vec::new()
    }

    /// The breakers by their names, as they are.
    fn breakers(&self, _: &Ports<'_>) -> Option<Map<String, Value>> {
        None
    }

    /// What is left of a limit for a key, as the log calls it.
    fn remaining(&self, _limit: &str, _caller: String, _: &Ports<'_>) -> Option<u32> {
        None
    }
}

impl Explained for ServiceToken {}

impl Explained for JwtAuth {
    fn rules(config: &Self::Config) -> Vec<Match> {
        let rules = config.rules.as_slice().iter();
        rules.map(|rule| rule.r#match.clone()).collect()
    }

    fn passes_preflights(config: &Self::Config) -> bool {
        config.cors_preflight == CorsPreflight::Pass
    }
}

impl Explained for RateLimit {
    fn standings<'a>(
        &'a self,
        request: &'a Request<'a>,
        before: &Ports<'_>,
        after: &Ports<'_>,
    ) -> Vec<(Standing, Standing)> {
        stands(self, request, None, before, after)
    }

    fn remaining(&self, limit: &str, caller: String, ports: &Ports<'_>) -> Option<u32> {
        remaining(self, limit, caller, ports)
    }
}

impl Explained for CircuitBreaker {
    fn breakers(&self, ports: &Ports<'_>) -> Option<Map<String, Value>> {
        breakers(self, ports)
    }
}

impl Explained for Edge {
    fn rules(config: &Self::Config) -> Vec<Match> {
        let jwt_auth = config.jwt_auth.as_ref();
        jwt_auth.map_or(Vec::new(), JwtAuth::rules)
    }

    fn passes_preflights(config: &Self::Config) -> bool {
        let jwt_auth = config.jwt_auth.as_ref();
        jwt_auth.is_some_and(JwtAuth::passes_preflights)
    }

    fn standings<'a>(
        &'a self,
        request: &'a Request<'a>,
        before: &Ports<'_>,
        after: &Ports<'_>,
    ) -> Vec<(Standing, Standing)> {
        let Some(limits) = self.rate_limit() else {
            return Vec::new();
        };
        // The token was looked at before. What was found to be bad is not looked at again.
        let caller = self.jwt_auth();
        let caller = caller.map(|jwt_auth| jwt_auth.on_request(request, after).1);
        let claims = caller.as_ref().map(|caller| caller as &dyn Claims);
        stands(limits, request, claims, before, after)
    }

    fn breakers(&self, ports: &Ports<'_>) -> Option<Map<String, Value>> {
        breakers(self, ports)
    }

    fn remaining(&self, limit: &str, caller: String, ports: &Ports<'_>) -> Option<u32> {
        remaining(self.rate_limit()?, limit, caller, ports)
    }
}

fn stands(
    limits: &RateLimit,
    request: &Request<'_>,
    claims: Option<&dyn Claims>,
    before: &Ports<'_>,
    after: &Ports<'_>,
) -> Vec<(Standing, Standing)> {
    let before = limits.standings(request, claims, before);
    let after = limits.standings(request, claims, after);
    before.into_iter().zip(after).collect()
}

fn breakers(policy: &dyn Controlled, ports: &Ports<'_>) -> Option<Map<String, Value>> {
    let answer = policy.carry_out(&Command::State, ports)?.ok()?;
    let shown = answer.shown.get(CircuitBreaker::NAME)?;
    shown.as_object().cloned()
}

fn remaining(
    limits: &dyn Controlled,
    limit: &str,
    caller: String,
    ports: &Ports<'_>,
) -> Option<u32> {
    let command = Command::Key(KeyNamed::Caller(caller));
    let answer = limits.carry_out(&command, ports)?.ok()?;
    let shown = answer.shown.get(RateLimit::NAME)?;
    let remaining = shown.get(limit)?.get("remaining")?.as_u64()?;
    u32::try_from(remaining).ok()
}
