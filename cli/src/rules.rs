//! What is right, and does not do what it seems to.

use std::collections::BTreeSet;

use portcullis_policy::config::Duration;
use serde_json::Value;

use crate::document::{Node, Place};
use crate::filter::Taken;
use crate::finding::{Code, Finding};
use crate::gateway::Configured;

/// Limits of which one makes another one idle.
pub(crate) fn idle_limits(configured: &Configured) -> Vec<Finding> {
    let part = configured.part("rate_limit");
    let items = |name: &str| {
        let list = part.and_then(|part| part.get(name));
        list.map_or(&[][..], Node::items)
    };
    let before_auth = items("before_auth");
    let limits = items("limits").iter();
    let limits: Vec<Limit<'_>> = limits
        .filter_map(|limit| Limit::read(limit, before_auth))
        .collect();
    let idle = limits.iter().enumerate().filter_map(|(index, limit)| {
        let (_, stricter) = limits.iter().enumerate().find(|(other, stricter)| {
            // Of two that are alike, the first is in force.
            let comes_first = *other < index || !limit.leaves_idle(stricter);
            *other != index && comes_first && stricter.leaves_idle(limit)
        })?;
        Some(Finding {
            code: Code::NeverRefuses,
            place: limit.place,
            message: format!(
                "the limit {:?} never refuses: {:?}, of the same key, allows {} in {} where this one allows {} in {}",
                limit.name, stricter.name, stricter.quota, stricter.shown, limit.quota, limit.shown,
            ),
            beside: Some((stricter.place, "this one refuses before it".to_owned())),
        })
    });
    idle.collect()
}

/// A limit that counts in a window, and refuses.
struct Limit<'a> {
    name: &'a str,
    place: Place,
    /// All that says which requests it counts, by what, and how.
    counts: [Value; 6],
    matches: Option<Value>,
    algorithm: String,
    quota: u64,
    /// What may come at once.
    burst: u64,
    window: u64,
    shown: &'a str,
    refuses: bool,
    before_auth: bool,
}

impl<'a> Limit<'a> {
    fn read(node: &'a Node, before_auth: &[Node]) -> Option<Self> {
        let json = |name: &str| node.get(name).map_or(Value::Null, Node::to_json);
        let text = |name: &str, default: &str| match node.get(name).and_then(Node::text) {
            Some(text) => text.to_owned(),
            None => default.to_owned(),
        };
        let number = |name: &str| json(name).as_u64();
        let name = node.get("name")?;
        let shown = node.get("window")?.text()?;
        let window: Duration = serde_json::from_value(json("window")).ok()?;
        let quota = number("quota")?;
        let mode = text("mode", "enforce");
        (mode != "off").then_some(())?;
        Some(Self {
            name: name.text()?,
            before_auth: before_auth
                .iter()
                .any(|before| before.text() == name.text()),
            place: name.written,
            counts: [
                json("key"),
                json("cost"),
                json("costs"),
                Value::from(text("when_key_missing", "skip")),
                Value::from(text("when_unserved", "give_back")),
                Value::from(mode.as_str()),
            ],
            matches: node.get("match").map(Node::to_json),
            algorithm: text("algorithm", "sliding_window"),
            quota,
            burst: number("burst").unwrap_or(quota),
            window: window.span().as_nanos(),
            shown,
            refuses: mode == "enforce" && node.get("on_exceeded").is_none(),
        })
    }

    /// Whether whatever the other one would refuse is refused by this one.
    fn leaves_idle(&self, other: &Self) -> bool {
        let alike =
            self.refuses && self.counts == other.counts && self.algorithm == other.algorithm;
        let sees_as_many = self.matches.is_none() || self.matches == other.matches;
        let (ours, theirs) = (u128::from(self.window), u128::from(other.window));
        let is_stricter = match self.algorithm.as_str() {
            "token_bucket" => {
                let rate = u128::from(self.quota).saturating_mul(theirs);
                rate <= u128::from(other.quota).saturating_mul(ours) && self.burst <= other.burst
            }
            // Each of their windows lies in one of ours.
            "fixed_window" => {
                self.quota <= other.quota && ours.checked_rem(theirs).is_some_and(|rest| rest == 0)
            }
            // Of the same requests both count the same. Else what counts is that no span of eleven twelfths of our window,
            // less its grace, holds more than our quota.
            _ => {
                let same = ours == theirs && self.matches == other.matches;
                let longer = ours.saturating_mul(100) >= theirs.saturating_mul(112);
                self.quota <= other.quota && (same || longer)
            }
        };
        // What is refused between the two, only the earlier one counts.
        let sees_as_many = sees_as_many && (self.before_auth || !other.before_auth);
        alike && sees_as_many && is_stricter
    }
}

/// Bodies that Envoy does not go on reading.
pub(crate) fn bodies_not_shown(configured: &Configured, taken: Taken) -> Option<Finding> {
    let wasm = configured.wasm?;
    (taken.reads_requests && !wasm.goes_on_reading).then(|| Finding {
        code: Code::BodiesNotShown,
        place: configured.place,
        message: format!(
            "{} waits for requests' bodies, and Envoy stops reading where a filter waits; expected \
             `allow_on_headers_stop_iteration: true` beside `root_id`",
            configured.filter.name
        ),
        beside: None,
    })
}

