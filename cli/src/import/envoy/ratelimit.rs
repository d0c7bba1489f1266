//! `ratelimit`: the limits of a rate limit service, by the descriptors that routes make.

use crate::import::value::set;
use serde_json::{Value, json};

use super::layout::{Layout, cover_frame};
use super::matcher::{is_all, matched};
use crate::document::Node;
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

/// Said of counts that a service held for all gateways. A key for it (`scope`) does not exist yet.
const PER_GATEWAY: &str = "each gateway counts for itself, where the service counted for all: several allow as many times the limit, unless it has `scope: global`";

/// What a limit of a descriptor is made of.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// Its key.
    pub key: Value,
    /// What it matches.
    pub matches: Option<Value>,
}

/// The entries of `rate_limits` of the filter, its routes and its virtual hosts.
#[must_use]
pub(super) fn actions<'a>(layout: &Layout<'a>, config: &At<'a>) -> Vec<At<'a>> {
    let mut all = config.list("rate_limits");
    for holder in layout.routes.iter().chain(&layout.hosts) {
        all.extend(holder.list("rate_limits"));
        all.extend(
            holder
                .get("route")
                .map(|route| route.list("rate_limits"))
                .unwrap_or_default(),
        );
    }
    all
}

/// Of each action: the descriptor's key, a fixed value, and the part of a key here.
#[must_use]
pub(super) fn action_keys(entry: &At) -> Option<Vec<(String, Option<String>, String)>> {
    let one = |action: At| {
        if let Some(header) = action.get("request_headers") {
            let name = header.text("header_name")?;
            let part = match name {
                ":path" => "path".to_owned(),
                ":method" => "method".to_owned(),
                ":authority" => "host".to_owned(),
                name => format!("header:{}", name.to_ascii_lowercase()),
            };
            return Some((header.text("descriptor_key")?.to_owned(), None, part));
        }
        if action.get("remote_address").is_some() {
            return Some((
                "remote_address".to_owned(),
                None,
                "client_address".to_owned(),
            ));
        }
        let fixed = action.get("generic_key")?;
        let key = fixed
            .text("descriptor_key")
            .unwrap_or("generic_key")
            .to_owned();
        Some((
            key,
            Some(fixed.text("descriptor_value")?.to_owned()),
            "constant".to_owned(),
        ))
    };
    entry.list("actions").into_iter().map(one).collect()
}

/// What a descriptor of these entries is here, if these actions make it.
#[must_use]
pub(super) fn entries_match(action: &At, entries: &[(String, Option<String>)]) -> Option<Parts> {
    let keys = action_keys(action)?;
    if keys.len() != entries.len() {
        return None;
    }
    let (mut key, mut matches) = (Vec::new(), json!({}));
    for ((made, fixed, part), (asked, value)) in keys.iter().zip(entries) {
        if made != asked {
            return None;
        }
        match (fixed, value, part.as_str()) {
            (Some(fixed), Some(value), _) if fixed == value => {}
            (Some(_), None, _) => {}
            (None, None, part) => key.push(json!(part)),
            (None, Some(value), "path") => {
                set(&mut matches, "paths", json!([{ "exact": value }]));
            }
            (None, Some(value), "method") => set(&mut matches, "methods", json!([value])),
            (None, Some(value), "host") => set(&mut matches, "hosts", json!([value])),
            _ => return None,
        }
    }
    if key.is_empty() {
        key.push(json!("constant"));
    }
    let has_match = matches.as_object().is_some_and(|parts| !parts.is_empty());
    Some(Parts {
        key: key.into(),
        matches: has_match.then_some(matches),
    })
}

