//! Filters: the conditions on payloads and ids that the tests and the demo need.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::point::PointId;

/// All of `must`, one of `should` if there are any, none of `must_not`. Other conditions than the two below are refused
/// as a body that can't be read.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Filter {
    must: Conditions,
    should: Conditions,
    must_not: Conditions,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Conditions {
    #[default]
    None,
    Many(Vec<Condition>),
    One(Box<Condition>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Condition {
    Field {
        key: String,
        #[serde(rename = "match")]
        equals: Match,
    },
    Ids {
        has_id: Vec<PointId>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Match {
    Value(Value),
    Any(Vec<Value>),
}

impl Filter {
    pub(super) fn holds(&self, id: PointId, payload: &Map<String, Value>) -> bool {
        let holds = |condition: &Condition| condition.holds(id, payload);
        let should = self.should.list();
        self.must.list().iter().all(holds)
            && (should.is_empty() || should.iter().any(holds))
            && !self.must_not.list().iter().any(holds)
    }
}

impl Conditions {
    fn list(&self) -> &[Condition] {
        match self {
            Self::None => &[],
            Self::Many(conditions) => conditions,
            Self::One(condition) => std::slice::from_ref(condition),
        }
    }
}

impl Condition {
    fn holds(&self, id: PointId, payload: &Map<String, Value>) -> bool {
        match self {
            Self::Ids { has_id } => has_id.contains(&id),
            Self::Field { key, equals } => payload.get(key).is_some_and(|value| match equals {
                Match::Value(wanted) => value == wanted,
                Match::Any(wanted) => wanted.contains(value),
            }),
        }
    }
}
