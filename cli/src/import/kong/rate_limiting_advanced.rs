//! `rate-limiting-advanced`: each pair of `limit` and `window_size` becomes a limit.

use serde_json::json;

use super::layout::Layout;
use super::rate_limiting::{PER_GATEWAY, begin, counted_by, finish, merge, told_in_headers};
use crate::document::Content;
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

/// Takes all of them over.
pub(super) fn take(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    for plugin in layout.plugins("rate-limiting-advanced") {
        let Some((config, scope)) = begin(layout, &plugin, notes) else {
            continue;
        };
        let (key, path) = counted_by(layout, &config, "identifier", notes);
        let matched = merge(&plugin, &scope, path, notes);
        let algorithm = match config.text("window_type") {
            Some("fixed") => "fixed_window",
            _ => "sliding_window",
        };
        let refused = "Kong's is an estimate that counts refused requests, too (`disable_penalty`); here refused ones are not counted";
        match config.get("window_type") {
            Some(field) if algorithm == "fixed_window" => {
                notes.taken(&field, "algorithm: fixed_window")
            }
            Some(field) => notes.differs(&field, format!("algorithm: sliding_window; {refused}")),
            None => notes.absent(
                &config,
                "window_type",
                Outcome::Differs,
                format!("sliding: algorithm: sliding_window; {refused}"),
            ),
        }
        notes.left_if(
            &config,
            &["disable_penalty"],
            "refused requests are never counted here",
        );
        let quotas = numbers(&config, "limit");
        let windows = numbers(&config, "window_size");
        for ((quota, at), (window, _)) in quotas.into_iter().zip(windows) {
            let mut limit = json!({ "key": key, "quota": quota, "window": format!("{window}s"), "algorithm": algorithm });
            finish(&mut limit, matched.as_ref());
            let name = draft.limit(&format!("per_{window}s"), limit);
            notes.taken(&at, format!("rate_limit.limits: {name}"));
        }
        notes.taken_if(&config, "window_size", "rate_limit.limits[].window");
        match config.get("strategy") {
            Some(field) if field.node.text() == Some("local") => {
                notes.taken(&field, "one count for all workers of a gateway")
            }
            Some(field) => notes.differs(&field, PER_GATEWAY),
            None => notes.absent(
                &config,
                "strategy",
                Outcome::Differs,
                format!("local or cluster, by Kong's version: {PER_GATEWAY}"),
            ),
        }
        notes.left_if(
            &config,
            &[
                "sync_rate",
                "namespace",
                "dictionary_name",
                "redis",
                "lock_dictionary_name",
            ],
            "counts are not shared between gateways; it is not shown here",
        );
        notes.left_if(
            &config,
            &["retry_after_jitter_max"],
            "`Retry-After` is exact",
        );
        notes.left_if(
            &config,
            &["consumer_groups", "enforce_consumer_groups"],
            "there are no consumers here",
        );
        told_in_headers(draft, &plugin, &config, notes);
        draft.replaced.push(plugin.pointer.clone());
    }
}

/// The numbers of a list; where it is a number, that one.
fn numbers<'a>(config: &At<'a>, name: &str) -> Vec<(u64, At<'a>)> {
    let Some(field) = config.get(name) else {
        return Vec::new();
    };
    let one = |at: At<'a>| match &at.node.content {
        Content::Number(number) => number.as_u64().map(|number| (number, at)),
        _ => None,
    };
    match field.node.items().is_empty() {
        true => one(field).into_iter().collect(),
        false => field.items().into_iter().filter_map(one).collect(),
    }
}
