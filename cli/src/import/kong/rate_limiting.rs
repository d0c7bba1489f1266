//! `rate-limiting`: each period becomes a limit.

use crate::import::value::{get, set};
use serde_json::{Value, json};

use super::layout::{Layout, Scope, cover_frame};
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

const PERIODS: [(&str, &str); 4] = [
    ("second", "1s"),
    ("minute", "1m"),
    ("hour", "1h"),
    ("day", "24h"),
];

/// Said of counts that several gateways share. A key for it (`scope`) does not exist yet.
pub(super) const PER_GATEWAY: &str = "each gateway counts for itself: several allow as many times the limit, unless it has `scope: global`";

/// Takes all of them over.
pub(super) fn take(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    for plugin in layout.plugins("rate-limiting") {
        let Some((config, scope)) = begin(layout, &plugin, notes) else {
            continue;
        };
        let (key, matched) = counted_by(layout, &config, "limit_by", notes);
        let matched = merge(&plugin, &scope, matched, notes);
        for (period, window) in PERIODS {
            if let (Some(field), Some(quota)) = (config.get(period), config.number(period)) {
                let mut limit = json!({ "key": key, "quota": quota, "window": window, "algorithm": "fixed_window" });
                finish(&mut limit, matched.as_ref());
                let name = draft.limit(&format!("per_{period}"), limit);
                notes.taken(&field, format!("rate_limit.limits: {name}"));
            }
        }
        notes.left_if(
            &config,
            &["month", "year"],
            "a window is of one length, and counts do not survive the gateway",
        );
        match config.get("policy") {
            Some(field) if field.node.text() == Some("local") => {
                notes.taken(&field, "one count for all workers of a gateway")
            }
            Some(field) => notes.differs(&field, PER_GATEWAY),
            None => notes.absent(
                &config,
                "policy",
                Outcome::Taken,
                "local: one count for all workers of a gateway",
            ),
        }
        notes.left_if(
            &config,
            &[
                "redis",
                "redis_host",
                "redis_port",
                "redis_password",
                "redis_username",
                "redis_timeout",
                "redis_database",
                "redis_ssl",
                "redis_ssl_verify",
                "redis_server_name",
                "sync_rate",
            ],
            "nothing is counted in Redis; it is not shown here",
        );
        let open = config.flag("fault_tolerant").unwrap_or(true);
        put(
            draft,
            "on_error",
            if open { "allow" } else { "deny" },
            &plugin,
            notes,
        );
        match config.get("fault_tolerant") {
            Some(field) => notes.taken(
                &field,
                "rate_limit.on_error; what is refused for a failure gets 503, on Kong 500",
            ),
            None => notes.absent(
                &config,
                "fault_tolerant",
                Outcome::Taken,
                "true: rate_limit.on_error: allow",
            ),
        }
        told_in_headers(draft, &plugin, &config, notes);
        draft.replaced.push(plugin.pointer.clone());
    }
}

/// A plugin's configuration and where it is in force; `None`, with a note, where it is in force nowhere.
pub(super) fn begin<'a>(
    layout: &Layout<'a>,
    plugin: &At<'a>,
    notes: &mut Notes,
) -> Option<(At<'a>, Scope)> {
    cover_frame(plugin, notes);
    let config = plugin.get("config")?;
    if plugin.get("consumer").is_some() || plugin.path.starts_with("consumer") {
        notes.left(&config, "it is one consumer's own: there are no consumers here. Give that consumer's requests a limit with `match`, or a claim in its key");
        return None;
    }
    if plugin.flag("enabled") == Some(false) {
        notes.left(&config, "the plugin is switched off");
        return None;
    }
    let scope = layout.scope(plugin);
    if scope.is_none() {
        notes.left(
            &config,
            "it is in force on no route that can be matched here",
        );
    }
    Some((config, scope?))
}

