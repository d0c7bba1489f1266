//! How long a gateway lets an upstream take.

use crate::document::{Content, Node, Place};

/// What ends a request whose upstream is late.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Whether there may be bounds that are not known, or that somebody else says.
    pub are_unknown: bool,
    /// Until all of an answer has come.
    pub whole: Option<Bound>,
    /// While nothing comes.
    pub silence: Option<Bound>,
}

/// A bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Milliseconds.
    pub millis: u64,
    /// Where it stands, or what it belongs to.
    pub place: Place,
    /// What it is called.
    pub name: &'static str,
    /// Whether it is what holds where nothing is said.
    pub is_default: bool,
}

impl Bound {
    /// One that is written somewhere; 0 is none.
    pub(crate) fn written(name: &'static str, node: &Node) -> Option<Self> {
        let millis = millis(node).filter(|millis| *millis > 0)?;
        Some(Self {
            millis,
            place: node.place(),
            name,
            is_default: false,
        })
    }

    /// The shortest.
    pub(crate) fn shortest(bounds: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        bounds
            .into_iter()
            .flatten()
            .min_by_key(|bound| bound.millis)
    }

    /// As a person writes it.
    pub(crate) fn shown(&self) -> String {
        match self.millis.checked_rem(1000) {
            Some(0) => format!("{}s", self.millis.checked_div(1000).unwrap_or_default()),
            _ => format!("{}ms", self.millis),
        }
    }
}

/// A protobuf duration in milliseconds: `1.5s`, `{ seconds: 1, nanos: 500000000 }`.
pub(crate) fn millis(node: &Node) -> Option<u64> {
    match &node.content {
        Content::Text(text) => {
            let number = text.strip_suffix('s')?;
            let (whole, part) = number.split_once('.').unwrap_or((number, ""));
            let part: String = part.chars().chain("000".chars()).take(3).collect();
            let whole: u64 = whole.parse().ok()?;
            whole.checked_mul(1000)?.checked_add(part.parse().ok()?)
        }
        Content::Map(_) => {
            let field = |name: &str| match node.get(name) {
                Some(node) => node.to_json().as_u64(),
                None => Some(0),
            };
            let nanos = field("nanos")?.checked_div(1_000_000)?;
            field("seconds")?.checked_mul(1000)?.checked_add(nanos)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    #[test]
    fn durations_are_read_as_envoy_writes_them() {
        for (text, read_as) in [
            ("15s", Some(15_000)),
            ("0s", Some(0)),
            ("0.25s", Some(250)),
            ("1.0005s", Some(1000)),
            ("{ seconds: 2, nanos: 5000000 }", Some(2005)),
            ("{ seconds: 2 }", Some(2000)),
            ("15", None),
            ("fast", None),
        ] {
            assert_eq!(millis(&read(text).unwrap().remove(0)), read_as, "{text}");
        }
    }
}
