//! Entries of lists of which the first that matches holds, and to which those before them leave nothing.

use portcullis_policy::config::Match;
use serde_json::{Map, Value};

use super::{first_value, items};
use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::finding::{Code, Finding};

/// Entries, or paths of entries, that are never reached. What one entry hides as a whole, most plugins refuse themselves.
pub(crate) fn hidden(configured: &Configured) -> Vec<Finding> {
    let mut findings = in_list("rules", items(configured, "jwt_auth", "rules"));
    findings.extend(in_list(
        "max_body",
        items(configured, "rate_limit", "max_body"),
    ));
    findings.extend(in_list(
        "inject",
        items(configured, "service_token", "inject"),
    ));
    for limit in items(configured, "rate_limit", "limits") {
        let costs = limit.get("costs").map_or(&[][..], Node::items);
        findings.extend(in_list("costs", costs));
    }
    findings
}

fn in_list(list: &str, entries: &[Node]) -> Vec<Finding> {
    let mut before: Vec<Match> = Vec::new();
    let mut findings = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let node = entry.get("match");
        let json = node.map_or(Value::Object(Map::new()), Node::to_json);
        if let Some(node) = node {
            findings.extend(hidden_parts(list, index, node, &json, &before));
        }
        let Ok(read) = serde_json::from_value(json) else {
            return findings;
        };
        before.push(read);
    }
    findings
}

/// All of an entry, or those of its paths to which nothing is left.
fn hidden_parts(
    list: &str,
    index: usize,
    node: &Node,
    json: &Value,
    before: &[Match],
) -> Vec<Finding> {
    let paths = node.get("paths").map_or(&[][..], Node::items);
    let hidden = match paths {
        [] => Vec::from_iter(hiding(json, None, before).map(|by| (first_value(node), by))),
        paths => {
            let each = paths.iter().enumerate();
            let each = each.filter_map(|(at, path)| {
                Some((first_value(path), hiding(json, Some(at), before)?))
            });
            each.collect()
        }
    };
    let is_whole = hidden.len() == paths.len().max(1);
    let finding = |(place, by): &(Place, Vec<usize>)| {
        let names: Vec<String> = by.iter().map(|by| format!("{list}[{by}]")).collect();
        let (names, stand, take) = match by.len() {
            1 => (names.concat(), "stands", "takes"),
            _ => (names.join(" and "), "stand", "take"),
        };
        let of = match is_whole {
            true => "",
            false => " by this path",
        };
        Finding::new(
            Code::Hidden,
            *place,
            format!(
                "{list}[{index}] is never reached{of}: {names} {stand} before it and {take} all of these requests, and the first that \
                 matches holds"
            ),
        )
    };
    let shown = if is_whole { 1 } else { hidden.len() };
    hidden.iter().take(shown).map(finding).collect()
}

/// Which of the entries `before` take all that is meant, of one of its paths or of all.
fn hiding(json: &Value, path: Option<usize>, before: &[Match]) -> Option<Vec<usize>> {
    let mut by = Vec::new();
    for single in singles(json, path) {
        let single: Match = serde_json::from_value(single).ok()?;
        let first = before.iter().position(|entry| entry.covers(&single))?;
        if !by.contains(&first) {
            by.push(first);
        }
    }
    by.sort_unstable();
    (!by.is_empty()).then_some(by)
}

/// The same `match` with one path, one host and one method each.
fn singles(json: &Value, path: Option<usize>) -> Vec<Value> {
    let mut all = vec![json.clone()];
    for name in ["paths", "hosts", "methods"] {
        let Some(values) = json.get(name).and_then(Value::as_array) else {
            continue;
        };
        let values = values.iter().enumerate();
        let wanted = |at: usize| name != "paths" || path.is_none_or(|path| path == at);
        let values: Vec<&Value> = values
            .filter(|(at, _)| wanted(*at))
            .map(|(_, value)| value)
            .collect();
        let each = all.iter().flat_map(|one| {
            values.iter().map(|value| {
                let mut one = one.clone();
                if let Some(list) = one.get_mut(name) {
                    *list = Value::Array(vec![(*value).clone()]);
                }
                one
            })
        });
        all = each.collect();
    }
    all
}
