//! `local_ratelimit`: buckets become limits.

use crate::import::value::set;
use serde_json::{Value, json};

use super::layout::{Layout, cover_frame};
use super::matcher::{is_all, matched};
use super::ratelimit::{action_keys, actions, entries_match, matches_of};
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

/// Takes one of them over, and what routes have of their own.
pub(super) fn take(layout: &Layout, filter: &At, draft: &mut Draft, notes: &mut Notes) {
    cover_frame(filter, notes);
    if let Some(config) = filter.get("typed_config") {
        draft.replaced.push(filter.pointer.clone());
        one(layout, &config, None, draft, notes);
    }
    for holder in layout.routes.iter().chain(&layout.hosts) {
        let own = holder
            .get("typed_per_filter_config")
            .map(|at| at.children())
            .unwrap_or_default();
        for config in own.iter().filter(|config| {
            config
                .text("@type")
                .is_some_and(|name| name.ends_with("LocalRateLimit"))
        }) {
            if let Some(of_type) = config.get("@type") {
                notes.cover(&of_type);
            }
            let matches = holder
                .get("match")
                .map_or(Some(json!({})), |at| matched(&at, &mut Notes::default()));
            match matches {
                Some(matches) => one(
                    layout,
                    config,
                    Some(matches).filter(|matches| !is_all(matches)),
                    draft,
                    notes,
                ),
                None => notes.left(config, "its route matches by what `match` has no word for"),
            }
            draft.replaced.push(config.pointer.clone());
        }
    }
}

fn one(layout: &Layout, config: &At, matches: Option<Value>, draft: &mut Draft, notes: &mut Notes) {
    let name = config.text("stat_prefix").unwrap_or("local").to_owned();
    if let Some(field) = config.get("stat_prefix") {
        notes.taken(&field, "the limit's name");
    }
    let mode = mode(config, notes);
    let per_connection = config
        .flag("local_rate_limit_per_downstream_connection")
        .unwrap_or(false);
    let all = match per_connection {
        true => json!(["client_address"]),
        false => json!(["constant"]),
    };
    if let Some(field) = config.get("local_rate_limit_per_downstream_connection") {
        match per_connection {
            true => notes.differs(
                &field,
                "key: [client_address]: a client over all its connections, and not each connection",
            ),
            false => notes.taken(&field, "key: [constant], all workers together"),
        }
    }
    let default_too = config
        .flag("always_consume_default_token_bucket")
        .unwrap_or(true);
    notes.taken_if(
        config,
        "always_consume_default_token_bucket",
        "whether the bucket of all is a limit beside those of descriptors",
    );
    let mut made = 0_usize;
    let mut own = actions(layout, config);
    own.sort_by_key(|at| at.path.len());
    for descriptor in config.list("descriptors") {
        let entries: Vec<(String, Option<String>)> = descriptor
            .list("entries")
            .iter()
            .map(|entry| {
                (
                    entry.text("key").unwrap_or_default().to_owned(),
                    entry
                        .text("value")
                        .filter(|value| !value.is_empty())
                        .map(str::to_owned),
                )
            })
            .collect();
        let found = own
            .iter()
            .find_map(|action| entries_match(action, &entries).map(|parts| (action, parts)));
        let (Some((action, parts)), Some(bucket)) = (found, descriptor.get("token_bucket")) else {
            notes.left(&descriptor, "no actions of `rate_limits` make this descriptor, or it goes by a value that `match` has no word for");
            continue;
        };
        notes.taken(action, "rate_limit.limits[].key");
        let mut limit = bucket_limit(&bucket, notes);
        set(&mut limit, "key", parts.key);
        let of_route = matches_of(layout, action).or_else(|| matches.clone());
        add(&mut limit, parts.matches.or(of_route), mode);
        let called = draft.limit(
            &format!("{name}_{}", entries.first().map_or("", |(key, _)| key)),
            limit,
        );
        notes.taken(&descriptor, format!("rate_limit.limits: {called}"));
        made = made.saturating_add(1);
    }
    for action in own.iter().filter(|_| made == 0) {
        let _keys = action_keys(action);
        notes.left(action, "no descriptor of this file is made by it");
    }
    if let Some(bucket) = config.get("token_bucket") {
        if made == 0 || default_too {
            let mut limit = bucket_limit(&bucket, notes);
            set(&mut limit, "key", all);
            add(&mut limit, matches, mode);
            let called = draft.limit(&name, limit);
            notes.taken(
                &bucket,
                format!(
                    "rate_limit.limits: {called}: burst, quota, window, algorithm: token_bucket"
                ),
            );
        } else {
            notes.left(
                &bucket,
                "requests that have a descriptor do not take from it, which no limit can say",
            );
        }
    }
    let headers = match config.text("enable_x_ratelimit_headers") {
        Some("DRAFT_VERSION_03") => "legacy",
        _ => "none",
    };
    let _none = draft.limiting.insert("headers".into(), json!(headers));
    match config.get("enable_x_ratelimit_headers") {
        Some(field) => notes.differs(&field, format!("rate_limit.headers: {headers}; X-RateLimit-Limit is `quota` here, `max_tokens` there")),
        None => notes.absent(config, "enable_x_ratelimit_headers", Outcome::Differs, "off: rate_limit.headers: none; a refusal has `Retry-After` all the same"),
    }
    let _none = draft
        .limiting
        .insert("cors_preflight".into(), json!("check"));
    if let Some(field) = config.get("status") {
        match matches_429(&field) {
            true => notes.taken(&field, "always 429"),
            false => notes.left(&field, "a refusal is always 429"),
        }
    }
    notes.left_if(
        config,
        &[
            "response_headers_to_add",
            "request_headers_to_add_when_not_enforced",
        ],
        "`header_mutation` of Envoy's does this, for every response",
    );
    notes.left_if(
        config,
        &["local_cluster_rate_limit"],
        "several gateways count each for itself",
    );
    notes.left_if(
        config,
        &["max_dynamic_descriptors"],
        "`capacity` bounds all limits together",
    );
    notes.left_if(
        config,
        &[
            "vh_rate_limits",
            "stage",
            "rate_limited_as_resource_exhausted",
        ],
        "nothing here goes by it",
    );
}

