//! `/collections/{name}/points…`

use axum::extract::{Path, Query, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Failed, ok, read};
use super::filter::Filter;
use super::point::{NewPoint, Point, PointId, Shown, UNNAMED, VectorStruct};
use super::store::Scored;
use crate::app::App;

/// How many points a page or a search has when the caller does not say.
const DEFAULT_LIMIT: usize = 10;

#[derive(Deserialize)]
pub(super) struct Wait {
    #[serde(default)]
    wait: bool,
}

#[derive(Deserialize)]
struct Upsert {
    points: Vec<NewPoint>,
}

pub(super) async fn upsert(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wait): Query<Wait>,
    body: Bytes,
) -> Answer {
    let Upsert { points } = read(&body)?;
    app.0.qdrant.store.with(&name, |collection| {
        collection.upsert(points)?;
        updated(collection.operations, &wait)
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Selector {
    Ids { points: Vec<PointId> },
    Filter { filter: Filter },
}

pub(super) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(wait): Query<Wait>,
    body: Bytes,
) -> Answer {
    let selected: Selector = read(&body)?;
    app.0.qdrant.store.with(&name, |collection| {
        collection.delete(|id, point| match &selected {
            Selector::Ids { points } => points.contains(&id),
            Selector::Filter { filter } => filter.holds(id, &point.payload),
        });
        updated(collection.operations, &wait)
    })
}

/// What is done is done at once; without `wait` Qdrant does not say so.
fn updated(operation: u64, wait: &Wait) -> Answer {
    let status = if wait.wait {
        "completed"
    } else {
        "acknowledged"
    };
    ok(json!({ "operation_id": operation, "status": status }))
}

#[derive(Deserialize)]
struct Search {
    vector: SearchVector,
    #[serde(flatten)]
    rest: Ranked,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SearchVector {
    Unnamed(Vec<f32>),
    Named { name: String, vector: Vec<f32> },
}

/// What a search and a query have in common.
#[derive(Deserialize)]
struct Ranked {
    #[serde(default)]
    filter: Option<Filter>,
    limit: Option<usize>,
    offset: Option<usize>,
    #[serde(default)]
    with_payload: Option<Shown>,
    #[serde(default)]
    with_vector: Option<Shown>,
    score_threshold: Option<f32>,
}

pub(super) async fn search(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    let Search { vector, rest } = read(&body)?;
    let (using, vector) = match vector {
        SearchVector::Unnamed(vector) => (UNNAMED.to_owned(), vector),
        SearchVector::Named { name, vector } => (name, vector),
    };
    let filter = rest.filter.as_ref();
    let found = app.0.qdrant.store.with(&name, |collection| {
        collection.nearest(&using, &vector, filter.unwrap_or(&Filter::default()))
    })?;
    ok(rest.shown(found))
}

#[derive(Deserialize)]
struct QueryRequest {
    query: Option<Wanted>,
    using: Option<String>,
    #[serde(flatten)]
    rest: Ranked,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wanted {
    Nearest { nearest: Target },
    Plain(Target),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Target {
    Vector(Vec<f32>),
    Point(PointId),
}

pub(super) async fn query(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Answer {
    let QueryRequest { query, using, rest } = read(&body)?;
    let using = using.as_deref().unwrap_or(UNNAMED);
    let target = query.map(|wanted| match wanted {
        Wanted::Nearest { nearest: target } | Wanted::Plain(target) => target,
    });
    let all = Filter::default();
    let filter = rest.filter.as_ref().unwrap_or(&all);
    let found = app.0.qdrant.store.with(&name, |collection| match target {
        Some(Target::Vector(vector)) => collection.nearest(using, &vector, filter),
        Some(Target::Point(id)) => {
            let point = collection
                .points
                .get(&id)
                .ok_or_else(|| Failed::no_point(id))?;
            let vector = point.vectors.get(using).cloned().unwrap_or_default();
            let mut found = collection.nearest(using, &vector, filter)?;
            found.retain(|other| other.id != id);
            Ok(found)
        }
        None => {
            let scored = |(id, point): (PointId, &Point)| Scored {
                id,
                score: 0.0,
                point: point.clone(),
            };
            Ok(collection.filtered(filter).map(scored).collect())
        }
    })?;
    ok(json!({ "points": rest.shown(found) }))
}

impl Ranked {
    fn shown(&self, found: Vec<Scored>) -> Vec<Value> {
        let near = |scored: &Scored| {
            self.score_threshold
                .is_none_or(|least| scored.score >= least)
        };
        let found = found
            .into_iter()
            .filter(near)
            .skip(self.offset.unwrap_or_default());
        let found = found.take(self.limit.unwrap_or(DEFAULT_LIMIT));
        found
            .map(|scored| {
                let mut shown = self.record(scored.id, scored.point);
                shown.insert("score".to_owned(), json!(scored.score));
                shown.insert("version".to_owned(), json!(0));
                Value::Object(shown)
            })
            .collect()
    }

    fn record(&self, id: PointId, point: Point) -> Map<String, Value> {
        record(
            id,
            point,
            (self.with_payload.as_ref(), false),
            self.with_vector.as_ref(),
        )
    }
}

#[derive(Deserialize)]
struct Scroll {
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<Filter>,
    with_payload: Option<Shown>,
    with_vector: Option<Shown>,
}

pub(super) async fn scroll(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    let asked: Scroll = read(&body)?;
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 {
        return Err(Failed::wrong_input(
            "limit: value 0 invalid, must be 1 or larger",
        ));
    }
    app.0.qdrant.store.with(&name, |collection| {
        let all = Filter::default();
        let filter = asked.filter.as_ref().unwrap_or(&all);
        let from = |(id, _): &(PointId, &Point)| asked.offset.is_none_or(|offset| *id >= offset);
        let mut points = collection.filtered(filter).filter(from);
        let page: Vec<Map<String, Value>> = points
            .by_ref()
            .take(limit)
            .map(|(id, point)| {
                record(
                    id,
                    point.clone(),
                    (asked.with_payload.as_ref(), true),
                    asked.with_vector.as_ref(),
                )
            })
            .collect();
        let next = points.next().map(|(id, _)| id);
        ok(json!({ "points": page, "next_page_offset": next }))
    })
}

#[derive(Deserialize)]
struct Retrieve {
    ids: Vec<PointId>,
    with_payload: Option<Shown>,
    with_vector: Option<Shown>,
}

pub(super) async fn retrieve(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    let asked: Retrieve = read(&body)?;
    app.0.qdrant.store.with(&name, |collection| {
        let found = asked
            .ids
            .iter()
            .filter_map(|id| Some((*id, collection.points.get(id)?.clone())));
        let shown = found.map(|(id, point)| {
            record(
                id,
                point,
                (asked.with_payload.as_ref(), true),
                asked.with_vector.as_ref(),
            )
        });
        ok(shown.collect::<Vec<_>>())
    })
}

#[derive(Deserialize)]
struct Count {
    #[serde(default)]
    filter: Option<Filter>,
}

pub(super) async fn count(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Answer {
    let Count { filter } = read(&body)?;
    app.0.qdrant.store.with(&name, |collection| {
        let count = collection.filtered(&filter.unwrap_or_default()).count();
        ok(json!({ "count": count }))
    })
}

/// A point as far as it is asked for; without a word the payload is shown or not, vectors are not.
fn record(
    id: PointId,
    point: Point,
    (payload, payload_by_default): (Option<&Shown>, bool),
    vector: Option<&Shown>,
) -> Map<String, Value> {
    let default = Shown::default();
    let (payload, vector) = (payload.unwrap_or(&default), vector.unwrap_or(&default));
    let mut shown = Map::from_iter([("id".to_owned(), json!(id))]);
    if payload.any(payload_by_default) {
        let mut fields = point.payload;
        fields.retain(|name, _| payload.shows(name, payload_by_default));
        shown.insert("payload".to_owned(), Value::Object(fields));
    }
    if vector.any(false) {
        let mut vectors = point.vectors;
        vectors.retain(|name, _| name == UNNAMED || vector.shows(name, false));
        shown.insert(
            "vector".to_owned(),
            json!(VectorStruct::from_names(vectors)),
        );
    }
    shown
}
