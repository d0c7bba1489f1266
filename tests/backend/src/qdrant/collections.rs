//! `/collections`

use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, ok, read};
use super::store::{Collection, Created};
use crate::app::App;

pub(super) async fn list(State(app): State<App>) -> Answer {
    let collections = app.0.qdrant.store.lock();
    let names: Vec<Value> = collections
        .keys()
        .map(|name| json!({ "name": name }))
        .collect();
    ok(json!({ "collections": names }))
}

pub(super) async fn exists(State(app): State<App>, Path(name): Path<String>) -> Answer {
    ok(json!({ "exists": app.0.qdrant.store.lock().contains_key(&name) }))
}

pub(super) async fn create(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    let created: Created = read(&body)?;
    app.0.qdrant.store.create(&name, created)?;
    ok(true)
}

pub(super) async fn delete(State(app): State<App>, Path(name): Path<String>) -> Answer {
    ok(app.0.qdrant.store.lock().remove(&name).is_some())
}

#[derive(Deserialize)]
struct Index {
    field_name: String,
    /// The kind alone, not its parameters.
    field_schema: String,
}

pub(super) async fn index(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Answer {
    let index: Index = read(&body)?;
    app.0.qdrant.store.with(&name, |collection| {
        let kind = json!(index.field_schema);
        collection.indexes.insert(index.field_name, kind);
        collection.operations = collection.operations.saturating_add(1);
        ok(json!({ "operation_id": collection.operations, "status": "completed" }))
    })
}

pub(super) async fn show(State(app): State<App>, Path(name): Path<String>) -> Answer {
    app.0
        .qdrant
        .store
        .with(&name, |collection| ok(info(collection)))
}

/// What Qdrant tells of a collection: what it was created with, and Qdrant's own settings where nothing was said.
fn info(collection: &Collection) -> Value {
    let schema: Map<String, Value> = collection
        .indexes
        .iter()
        .map(|(field, kind)| (field.clone(), json!({ "data_type": kind, "points": 0 })))
        .collect();
    let given = |key: &str, default: Value| {
        let given = collection
            .created
            .rest
            .get(key)
            .filter(|value| !value.is_null());
        given.cloned().unwrap_or(default)
    };
    let optimizers = json!({
        "deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
        "flush_interval_sec": 5,
    });
    let params = json!({
        "vectors": collection.created.vectors,
        "shard_number": given("shard_number", json!(1)),
        "replication_factor": given("replication_factor", json!(1)),
        "write_consistency_factor": given("write_consistency_factor", json!(1)),
        "on_disk_payload": given("on_disk_payload", json!(true)),
    });
    // Not shown where there are none.
    let sparse = collection.created.rest.get("sparse_vectors");
    let sparse = sparse.map(|sparse| json!({ "sparse_vectors": sparse }));
    json!({
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": 0,
        "points_count": collection.points.len(),
        "segments_count": 1,
        "config": {
            "params": merged(params, sparse.unwrap_or_default()),
            "hnsw_config": merged(
                json!({ "m": 16, "ef_construct": 100, "full_scan_threshold": 10_000 }),
                given("hnsw_config", json!({})),
            ),
            "optimizer_config": merged(optimizers, given("optimizers_config", json!({}))),
            "wal_config": { "wal_capacity_mb": 32, "wal_segments_ahead": 0 },
            "quantization_config": given("quantization_config", Value::Null),
        },
        "payload_schema": schema,
    })
}

fn merged(mut defaults: Value, given: Value) -> Value {
    if let (Some(defaults), Value::Object(given)) = (defaults.as_object_mut(), given) {
        defaults.extend(given);
    }
    defaults
}
