//! Limits that never refuse.

use portcullis_policy::config::Duration;
use serde_json::Value;

use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::finding::{Code, Finding};

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
