//! Random configurations and requests, each as JSON for the product and as plain values for the
//! reference.

use portcullis_sim::Draw;

use crate::reference::{Algorithm, Asked, Limit, Quota, SECOND};

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Address,
    Constant,
    Method,
    Header(&'static str),
}

/// What becomes of a request without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Skip,
    Deny,
    Share,
}

/// Which requests a cost, or a limit, is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Matches {
    Method(&'static str),
    Below(&'static str),
}

/// A limit of a random configuration.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) limit: Limit,
    pub(crate) matches: Option<Matches>,
    pub(crate) key: Vec<Part>,
    pub(crate) missing: Missing,
    pub(crate) costs: Vec<(Matches, i128)>,
    pub(crate) cost: i128,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) peer: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const PATHS: [&str; 3] = ["/", "/api/orders", "/apis"];

impl Matches {
    fn draw(draw: &Draw) -> Self {
        if draw.once_in(2) {
            Self::Method(draw.of(&METHODS))
        } else {
            Self::Below(draw.of(&["/api", "/"]))
        }
    }

    fn json(self) -> String {
        match self {
            Self::Method(method) => format!(r#"{{"methods":["{method}"]}}"#),
            Self::Below(path) => format!(r#"{{"paths":[{{"prefix":"{path}"}}]}}"#),
        }
    }

    /// Whether nothing is left of `other` behind it.
    fn takes_all_of(self, other: Self) -> bool {
        match (self, other) {
            (Self::Method(one), Self::Method(other)) => one == other,
            (Self::Below("/"), Self::Below(_)) => true,
            (Self::Below(one), Self::Below(other)) => {
                let rest = other.strip_prefix(one);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (Self::Method(_), Self::Below(_)) | (Self::Below(_), Self::Method(_)) => false,
        }
    }

    fn holds(self, sent: &Drawn) -> bool {
        match self {
            Self::Method(method) => sent.method == method,
            Self::Below("/") => true,
            // By whole segments: `/apis` is not below `/api`.
            Self::Below(path) => {
                let rest = sent.path.strip_prefix(path);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl Part {
    fn json(self) -> String {
        match self {
            Self::Address => "\"client_address\"".to_owned(),
            Self::Constant => "\"constant\"".to_owned(),
            Self::Method => "\"method\"".to_owned(),
            Self::Header(name) => format!("\"header:{name}\""),
        }
    }

    fn value(self, sent: &Drawn) -> Option<String> {
        match self {
            Self::Address => Some(sent.peer.to_owned()),
            Self::Constant => Some(String::new()),
            Self::Method => Some(sent.method.to_owned()),
            Self::Header(name) => {
                let mut values = sent.headers.iter().filter(|(known, _)| *known == name);
                // An empty header is as good as none.
                let found = values.find(|(_, value)| !value.is_empty());
                found.map(|(_, value)| (*value).to_owned())
            }
        }
    }
}

/// A quota of any algorithm; few of them are so large that rounding would show.
pub(crate) fn quota(draw: &Draw) -> Quota {
    let most = match draw.between(0, 11) {
        0 => 1_000_000_000,
        // A sliding window counts more than 12 by parts.
        1..=3 => 40,
        _ => 12,
    };
    let millis = match draw.between(0, 5) {
        0 => 1_000,
        1 => 60_000,
        2 => 3_600_000,
        3 => 86_400_000,
        _ => draw.between(1_000, 90_000),
    };
    Quota {
        algorithm: draw.of(&Algorithm::ALL),
        quota: i128::from(draw.between(1, most)),
        window: i128::from(millis) * SECOND / 1_000,
        burst: i128::from(draw.between(1, most)),
    }
}

impl Generated {
    /// The `index`th limit of a configuration.
    pub(crate) fn draw(draw: &Draw, index: usize) -> Self {
        let quota = quota(draw);
        let cost = |one_in: u64| {
            let most = quota.most() as u64;
            if draw.once_in(one_in) {
                i128::from(draw.between(0, most.min(4)))
            } else if draw.once_in(6) || most > 1_000 {
                i128::from(draw.between(0, most))
            } else {
                1
            }
        };
        let mut key = vec![draw.of(&[
            Part::Address,
            Part::Constant,
            Part::Header("x-user"),
            Part::Header("x-user"),
        ])];
        if draw.once_in(3) {
            key.push(draw.of(&[Part::Header("x-team"), Part::Method, Part::Address]));
        }
        let drawn = (0..draw.between(0, 2)).map(|_| (Matches::draw(draw), cost(2)));
        let mut costs: Vec<(Matches, i128)> = Vec::new();
        for (matches, cost) in drawn {
            if !costs.iter().any(|(before, _)| before.takes_all_of(matches)) {
                costs.push((matches, cost));
            }
        }
        Self {
            costs,
            cost: cost(4),
            matches: draw.once_in(4).then(|| Matches::draw(draw)),
            missing: draw.of(&[Missing::Skip, Missing::Deny, Missing::Share]),
            key,
            limit: Limit {
                name: format!("limit_{index}"),
                quota,
                shadow: draw.once_in(8),
            },
        }
    }

    /// As it is written in a configuration.
    pub(crate) fn json(&self) -> String {
        let Quota {
            algorithm,
            quota,
            window,
            burst,
        } = self.limit.quota;
        let burst = match algorithm {
            Algorithm::Bucket => format!(r#","burst":{burst}"#),
            Algorithm::Fixed | Algorithm::Sliding => String::new(),
        };
        let matches = self.matches.map_or(String::new(), |matches| {
            format!(r#","match":{}"#, matches.json())
        });
        let costs: Vec<String> = self
            .costs
            .iter()
            .map(|(matches, cost)| format!(r#"{{"match":{},"cost":{cost}}}"#, matches.json()))
            .collect();
        let key: Vec<String> = self.key.iter().map(|part| part.json()).collect();
        let missing = match self.missing {
            Missing::Skip => "skip",
            Missing::Deny => "deny",
            Missing::Share => "share",
        };
        format!(
            r#"{{"name":"{}","algorithm":"{}","quota":{quota},"window":"{}ms"{burst}{matches},"key":[{}],"cost":{},"costs":[{}],"when_key_missing":"{missing}","mode":"{}"}}"#,
            self.limit.name,
            algorithm.name(),
            window * 1_000 / SECOND,
            key.join(","),
            self.cost,
            costs.join(","),
            if self.limit.shadow {
                "shadow"
            } else {
                "enforce"
            },
        )
    }

    /// What the reference is asked for a request.
    pub(crate) fn asked(&self, sent: &Drawn) -> Option<Asked> {
        if self.matches.is_some_and(|matches| !matches.holds(sent)) {
            return None;
        }
        let key: Vec<_> = self.key.iter().map(|part| part.value(sent)).collect();
        if key.contains(&None) {
            match self.missing {
                Missing::Skip => return None,
                Missing::Deny => return Some(Asked::KeyMissing),
                Missing::Share => {}
            }
        }
        let costs = self.costs.iter().find(|(matches, _)| matches.holds(sent));
        let cost = costs.map_or(self.cost, |(_, cost)| *cost);
        Some(Asked::Of { key, cost })
    }
}

impl Drawn {
    /// One of few, so that keys meet.
    pub(crate) fn draw(draw: &Draw) -> Self {
        let mut headers = Vec::new();
        for _ in 0..draw.of(&[0, 1, 1, 1, 1, 1]) {
            headers.push(("x-user", draw.of(&["u", "u", "v", ""])));
        }
        if draw.once_in(2) {
            headers.push(("x-team", "t"));
        }
        Self {
            peer: draw.of(&["192.0.2.1", "192.0.2.1", "2001:db8::1"]),
            method: draw.of(&METHODS),
            path: draw.of(&PATHS),
            headers,
        }
    }

    /// All headers, pseudo-headers included.
    pub(crate) fn all_headers(&self) -> Vec<(&str, &str)> {
        let mut all = vec![(":method", self.method), (":path", self.path)];
        all.extend(&self.headers);
        all
    }
}

/// A configuration of these limits.
pub(crate) fn config(capacity: u32, limits: &[Generated]) -> String {
    let limits: Vec<String> = limits.iter().map(Generated::json).collect();
    format!(
        r#"{{"capacity":{capacity},"limits":[{}]}}"#,
        limits.join(",")
    )
}
