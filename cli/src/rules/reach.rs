//! What is about requests that do not come.

use super::{Around, called, first_value, is_at_work, is_of_kong, is_off, items};
use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::finding::{Code, Finding};
use crate::paths::Paths;
use crate::routes::Requests;

/// The lists of entries with a `match`, by plugin, and what one of their entries is.
const LISTS: [(&str, &str, &str); 4] = [
    ("jwt_auth", "rules", "the rule"),
    ("rate_limit", "limits", "the limit"),
    ("rate_limit", "max_body", "the bound"),
    ("circuit_breaker", "breakers", "the breaker"),
];

/// Rules, limits and breakers that are about no request of any route, or of none that `jwt_auth` lets pass.
pub(crate) fn unreached(configured: &Configured, around: Around<'_>) -> Vec<Finding> {
    let routes = routes(configured, around);
    let rules = configured
        .part("jwt_auth")
        .filter(|_| refuses_the_rest(configured));
    let mut findings = Vec::new();
    for (part, list, kind) in LISTS {
        for (index, entry) in items(configured, part, list).iter().enumerate() {
            let Some(node) = entry.get("match").filter(|_| !is_off(entry)) else {
                continue;
            };
            let own = Requests::of_match(node);
            let name = called(list, index, entry);
            if let Some(routes) = &routes
                && !routes.iter().any(|route| route.meet(&own))
            {
                let hint = match strips(configured) && node.get("paths").is_some() {
                    true => {
                        "; a filter is shown the path that the client sent, of which `strip_path` has cut off nothing yet"
                    }
                    false => "",
                };
                findings.push(unreached_by(
                    first_value(node),
                    format!("{kind} {name} is about no request: no route that leads here is for what its `match` means{hint}"),
                    None,
                ));
            } else if let Some(rules) = rules
                && part != "jwt_auth"
                && comes_behind(configured, entry)
                && !of_rules(rules).any(|rule| rule.meet(&own))
            {
                let beside = rules.field("rules").map(|field| field.place);
                findings.push(unreached_by(
                    first_value(node),
                    format!("{kind} {name} is about no request: `jwt_auth` has no rule for what its `match` means, and refuses it before"),
                    beside,
                ));
            }
        }
    }
    findings
}

fn unreached_by(place: Place, message: String, rules: Option<Place>) -> Finding {
    Finding {
        beside: rules.map(|place| (place, "none of these rules is for them".to_owned())),
        ..Finding::new(Code::Unreached, place, message)
    }
}

/// What requests may ask for: what the routes are for, and what the filter answers itself.
fn routes(configured: &Configured, around: Around<'_>) -> Option<Vec<Requests>> {
    let chain = configured.chain.as_deref()?;
    let ours: Vec<usize> = around
        .in_chain(configured)
        .filter_map(|other| other.link)
        .collect();
    // On Kong routes are chosen before any filter runs.
    let is_settled = is_of_kong(configured) || chain.leaves_paths(&ours);
    let routes = around.routes(configured).filter(|_| is_settled)?;
    let routes = routes.iter().map(|route| route.requests.clone());
    let own = around.in_chain(configured).flat_map(answered);
    Some(routes.chain(own).collect())
}

/// The paths that a filter answers itself.
fn answered(configured: &Configured) -> Vec<Requests> {
    let paths = [
        configured.config.at(&["ready", "path"]),
        configured.config.at(&["control", "path"]),
        configured.config.at(&["status", "path"]),
        configured.config.at(&["jwt_auth", "ready", "path"]),
        configured.config.at(&["circuit_breaker", "status", "path"]),
    ];
    let paths = paths.into_iter().flatten().filter_map(Node::text);
    let paths = paths.map(|path| Requests {
        paths: vec![Paths::below(path)],
        ..Requests::default()
    });
    paths.collect()
}

fn strips(configured: &Configured) -> bool {
    configured
        .chain
        .as_deref()
        .is_some_and(|chain| chain.strips_paths)
}

/// Whether `jwt_auth` of an `edge` refuses what no rule is for.
fn refuses_the_rest(configured: &Configured) -> bool {
    let mode = configured
        .part("jwt_auth")
        .and_then(|part| part.get("mode"));
    let mode = mode.and_then(Node::text).unwrap_or("enforce");
    is_at_work(configured, "jwt_auth") && mode == "enforce"
}

/// Whether requests come there only if `jwt_auth` lets them.
fn comes_behind(configured: &Configured, entry: &Node) -> bool {
    let before = items(configured, "rate_limit", "before_auth").iter();
    let name = entry.get("name").and_then(Node::text);
    let mut before = before.map(Node::text);
    name.is_some() && !before.any(|before| before == name)
}

fn of_rules(jwt_auth: &Node) -> impl Iterator<Item = Requests> {
    let rules = jwt_auth.get("rules").map_or(&[][..], Node::items).iter();
    rules.map(|rule| {
        rule.get("match")
            .map_or_else(Requests::default, Requests::of_match)
    })
}
