//! Collections in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::Failed;
use super::filter::Filter;
use super::point::{Distance, NewPoint, Point, PointId, UNNAMED, VectorStruct};

/// All collections of a node.
#[derive(Default)]
pub(super) struct Store(Mutex<BTreeMap<String, Collection>>);

/// A collection.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Collection {
    /// As it was created.
    pub(super) created: Created,
    #[serde(with = "as_pairs")]
    pub(super) points: BTreeMap<PointId, Point>,
    pub(super) operations: u64,
    /// What payloads are indexed by. It makes no difference to an exact search.
    pub(super) indexes: Map<String, Value>,
}

/// What a collection is created with. What the stand-in makes nothing of it keeps and shows.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Created {
    pub(super) vectors: VectorsConfig,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

/// The parameters of a collection's vector, or of each of its vectors.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum VectorsConfig {
    One(VectorParams),
    Named(BTreeMap<String, VectorParams>),
}

#[derive(Clone, Deserialize, Serialize)]
pub(super) struct VectorParams {
    pub(super) size: usize,
    pub(super) distance: Distance,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A point that was found.
pub(super) struct Scored {
    pub(super) id: PointId,
    pub(super) score: f32,
    pub(super) point: Point,
}

impl Store {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Collection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a collection that must be there.
    pub(super) fn with<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Collection) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut collections = self.lock();
        let collection = collections.get_mut(name);
        act(collection.ok_or_else(|| Failed::no_collection(name))?)
    }

    pub(super) fn create(&self, name: &str, created: Created) -> Result<(), Failed> {
        let mut collections = self.lock();
        if collections.contains_key(name) {
            return Err(Failed::exists(name));
        }
        let collection = Collection {
            created,
            points: BTreeMap::new(),
            operations: 0,
            indexes: Map::new(),
        };
        collections.insert(name.to_owned(), collection);
        Ok(())
    }
}

impl Collection {
    fn params(&self, name: &str) -> Result<&VectorParams, Failed> {
        let found = match &self.created.vectors {
            VectorsConfig::One(params) => (name == UNNAMED).then_some(params),
            VectorsConfig::Named(named) => named.get(name),
        };
        found.ok_or_else(|| Failed::wrong_input(format!("Not existing vector name error: {name}")))
    }

    /// Puts points in, in place of those of the same ids; all of them or none.
    pub(super) fn upsert(&mut self, points: Vec<NewPoint>) -> Result<(), Failed> {
        let checked: Vec<(PointId, Point)> = points
            .into_iter()
            .map(|point| self.checked(point))
            .collect::<Result<_, _>>()?;
        self.points.extend(checked);
        self.operations = self.operations.saturating_add(1);
        Ok(())
    }

    pub(super) fn delete(&mut self, goes: impl Fn(PointId, &Point) -> bool) {
        self.points.retain(|id, point| !goes(*id, point));
        self.operations = self.operations.saturating_add(1);
    }

    /// The nearest points, nearest first; those of one score by their ids.
    pub(super) fn nearest(
        &self,
        using: &str,
        vector: &[f32],
        filter: &Filter,
    ) -> Result<Vec<Scored>, Failed> {
        let params = self.params(using)?;
        if vector.len() != params.size {
            return Err(Failed::dimension(params.size, vector.len()));
        }
        let distance = params.distance;
        let vector = distance.kept(vector.to_vec());
        let mut found: Vec<Scored> = self
            .filtered(filter)
            .filter_map(|(id, point)| {
                let score = distance.score(&vector, point.vectors.get(using)?);
                Some(Scored {
                    id,
                    score,
                    point: point.clone(),
                })
            })
            .collect();
        found.sort_by(|a, b| {
            let (first, second) = if distance.higher_is_nearer() {
                (b, a)
            } else {
                (a, b)
            };
            first.score.total_cmp(&second.score).then(a.id.cmp(&b.id))
        });
        Ok(found)
    }

    /// The points that a filter lets through, by their ids.
    pub(super) fn filtered(&self, filter: &Filter) -> impl Iterator<Item = (PointId, &Point)> {
        let points = self.points.iter().map(|(id, point)| (*id, point));
        points.filter(|(id, point)| filter.holds(*id, &point.payload))
    }

    fn checked(&self, point: NewPoint) -> Result<(PointId, Point), Failed> {
        let mut vectors = BTreeMap::new();
        for (name, vector) in VectorStruct::by_name(point.vector) {
            let params = self.params(&name)?;
            if vector.len() != params.size {
                return Err(Failed::dimension(params.size, vector.len()));
            }
            vectors.insert(name, params.distance.kept(vector));
        }
        let payload = point.payload.unwrap_or_default();
        Ok((point.id, Point { vectors, payload }))
    }
}

/// Names in JSON are texts, and an id may be a number.
mod as_pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::qdrant::point::{Point, PointId};

    pub(super) fn serialize<S: Serializer>(
        points: &BTreeMap<PointId, Point>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(points)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<PointId, Point>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
