//! Asks the limits, all or nothing.
//!
//! First all limits are looked at, which writes nothing. If one refuses, that is the end of it: a
//! request that is refused changes no count, takes no room and pushes nobody out, whatever the
//! limits' order. Only then each is charged, starting from what was read, so that a request costs
//! one read and one write for each limit. Where another worker was faster in between, a limit may
//! refuse after all; then what was charged before it is given back.

use std::cmp::Reverse;
use std::num::NonZeroU32;

use portcullis_policy::config::{Claims, Mode};
use portcullis_policy::{Failure, LocalReply, Ports, Problem, Request};

use crate::NAME;
use crate::body::Said;
use crate::cost::Unpriced;
use crate::key::{Fingerprint, NoKey, Source};
use crate::limit::{Charge, Demand, Keyed, Limit, Look, Unasked};
use crate::policy::{Flow, RateLimit, Stage};
use crate::quota::Need;
use crate::stopped::Stopped;
use crate::without::Without;

const QUOTA_EXCEEDED: Problem = Problem {
    status: 429,
    kind: "quota-exceeded",
    title: "Too many requests",
};
const KEY_MISSING: Problem = Problem {
    status: 400,
    kind: "rate-limit-key-missing",
    title: "The request lacks what it is counted by",
};
const KEY_AMBIGUOUS: Problem = Problem {
    status: 400,
    kind: "rate-limit-key-ambiguous",
    title: "The request says in several ways what it is counted by",
};

const BODY_UNREADABLE: Problem = Problem {
    status: 400,
    kind: "body-unreadable",
    title: "The request's body can't be read as JSON",
};
const COST_EXCEEDS_QUOTA: Problem = Problem {
    status: 400,
    kind: "cost-exceeds-quota",
    title: "The request asks for more than its limit ever allows",
};

/// Something that stands for a limit, by its index.
type At<'a, T> = (usize, &'a Limit, T);

fn refuses((_, limit, look): &At<'_, Look>) -> bool {
    limit.refuses() && !look.is_admitted()
}

/// What a request asks for that is granted as many tokens as are left, where it asks for more; `None` where that is no help.
fn grant_less<'a>(
    demands: &[At<'a, Demand>],
    looks: &[At<'a, Look>],
) -> Option<Vec<At<'a, Demand>>> {
    let mut granted = None;
    for (index, limit, look) in looks {
        if look.is_admitted() || limit.mode != Mode::Enforce {
            continue;
        }
        let demand = demands.iter().find(|(of, ..)| of == index);
        let fewer = demand.and_then(|(.., demand)| limit.grant_to(demand, look));
        match fewer {
            Some(fewer) => {
                granted = Some(granted.map_or(fewer, |most: NonZeroU32| most.min(fewer)))
            }
            // It would be refused all the same.
            None if limit.refuses() => return None,
            None => {}
        }
    }
    let granted = granted?;
    let granting =
        |(index, limit, demand): &At<'a, Demand>| (*index, *limit, limit.granting(demand, granted));
    Some(demands.iter().map(granting).collect())
}

