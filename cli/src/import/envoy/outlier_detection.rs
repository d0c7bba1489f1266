//! `outlier_detection` of a cluster: a breaker for the routes that lead there.

use crate::import::value::{get, set};
use serde_json::json;

use super::layout::Layout;
use super::matcher::{is_all, matched};
use crate::import::draft::Draft;
use crate::import::notes::{Notes, Outcome};

/// Takes all of them over.
pub(super) fn take(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    for cluster in &layout.clusters {
        let Some(config) = cluster.get("outlier_detection") else {
            continue;
        };
        let name = cluster.text("name").unwrap_or("cluster");
        let leads = |route: &&crate::import::notes::At| {
            route
                .at(&["route"])
                .and_then(|at| at.text("cluster").map(str::to_owned))
                .as_deref()
                == Some(name)
        };
        let routes: Vec<_> = layout.routes.iter().filter(leads).collect();
        let matches: Option<Vec<_>> = routes
            .iter()
            .map(|route| matched(&route.get("match")?, &mut Notes::default()))
            .collect();
        let Some(matches) = matches.filter(|matches| !matches.is_empty()) else {
            notes.left(&config, "no route of this file leads to its cluster, or one matches by what `match` has no word for");
            continue;
        };
        let failures = config.number("consecutive_5xx").unwrap_or(5);
        let open = config.text("base_ejection_time").unwrap_or("30s");
        let mut breaker = json!({
            "name": Draft::name(name, |name| draft.breakers.iter().any(|breaker| get(breaker, "name") == name)),
            "trip": { "consecutive_failures": failures },
            "open_for": { "initial": open },
        });
        let paths: Vec<_> = matches
            .iter()
            .filter_map(|matches| get(matches, "paths").as_array())
            .flatten()
            .cloned()
            .collect();
        if !matches
            .iter()
            .any(|matches| is_all(matches) || matches.get("paths").is_none())
        {
            set(&mut breaker, "match", json!({ "paths": paths }));
        }
        draft.breakers.push(breaker);
        notes.absent(&config, "hosts", Outcome::Differs, "Envoy leaves out the host that fails; a breaker stands for the cluster, whichever host failed. Keep `outlier_detection` beside it where there are several hosts");
        match config.get("consecutive_5xx") {
            Some(field) => notes.differs(&field, "trip.consecutive_failures: of 500, 502, 503, 504, failed connections and timeouts; on Envoy of every 5xx"),
            None => notes.absent(&config, "consecutive_5xx", Outcome::Differs, "5: trip.consecutive_failures: of 500, 502, 503, 504, failed connections and timeouts; on Envoy of every 5xx"),
        }
        match config.get("base_ejection_time") {
            Some(field) => notes.differs(
                &field,
                "open_for.initial; Envoy makes it longer each time, see `open_for.multiplier`",
            ),
            None => notes.absent(
                &config,
                "base_ejection_time",
                Outcome::Differs,
                "30s: open_for.initial; Envoy makes it longer each time, see `open_for.multiplier`",
            ),
        }
        if let Some(field) = config.get("max_ejection_time") {
            notes.left(
                &field,
                "`open_for.max` bounds what `open_for.multiplier` makes longer",
            );
        }
        for field in config.children() {
            let part = field.path.rsplit('.').next().unwrap_or_default();
            let known = ["consecutive_5xx", "base_ejection_time", "max_ejection_time"];
            let of_hosts = part.starts_with("enforcing_")
                || part.starts_with("max_ejection")
                || part.starts_with("success_rate")
                || part.starts_with("failure_percentage")
                || [
                    "interval",
                    "consecutive_gateway_failure",
                    "split_external_local_origin_errors",
                    "consecutive_local_origin_failure",
                    "always_eject_one_host",
                    "max_ejection_time_jitter",
                ]
                .contains(&part);
            if !known.contains(&part) && of_hosts {
                notes.left(
                    &field,
                    "it is about single hosts, which a breaker does not know",
                );
            }
        }
    }
}