fn matches_429(field: &At) -> bool {
    field.number("code") == Some(429) || field.text("code") == Some("TooManyRequests")
}

fn add(limit: &mut Value, matches: Option<Value>, mode: &str) {
    if let Some(matches) = matches {
        set(limit, "match", matches);
    }
    if mode != "enforce" {
        set(limit, "mode", json!(mode));
    }
}

/// A bucket; intervals below a second become a longer one of the same rate.
fn bucket_limit(bucket: &At, notes: &mut Notes) -> Value {
    let burst = bucket.number("max_tokens").unwrap_or(1);
    let quota = bucket.number("tokens_per_fill").unwrap_or(1);
    let interval = bucket.text("fill_interval").unwrap_or("1s");
    let ms = millis(interval).unwrap_or(1_000).max(1);
    let times = if ms < 1_000 {
        1_000_u64.div_ceil(ms)
    } else {
        1
    };
    if times > 1 {
        notes.absent(
            bucket,
            "fill_interval",
            Outcome::Differs,
            "a window is at least 1s: a longer one of the same rate",
        );
    }
    let (quota, ms) = (quota.saturating_mul(times), ms.saturating_mul(times));
    let window = match ms.checked_rem(1_000) {
        Some(0) => format!("{}s", ms.checked_div(1_000).unwrap_or(1)),
        _ => format!("{ms}ms"),
    };
    json!({ "burst": burst, "quota": quota, "window": window, "algorithm": "token_bucket" })
}

/// `1.5s` in milliseconds.
fn millis(text: &str) -> Option<u64> {
    let (whole, part) = text
        .strip_suffix('s')?
        .split_once('.')
        .unwrap_or((text.strip_suffix('s')?, ""));
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000)?
        .checked_add(part.parse().ok()?)
}

/// Envoy's default of both is 0 %.
fn mode(config: &At, notes: &mut Notes) -> &'static str {
    let mut share = |name: &str| {
        let Some(field) = config.get(name) else {
            notes.absent(
                config,
                name,
                Outcome::Taken,
                "0 %: it is off there, and so it is here",
            );
            return 0;
        };
        let value = field.get("default_value");
        let numerator = value
            .as_ref()
            .and_then(|value| value.number("numerator"))
            .unwrap_or(0);
        let whole = match value.as_ref().and_then(|value| value.text("denominator")) {
            Some("TEN_THOUSAND") => 10_000,
            Some("MILLION") => 1_000_000,
            _ => 100,
        };
        match numerator {
            0 => notes.taken(&field, "0 %: mode"),
            _ if numerator >= whole => {
                notes.taken(&field, "100 %: mode; the runtime key has no counterpart")
            }
            _ => notes.differs(
                &field,
                "a part of the requests can't be said: the limit is in `mode: shadow`",
            ),
        }
        if numerator >= whole {
            2
        } else {
            u8::from(numerator > 0)
        }
    };
    match (share("filter_enabled"), share("filter_enforced")) {
        (0, _) => "off",
        (2, 2) => "enforce",
        _ => "shadow",
    }
}
