//! Points: what they are named by and what they hold.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A point's id. Numbers come before UUIDs, as Qdrant sorts them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(super) enum PointId {
    Number(u64),
    Uuid(Uuid),
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// A point as it is sent.
#[derive(Deserialize)]
pub(super) struct NewPoint {
    pub(super) id: PointId,
    pub(super) vector: VectorStruct,
    #[serde(default)]
    pub(super) payload: Option<Map<String, Value>>,
}

/// The vector of a point, or one for each name.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum VectorStruct {
    One(Vec<f32>),
    Named(BTreeMap<String, Vec<f32>>),
}

/// The name of the vector that has none.
pub(super) const UNNAMED: &str = "";

impl VectorStruct {
    pub(super) fn by_name(self) -> BTreeMap<String, Vec<f32>> {
        match self {
            Self::One(vector) => BTreeMap::from([(UNNAMED.to_owned(), vector)]),
            Self::Named(vectors) => vectors,
        }
    }

    pub(super) fn from_names(mut vectors: BTreeMap<String, Vec<f32>>) -> Self {
        match vectors.remove(UNNAMED) {
            Some(vector) => Self::One(vector),
            None => Self::Named(vectors),
        }
    }
}

/// A point as it is kept.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Point {
    pub(super) vectors: BTreeMap<String, Vec<f32>>,
    pub(super) payload: Map<String, Value>,
}

/// How near two vectors are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Distance {
    Cosine,
    Dot,
    Euclid,
    Manhattan,
}

impl Distance {
    /// A vector as it is kept: of length one where only its direction is of interest.
    pub(super) fn kept(self, mut vector: Vec<f32>) -> Vec<f32> {
        let square: f32 = vector.iter().map(|value| value * value).sum();
        // One that is normalised already stays as it is, so that it can be copied again and again.
        let unit = (square - 1.0).abs() < 1e-5 || square == 0.0;
        if self == Self::Cosine && !unit {
            let length = square.sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector
    }

    /// The score of two vectors that are kept.
    pub(super) fn score(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = a.iter().zip(b);
        match self {
            Self::Cosine | Self::Dot => pairs.map(|(a, b)| a * b).sum(),
            Self::Euclid => pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt(),
            Self::Manhattan => pairs.map(|(a, b)| (a - b).abs()).sum(),
        }
    }

    /// Whether the higher of two scores is the nearer.
    pub(super) fn higher_is_nearer(self) -> bool {
        matches!(self, Self::Cosine | Self::Dot)
    }
}

/// What of a payload, or of the vectors, is shown.
#[derive(Clone, Default, Deserialize)]
#[serde(untagged)]
pub(super) enum Shown {
    #[default]
    Default,
    All(bool),
    Named(Vec<String>),
}

impl Shown {
    /// Whether what has this name is shown.
    pub(super) fn shows(&self, name: &str, default: bool) -> bool {
        match self {
            Self::Default => default,
            Self::All(all) => *all,
            Self::Named(names) => names.iter().any(|named| named == name),
        }
    }

    pub(super) fn any(&self, default: bool) -> bool {
        match self {
            Self::Default => default,
            Self::All(all) => *all,
            Self::Named(_) => true,
        }
    }
}