/// The key, and the path that is counted alone.
pub(super) fn counted_by(
    layout: &Layout,
    config: &At,
    name: &str,
    notes: &mut Notes,
) -> (Value, Option<Value>) {
    let by = config.text(name).unwrap_or("consumer");
    let has_jwt = !layout.plugins("jwt").is_empty();
    let (key, path, outcome, message) = match by {
        "ip" => (json!(["client_address"]), None, Outcome::Differs, "key: [client_address]: the connection's peer. Set `client_address.trusted_proxies` to Kong's `trusted_ips`".to_owned()),
        "service" => (json!(["constant"]), None, Outcome::Taken, "key: [constant], with the `match` of the service's routes".to_owned()),
        "header" => {
            let header = config.text("header_name").unwrap_or_default().to_ascii_lowercase();
            (json!([format!("header:{header}")]), None, Outcome::Differs, "key: [header:<name>]: requests without it have one count together, on Kong each address has one".to_owned())
        }
        "path" => {
            let path = config.text("path").unwrap_or_default();
            (json!(["constant"]), Some(json!({ "paths": [{ "exact": path }] })), Outcome::Differs, "match.paths and key: [constant]; Kong counts requests for other paths by their address, here they are not counted".to_owned())
        }
        "consumer" | "credential" if has_jwt => (json!(["claim:iss"]), None, Outcome::Differs, format!("{by}: key: [claim:iss], which is the credential that `jwt` chose. A consumer with several credentials has several counts; requests without a token have one together")),
        "credential" => {
            let name = layout.plugins("key-auth").first().and_then(|plugin| plugin.at(&["config"])?.texts("key_names")?.first().cloned());
            let header = name.unwrap_or_else(|| "apikey".to_owned());
            (json!([format!("header:{header}")]), None, Outcome::Differs, "key: the header of the key, as the client sent it, verified or not".to_owned())
        }
        other => (json!(["client_address"]), None, Outcome::Differs, format!("{other}: no plugin of this file that can be taken over tells consumers apart: key: [client_address], which Kong goes by, too, where there is no consumer")),
    };
    match (config.get(name), outcome) {
        (Some(field), Outcome::Taken) => notes.taken(&field, message),
        (Some(field), _) => notes.differs(&field, message),
        (None, outcome) => notes.absent(config, name, outcome, message),
    }
    notes.taken_if(config, "header_name", "rate_limit.limits[].key");
    notes.taken_if(config, "path", "rate_limit.limits[].match.paths");
    (key, path)
}

/// What a limit matches.
pub(super) fn merge(
    plugin: &At,
    scope: &Scope,
    path: Option<Value>,
    notes: &mut Notes,
) -> Option<Value> {
    let (matched, is_exact) = scope.merged();
    if !is_exact {
        notes.absent(plugin, "route", Outcome::Differs, "its routes differ in hosts or methods, or one has no `match` here: the limit counts other requests of these paths as well, or lacks that route's");
    }
    if path.is_none() && !scope.others.is_empty() {
        let others = scope.others.join(", ");
        notes.absent(plugin, "route", Outcome::Differs, format!("`match` holds for the routes below it, too: requests of {others} are counted here, on Kong they are not"));
    }
    path.or(matched)
}

/// The parts of a limit that all have.
pub(super) fn finish(limit: &mut Value, matched: Option<&Value>) {
    if let Some(matched) = matched {
        set(limit, "match", matched.clone());
    }
    // Kong counts who lacks a key by the address: nobody goes uncounted.
    if ![json!(["client_address"]), json!(["constant"])].contains(get(limit, "key")) {
        set(limit, "when_key_missing", json!("share"));
    }
}

/// What headers tell, and what stands in the way of it.
pub(super) fn told_in_headers(draft: &mut Draft, plugin: &At, config: &At, notes: &mut Notes) {
    let hidden = config.flag("hide_client_headers").unwrap_or(false);
    put(
        draft,
        "headers",
        if hidden { "none" } else { "legacy" },
        plugin,
        notes,
    );
    match config.get("hide_client_headers") {
        Some(field) if hidden => notes.differs(
            &field,
            "rate_limit.headers: none; a refusal has `Retry-After` all the same",
        ),
        Some(field) => notes.differs(
            &field,
            "rate_limit.headers: legacy; Kong's RateLimit-Limit is X-RateLimit-Limit here",
        ),
        None => notes.absent(
            config,
            "hide_client_headers",
            Outcome::Differs,
            "false: rate_limit.headers: legacy; Kong's RateLimit-Limit is X-RateLimit-Limit here",
        ),
    }
    if let Some(field) = config.get("error_code") {
        match config.number("error_code") {
            Some(429) => notes.taken(&field, "always 429"),
            _ => notes.left(&field, "a refusal is always 429"),
        }
    }
    notes.left_if(
        config,
        &["error_message"],
        "a refusal's body is a problem document",
    );
    // Preflights that no plugin before it answers are counted on Kong.
    put(draft, "cors_preflight", "check", plugin, notes);
}

fn put(draft: &mut Draft, name: &str, value: &str, plugin: &At, notes: &mut Notes) {
    match draft.limiting.get(name) {
        Some(set) if set != value => notes.absent(
            plugin,
            name,
            Outcome::Differs,
            format!("{name} is one for all limits, and an earlier plugin set it to another value"),
        ),
        _ => drop(draft.limiting.insert(name.to_owned(), json!(value))),
    }
}