impl RateLimit {
    /// Asks the limits of one stage. On a refusal all that was charged to `flow` is given back; where it waits, what this stage has.
    pub(crate) fn ask_limits(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<(), Stopped> {
        let before = flow.charges.len();
        let elsewhere = flow.elsewhere();
        let said = flow.said().unwrap_or(&Said::Nothing);
        let demands = self.demands(stage, request, claims, said, flow, ports);
        let asked = demands
            .map_err(Stopped::from)
            .and_then(|demands| {
                let looks = self.look(&demands, request, flow, ports)?;
                match grant_less(&demands, &looks) {
                    Some(fewer) => self.look(&fewer, request, flow, ports),
                    None => Ok(looks),
                }
            })
            .and_then(|looks| self.charge(looks, request, flow, ports));
        if let Err(stopped) = asked {
            match stopped {
                Stopped::Refused(_) => self.give_back(flow, ports),
                Stopped::Waits => {
                    self.give_back_from(before, flow, ports);
                    flow.stay_from(elsewhere);
                }
            }
            return Err(stopped);
        }
        for (index, charge) in flow.charges.iter().skip(before) {
            if let Some(limit) = self.limits.get(*index) {
                limit.count_allowed(charge, ports);
            }
        }
        Ok(())
    }

    /// Refuses a request for which nothing is left, whatever its body says, so that this is not waited for.
    pub(crate) fn look_ahead(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<(), LocalReply> {
        let demands = self.demands(stage, request, claims, &Said::NotYet, flow, ports);
        let looked = demands.and_then(|demands| {
            let looks = self.look_at_all(&demands, request, ports)?;
            let is_known = |at: &At<'_, Look>| refuses(at) && !at.2.lacks_lease();
            match looks.iter().any(is_known) {
                true => Err(self.exhausted(looks, Vec::new(), request, flow, ports)),
                false => Ok(()),
            }
        });
        if looked.is_err() {
            self.give_back(flow, ports);
        }
        looked
    }

    /// What the request asks of each limit that counts it. `said`: what its body says.
    fn demands(
        &self,
        stage: Stage,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        said: &Said,
        flow: &Flow,
        ports: &Ports<'_>,
    ) -> Result<Vec<At<'_, Demand>>, LocalReply> {
        let was_found = flow.address.get().is_some();
        let source = Source {
            request,
            client_address: &self.client_address,
            claims,
            claim_headers: &self.claim_headers,
            address: &flow.address,
        };
        let mut demands = Vec::new();
        let mut refusal = None;
        for (index, limit) in self.limits.iter().enumerate() {
            if limit.before_auth != (stage == Stage::BeforeAuth) || !limit.counts(request) {
                continue;
            }
            let key = self
                .hash_key(ports)
                .and_then(|hash_key| limit.key(&source, said, &hash_key, ports));
            match key {
                Ok(Keyed::Skipped) => {}
                Ok(Keyed::Under(demand)) => demands.push((index, limit, demand)),
                Ok(Keyed::Refused(why)) => {
                    limit.count_refused(None, ports);
                    let (reason, problem) = match why {
                        Unasked::NoKey(NoKey::Several(_)) => ("key_ambiguous", KEY_AMBIGUOUS),
                        Unasked::NoKey(NoKey::Missing(_) | NoKey::AddressUnknown) => {
                            ("key_missing", KEY_MISSING)
                        }
                        Unasked::Unpriced(Unpriced::NotReadable) => {
                            ("body_unreadable", BODY_UNREADABLE)
                        }
                        Unasked::Unpriced(Unpriced::TooDear) => {
                            ("cost_exceeds_quota", COST_EXCEEDS_QUOTA)
                        }
                    };
                    let enforced = limit.mode == Mode::Enforce;
                    if !enforced || refusal.is_none() {
                        limit.log_refused(reason, problem, None, request, ports);
                    }
                    if enforced && refusal.is_none() {
                        refusal = Some(problem.reply(request).because(NAME, reason));
                    }
                }
                Err(failure) => self.note(failure, limit, request, ports, &mut refusal),
            }
        }
        let found = flow.address.get();
        if !was_found && found.is_some_and(|found| found.unreadable) {
            ports.telemetry.count(self.address_unreadable);
        }
        refusal.map_or(Ok(demands), Err)
    }

    /// Looks at all limits, without charging one. What is not known of those that an engine counts is asked for.
    fn look<'a>(
        &self,
        demands: &[At<'a, Demand>],
        request: &Request<'_>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<Vec<At<'a, Look>>, Stopped> {
        let looks = self.look_at_all(demands, request, ports)?;
        let is_unknown = |(_, _, look): &At<'_, Look>| look.lacks_lease();
        if !looks.iter().any(is_unknown) {
            return Ok(looks);
        }
        let mut known = Vec::with_capacity(looks.len());
        let (mut refusal, mut waits) = (None, false);
        for at in looks {
            let demand = demands.iter().find(|(index, ..)| *index == at.0);
            let (true, Some((.., demand))) = (is_unknown(&at), demand) else {
                known.push(at);
                continue;
            };
            let (index, limit, look) = at;
            match self.without_lease(limit, demand, look, flow, ports) {
                Ok(Without::Look(look)) => known.push((index, limit, *look)),
                Ok(Without::Passes) => {}
                Ok(Without::Waits) => waits = true,
                Err(failure) => self.note(failure, limit, request, ports, &mut refusal),
            }
        }
        if let Some(refusal) = refusal {
            return Err(Stopped::Refused(refusal));
        }
        // Whom another limit refuses is not kept waiting.
        match waits && !known.iter().any(refuses) {
            true => Err(Stopped::Waits),
            false => Ok(known),
        }
    }

    /// Looks at all limits, without charging one.
    fn look_at_all<'a>(
        &self,
        demands: &[At<'a, Demand>],
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) -> Result<Vec<At<'a, Look>>, LocalReply> {
        let mut looks = Vec::with_capacity(demands.len());
        let mut refusal = None;
        for (index, limit, demand) in demands {
            match limit.look(*demand, ports) {
                Ok(look) => looks.push((*index, *limit, look)),
                Err(failure) => self.note(failure, limit, request, ports, &mut refusal),
            }
        }
        refusal.map_or(Ok(looks), Err)
    }

    /// Charges all limits that were looked at, unless one of them refuses.
    fn charge(
        &self,
        mut looks: Vec<At<'_, Look>>,
        request: &Request<'_>,
        flow: &mut Flow,
        ports: &Ports<'_>,
    ) -> Result<(), Stopped> {
        if looks.iter().any(refuses) {
            let refusal = self.exhausted(looks, Vec::new(), request, flow, ports);
            return Err(Stopped::Refused(refusal));
        }
        // Those in shadow last, so that what is only tried out never has to be given back.
        looks.sort_by_key(|(_, limit, _)| !limit.refuses());
        let mut refusal = None;
        let mut looks = looks.into_iter();
        while let Some((index, limit, look)) = looks.next() {
            let engine_key = look.engine_key();
            match limit.charge(look, ports) {
                Ok(charge) if charge.is_admitted() => {
                    if charge.need() == Need::More {
                        self.wish_for_more(limit, engine_key, ports);
                    }
                    flow.charges.push((index, charge));
                }
                // Others have spent meanwhile what was held.
                Ok(charge) if charge.need() == Need::Known && self.may_wait(limit, flow) => {
                    return Err(Stopped::Waits);
                }
                Ok(charge) if limit.mode == Mode::Enforce && limit.on_exceeded.is_some() => {
                    limit.count_elsewhere(charge.key(), ports);
                    flow.go_elsewhere(index);
                }
                Ok(charge) if limit.mode == Mode::Enforce => {
                    let refused = vec![(index, limit, charge)];
                    let refusal = self.exhausted(looks.collect(), refused, request, flow, ports);
                    return Err(Stopped::Refused(refusal));
                }
                Ok(charge) => self.report_shadow(limit, charge.key(), request, ports),
                Err(error) => self.note(error.into(), limit, request, ports, &mut refusal),
            }
            if let Some(reply) = refusal {
                return Err(Stopped::Refused(reply));
            }
        }
        Ok(())
    }

    /// The refusal of a request that limits refuse: those of `looks` that do, and of `refused`. It
    /// is about the one that refuses for longest.
    fn exhausted(
        &self,
        looks: Vec<At<'_, Look>>,
        refused: Vec<At<'_, Charge>>,
        request: &Request<'_>,
        flow: &Flow,
        ports: &Ports<'_>,
    ) -> LocalReply {
        let mut charges = refused;
        for (index, limit, look) in looks {
            if limit.mode != Mode::Enforce && !look.is_admitted() {
                self.report_shadow(limit, look.key(), request, ports);
            }
            charges.push((index, limit, look.uncharged()));
            if look.is_refusal_to_write() {
                self.write_refusal(limit, look, ports);
            }
        }
        charges.sort_by_key(|(index, _, _)| *index);
        let waits = charges.iter().filter_map(|(_, limit, charge)| {
            let wait = limit.wait(charge)?;
            limit.count_refused(Some(charge.key()), ports);
            Some((wait, limit.window_secs(), *limit, charge.key()))
        });
        let longest = waits.min_by_key(|(wait, window, ..)| Reverse((*wait, *window)));
        let mut reply = QUOTA_EXCEEDED.reply(request);
        if let Some((wait, _, limit, key)) = longest {
            limit.log_refused("quota_exceeded", QUOTA_EXCEEDED, Some(key), request, ports);
            reply = reply
                .because(NAME, &limit.name)
                .with("retry-after", wait.to_string());
        }
        // What this request was charged before is given back before the client hears of it.
        let earlier = flow
            .charges
            .iter()
            .filter_map(|(index, charge)| Some((self.limits.get(*index)?, charge)));
        let of_stage = charges.iter().map(|(_, limit, charge)| (*limit, charge));
        let allowances: Vec<_> = earlier
            .chain(of_stage)
            .filter_map(|(limit, charge)| limit.allowance_uncharged(charge))
            .collect();
        self.shown(reply, &allowances)
    }

    /// After a clock was set back a refusal is written, too: from then on the counts of that time run.
    fn write_refusal(&self, limit: &Limit, look: Look, ports: &Ports<'_>) {
        let written = limit.charge(look, ports).and_then(|mut charge| {
            // Another worker was faster, and it is admitted now.
            limit.give_back(&mut charge, ports)
        });
        if let Err(error) = written {
            self.errors.count(error, ports);
        }
    }

    fn report_shadow(
        &self,
        limit: &Limit,
        key: Fingerprint,
        request: &Request<'_>,
        ports: &Ports<'_>,
    ) {
        limit.count_refused(Some(key), ports);
        limit.log_refused("quota_exceeded", QUOTA_EXCEEDED, Some(key), request, ports);
    }

    /// Counts a failure at a limit; the first for which the request is refused is its refusal.
    fn note(
        &self,
        failure: Failure,
        limit: &Limit,
        request: &Request<'_>,
        ports: &Ports<'_>,
        refusal: &mut Option<LocalReply>,
    ) {
        if self.errors.is_refused(failure, limit.mode, ports) && refusal.is_none() {
            *refusal = Some(self.errors.refuse(failure, request, ports));
        }
    }
}
