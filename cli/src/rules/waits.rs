//! What a breaker waits for, and a route does not.

use portcullis_policy::config::Duration;

use super::{Around, called, is_at_work, is_off, items};
use crate::configured::Configured;
use crate::document::Node;
use crate::finding::{Code, Finding};
use crate::routes::{Requests, Route};
use crate::waits::{Bound, Waits};

/// Times of breakers that never pass, since all of their routes end the request before.
pub(crate) fn never_waited(configured: &Configured, around: Around<'_>) -> Vec<Finding> {
    let Some(routes) = around.routes(configured) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if !is_at_work(configured, "circuit_breaker") || configured.is_of_route {
        return findings;
    }
    let breakers = items(configured, "circuit_breaker", "breakers");
    for (index, breaker) in breakers.iter().enumerate().filter(|(_, it)| !is_off(it)) {
        let own = breaker
            .get("match")
            .map_or_else(Requests::default, Requests::of_match);
        let guarded = routes
            .iter()
            .filter(|route| route.goes_on && route.requests.meet(&own));
        let guarded: Vec<&Route> = guarded.collect();
        let name = called("breakers", index, breaker);
        for time in TIMES {
            findings.extend(late(time, &name, breaker, &guarded));
        }
    }
    findings
}

/// A time of a breaker's, and what ends a request before it has passed.
struct Time {
    /// Where it stands in a breaker.
    at: [&'static str; 3],
    /// What ends a request before.
    ends: fn(&Waits) -> Option<Bound>,
    /// Whether a request that is ended just then has taken that long.
    is_reached: bool,
}

const TIMES: [Time; 3] = [
    Time {
        at: ["trip", "slow_ratio", "slower_than"],
        ends: |waits| Bound::shortest([waits.whole.clone(), waits.silence.clone()]),
        is_reached: true,
    },
    Time {
        // Something may come that is no text.
        at: ["trip", "slow_first_token", "slower_than"],
        ends: |waits| waits.whole.clone(),
        is_reached: true,
    },
    Time {
        at: ["failures", "stall", ""],
        ends: |waits| Bound::shortest([waits.whole.clone(), waits.silence.clone()]),
        is_reached: false,
    },
];

fn late(time: Time, name: &str, breaker: &Node, guarded: &[&Route]) -> Option<Finding> {
    let names: Vec<&str> = time
        .at
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
    let node = breaker.at(&names)?;
    let wanted: Duration = serde_json::from_value(node.to_json()).ok()?;
    let wanted = wanted.span().as_nanos().checked_div(1_000_000)?;
    let mut longest: Option<Bound> = None;
    for route in guarded {
        let bound = (time.ends)(&route.waits).filter(|_| !route.waits.are_unknown)?;
        let may_pass = bound.millis > wanted || (time.is_reached && bound.millis == wanted);
        if may_pass {
            return None;
        }
        let is_longer = |former: &Bound| former.millis < bound.millis;
        if longest.as_ref().is_none_or(is_longer) {
            longest = Some(bound);
        }
    }
    let bound = longest?;
    let shown = node.text().unwrap_or_default();
    let (which, said) = match bound.is_default {
        true => (
            ", which nothing else is said about",
            "its default holds here",
        ),
        false => ("", "this is what ends it"),
    };
    Some(Finding {
        beside: Some((bound.place, said.to_owned())),
        ..Finding::new(
            Code::NeverWaited,
            node.written,
            format!(
                "the breaker {name} never sees `{}: {shown}`: its requests are ended after {} by `{}`{which}",
                names.join("."),
                bound.shown(),
                bound.name
            ),
        )
    })
}