/// Takes one of them over. `described`: the service's file.
pub(super) fn take(
    layout: &Layout,
    filter: &At,
    described: Option<&Node>,
    draft: &mut Draft,
    notes: &mut Notes,
) {
    cover_frame(filter, notes);
    let Some(config) = filter.get("typed_config") else {
        return;
    };
    let domain = config.text("domain").unwrap_or_default();
    let Some(described) = described else {
        notes.left(
            &config,
            "the limits stand in the service's own file: name it with `--descriptors FILE`",
        );
        return;
    };
    if described.get("domain").and_then(Node::text) != Some(domain) {
        notes.left(&config, "the file of `--descriptors` is of another domain");
        return;
    }
    notes.taken_if(&config, "domain", "the service's file");
    notes.left_if(
        &config,
        &[
            "rate_limit_service",
            "timeout",
            "stage",
            "request_type",
            "stat_prefix",
        ],
        "no service is asked",
    );
    let denies = config.flag("failure_mode_deny").unwrap_or(false);
    let _none = draft.limiting.insert(
        "on_error".into(),
        json!(if denies { "deny" } else { "allow" }),
    );
    match config.get("failure_mode_deny") {
        Some(field) => notes.taken(&field, "rate_limit.on_error"),
        None => notes.absent(
            &config,
            "failure_mode_deny",
            Outcome::Taken,
            "false: rate_limit.on_error: allow",
        ),
    }
    let headers = if config.text("enable_x_ratelimit_headers") == Some("DRAFT_VERSION_03") {
        "legacy"
    } else {
        "none"
    };
    let _none = draft.limiting.insert("headers".into(), json!(headers));
    notes.taken_if(&config, "enable_x_ratelimit_headers", "rate_limit.headers");
    notes.absent(
        &config,
        "the service's counts",
        Outcome::Differs,
        PER_GATEWAY,
    );
    let mut found = Vec::new();
    gather(described, &mut Vec::new(), &mut found);
    draft.replaced.push(filter.pointer.clone());
    for action in actions(layout, &config) {
        let of_route = matches_of(layout, &action);
        let mut names = Vec::new();
        for (entries, descriptor) in &found {
            let Some(parts) = entries_match(&action, entries) else {
                continue;
            };
            let Some(limit) = descriptor.get("rate_limit") else {
                continue;
            };
            let window = match limit
                .get("unit")
                .and_then(Node::text)
                .map(str::to_ascii_lowercase)
                .as_deref()
            {
                Some("second") => "1s",
                Some("minute") => "1m",
                Some("hour") => "1h",
                Some("day") => "24h",
                _ => continue,
            };
            let mut ours = json!({ "key": parts.key, "quota": limit.get("requests_per_unit").map(Node::to_json), "window": window, "algorithm": "fixed_window" });
            if let Some(matches) = parts.matches.or_else(|| of_route.clone()) {
                set(&mut ours, "match", matches);
            }
            if descriptor.get("shadow_mode").is_some_and(Node::is_true) {
                set(&mut ours, "mode", json!("shadow"));
            }
            let name = entries
                .iter()
                .map(|(key, value)| value.as_ref().unwrap_or(key).as_str())
                .collect::<Vec<_>>()
                .join("_");
            names.push(draft.limit(&name, ours));
        }
        match names.is_empty() {
            true => notes.left(&action, "no limit of the service's file goes by these actions, or they are not known here"),
            false => notes.differs(&action, format!("rate_limit.limits: {}; `match` is that of the descriptor or else of the route, and holds for the routes below it, too", names.join(", "))),
        }
    }
}

/// What the route of an action matches; `None` where that is everything, or `match` has no word for it.
pub(super) fn matches_of(layout: &Layout, action: &At) -> Option<Value> {
    let is_in = |route: &&At| action.pointer.starts_with(&format!("{}/", route.pointer));
    let route = layout.routes.iter().find(is_in)?;
    let matches = matched(&route.get("match")?, &mut Notes::default())?;
    (!is_all(&matches)).then_some(matches)
}

type Entries = Vec<(String, Option<String>)>;

fn gather<'a>(node: &'a Node, before: &mut Entries, found: &mut Vec<(Entries, &'a Node)>) {
    for descriptor in node.get("descriptors").map(Node::items).unwrap_or_default() {
        let text = |name: &str| descriptor.get(name).and_then(Node::text).map(str::to_owned);
        before.push((text("key").unwrap_or_default(), text("value")));
        if descriptor.get("rate_limit").is_some() {
            found.push((before.clone(), descriptor));
        }
        gather(descriptor, before, found);
        let _own = before.pop();
    }
}