/// Limits by an address that clients choose.
pub(crate) fn chosen_addresses(configured: &Configured) -> Vec<Finding> {
    let Some(manager) = configured.manager.filter(|manager| !manager.knows_the_peer) else {
        return Vec::new();
    };
    let limits = configured
        .part("rate_limit")
        .and_then(|part| part.get("limits"));
    let limits = limits.map_or(&[][..], Node::items).iter();
    let keys = limits.flat_map(|limit| limit.get("key").map_or(&[][..], Node::items));
    let by_address = keys.filter(|key| key.text() == Some("client_address"));
    let finding = |key: &Node| {
        Finding {
        code: Code::ChosenAddress,
        place: key.written,
        message: "a client chooses the address that it is counted by: without `use_remote_address: true` Envoy takes it from \
                  x-forwarded-for"
            .to_owned(),
        beside: Some((manager.place, "it is missing in this connection manager".to_owned())),
    }
    };
    by_address.map(finding).collect()
}

/// Routes without the `jwt_auth` that their listener has.
pub(crate) fn open_routes(all: &[Configured]) -> Vec<Finding> {
    let place = |configured: &Configured| configured.manager.map(|manager| manager.place);
    let checks = |configured: &&Configured| configured.part("jwt_auth").is_some();
    let open = |route: &Configured| {
        let mut beside = all.iter().filter(|other| {
            let is_near = place(other).is_some() && place(other) == place(route);
            !other.is_of_route && is_near && other.name == route.name
        });
        let listener = beside.find(checks)?;
        Some(Finding {
            code: Code::OpenRoute,
            place: route.place,
            message: "no token is looked at here: a route's configuration takes the place of all of its listener's, and this one \
                      has no `jwt_auth`"
                .to_owned(),
            beside: Some((listener.place, "the listener's has one".to_owned())),
        })
    };
    let routes = all
        .iter()
        .filter(|route| route.is_of_route && !checks(route));
    routes.filter_map(open).collect()
}

/// Secrets that stand in the file, as such or as the value of a variable that is asked for one.
pub(crate) fn secrets_in_clear(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Finding> {
    let mut secrets = Vec::new();
    gather_secrets(&configured.config, &mut secrets);
    secrets.extend(values(configured, asked));
    let finding = |place: &Place| {
        Finding {
        code: Code::SecretInClear,
        place: *place,
        message: "whoever reads the file has this secret; expected `env`, with the name of a variable of the gateway's"
            .to_owned(),
        beside: None,
    }
    };
    secrets.iter().map(finding).collect()
}

/// Where the values of variables stand that are asked for.
fn values(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Place> {
    let variables = configured.variables.iter().flatten();
    let variables = variables.filter(|variable| asked.contains(&variable.name));
    let values = variables.filter_map(|variable| variable.value.as_ref());
    values.map(|value| value.written).collect()
}

/// Where secrets stand.
pub(crate) fn gather_secrets(node: &Node, secrets: &mut Vec<Place>) {
    for field in node.fields() {
        let values = match field.name.as_str() {
            "secret" | "token" => vec![&field.value],
            "secrets" => field.value.items().iter().collect(),
            _ => Vec::new(),
        };
        let values = values.into_iter().filter_map(|secret| secret.get("value"));
        secrets.extend(
            values
                .filter(|value| value.text().is_some())
                .map(|value| value.written),
        );
        gather_secrets(&field.value, secrets);
    }
    for item in node.items() {
        gather_secrets(item, secrets);
    }
}

/// Variables that the gateway does not show to the filter.
pub(crate) fn hidden_variables(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Finding> {
    let Some(shown) = &configured.variables else {
        return Vec::new();
    };
    let mut named = Vec::new();
    gather_variables(&configured.config, &mut named);
    let is_hidden =
        |name: &str| asked.contains(name) && shown.iter().all(|shown| shown.name != name);
    let hidden = named
        .into_iter()
        .filter_map(|node| Some((node, node.text()?)));
    let finding = |(node, name): (&Node, &str)| Finding {
        code: Code::HiddenVariable,
        place: node.written,
        message: format!(
            "the gateway does not show the variable {name} to the filter; {HOW_SHOWN}"
        ),
        beside: None,
    };
    hidden
        .filter(|(_, name)| is_hidden(name))
        .map(finding)
        .collect()
}

const HOW_SHOWN: &str = "expected it in `host_env_keys` (Envoy), `env.hostKeys` (Envoy Gateway) or `vmConfig.env` (Istio)";

fn gather_variables<'a>(node: &'a Node, named: &mut Vec<&'a Node>) {
    for field in node.fields() {
        match field.name.as_str() {
            "env" => named.push(&field.value),
            _ => gather_variables(&field.value, named),
        }
    }
    for item in node.items() {
        gather_variables(item, named);
    }
}
