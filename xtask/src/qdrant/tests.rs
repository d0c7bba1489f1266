//! Against the stand-ins of tests/backend.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::backend::{Backend, Fault, Role, Running};
use portcullis_e2e::{PATIENCE, until};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::client::Collection;
use super::{Create, Layout, Migrate};

const NAME: &str = "docs";
const POINTS: u32 = 100;

fn url(backend: &Running) -> String {
    format!("http://{}", backend.addr())
}

async fn node() -> Result<Running> {
    Ok(Backend::builder().role(Role::Qdrant).start().await?)
}

fn at(node: &Running) -> Result<Collection> {
    Collection::at(&url(node), NAME, None)
}

/// A node with points of all kinds.
async fn source() -> Result<Running> {
    let node = node().await?;
    let collection = at(&node)?;
    let vectors = json!({ "size": 3, "distance": "Cosine" });
    collection
        .create(&json!({ "vectors": vectors, "hnsw_config": { "m": 32 } }))
        .await?;
    let mut points: Vec<Value> = (1..POINTS)
        .map(|n| json!({ "id": n, "vector": [n, 1, 0.3], "payload": { "n": n, "deep": { "text": "ä" } } }))
        .collect();
    points.push(json!({ "id": "5c56c793-69f3-4fbf-87e6-c4bf54c28c26", "vector": [0.1, 0.2, 0.3] }));
    collection.upsert(&points).await?;
    collection.index("n", &json!("integer")).await?;
    Ok(node)
}

async fn all(node: &Running) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let collection = at(node)?;
    let mut pages = collection.pages(30, true);
    while let Some(points) = pages.next().await? {
        all.extend(points);
    }
    Ok(all)
}

fn migration(from: &Running, to: &Running) -> Migrate {
    Migrate {
        from: url(from),
        to: format!("{}/", url(to)),
        collection: NAME.to_owned(),
        layout: Layout {
            replication_factor: 2,
            shards: Some(6),
        },
        page: 7,
        from_api_key_env: None,
        to_api_key_env: None,
    }
}

#[tokio::test]
async fn a_collection_is_copied_with_ids_payloads_vectors_and_parameters_and_again() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    let copied = all(&from).await?;
    assert_eq!(copied.len(), POINTS as usize);
    for _ in 0..2 {
        migration(&from, &to).run().await?;
        assert_eq!(all(&to).await?, copied);
    }
    let target = at(&to)?.info().await?.unwrap_or_default();
    let params = &target["config"]["params"];
    assert_eq!(
        params["vectors"],
        json!({ "size": 3, "distance": "Cosine" })
    );
    assert_eq!(
        (&params["replication_factor"], &params["shard_number"]),
        (&json!(2), &json!(6))
    );
    assert_eq!(target["config"]["hnsw_config"]["m"], 32);
    assert_eq!(target["payload_schema"]["n"]["data_type"], "integer");
    assert_eq!(
        all(&from).await?,
        copied,
        "nothing is changed at the source"
    );
    Ok(())
}

#[tokio::test]
async fn an_interrupted_one_fails_and_the_next_one_ends_it() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    let first = Migrate {
        page: 1,
        ..migration(&from, &to)
    };
    // Slow enough to be still under way when it is interrupted.
    to.faults().set(Fault::delay(Duration::from_millis(20)));
    let task = tokio::spawn(async move { first.run().await });
    until("some points to be there", async || {
        Ok(to.requests().total() > 20)
    })
    .await?;
    to.faults().set(Fault::drop_connection());
    let failed = tokio::time::timeout(PATIENCE, task)
        .await??
        .expect_err("it was interrupted");
    assert!(format!("{failed:#}").contains("run it again"), "{failed:#}");
    to.faults().clear();
    let there = at(&to)?.count().await?;
    assert!((1..u64::from(POINTS)).contains(&there), "{there}");
    migration(&from, &to).run().await?;
    assert_eq!(all(&to).await?, all(&from).await?);
    Ok(())
}

#[tokio::test]
async fn vectors_of_another_shape_are_refused_and_nothing_is_changed() -> Result<()> {
    let several = json!({ "comparator": "max_sim" });
    for (other, told) in [
        (
            json!({ "vectors": { "size": 384, "distance": "Cosine" } }),
            "384",
        ),
        (
            json!({ "vectors": { "size": 3, "distance": "Dot" } }),
            "Dot",
        ),
        (
            json!({ "vectors": { "size": 3, "distance": "Cosine", "datatype": "uint8" } }),
            "uint8",
        ),
        (
            json!({ "vectors": { "size": 3, "distance": "Cosine", "multivector_config": several } }),
            "max_sim",
        ),
        (
            json!({ "vectors": { "size": 3, "distance": "Cosine" }, "sparse_vectors": { "words": {} } }),
            "\"words\": sparse",
        ),
    ] {
        let (from, to) = (source().await?, node().await?);
        at(&to)?.create(&other).await?;
        let refused = migration(&from, &to)
            .run()
            .await
            .expect_err("it does not fit")
            .to_string();
        assert!(refused.contains("Nothing was changed"), "{refused}");
        assert!(
            refused.contains(told) && refused.contains("has 3 dimensions, Cosine, float32"),
            "{refused}"
        );
        assert_eq!(at(&to)?.count().await?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_datatype_that_is_named_though_it_is_the_usual_one_is_the_same() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    let named = json!({ "size": 3, "distance": "Cosine", "datatype": "float32" });
    at(&to)?.create(&json!({ "vectors": named })).await?;
    migration(&from, &to).run().await?;
    assert_eq!(all(&to).await?, all(&from).await?);
    Ok(())
}

#[tokio::test]
async fn a_point_that_is_missing_is_an_error_though_the_counts_are_equal() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    let slow = Migrate {
        page: 1,
        ..migration(&from, &to)
    };
    to.faults().set(Fault::delay(Duration::from_millis(50)));
    let task = tokio::spawn(async move { slow.run().await });
    let scroll = format!("/collections/{NAME}/points/scroll");
    until("the first page to be read", async || {
        Ok(from.requests().count(&scroll) > 1)
    })
    .await?;
    // Before the page that is read next, so that it is not met; and one more at the target.
    at(&from)?
        .upsert(&[json!({ "id": 0, "vector": [1, 2, 3] })])
        .await?;
    at(&to)?
        .upsert(&[json!({ "id": 999, "vector": [1, 2, 3] })])
        .await?;
    to.faults().clear();
    let failed = tokio::time::timeout(PATIENCE, task)
        .await??
        .expect_err("one is missing")
        .to_string();
    assert_eq!(at(&to)?.count().await?, at(&from)?.count().await?);
    assert!(failed.starts_with("1 of the points at"), "{failed}");
    migration(&from, &to)
        .run()
        .await
        .expect_err("one more than the source has");
    assert_eq!(all(&to).await?.len(), all(&from).await?.len() + 1);
    Ok(())
}

#[tokio::test]
async fn points_are_put_in_by_one_node_each() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    migration(&from, &to).run().await?;
    let asked = to.requests().all();
    let puts = asked
        .iter()
        .filter(|asked| asked.method == "PUT" && asked.path.ends_with("/points"));
    let queries: Vec<Option<&str>> = puts.map(|put| put.query.as_deref()).collect();
    assert!(!queries.is_empty());
    assert!(
        queries
            .iter()
            .all(|query| *query == Some("wait=true&ordering=strong")),
        "{queries:?}"
    );
    Ok(())
}

#[tokio::test]
async fn counts_that_differ_are_an_error() -> Result<()> {
    let (from, to) = (source().await?, node().await?);
    migration(&from, &to).run().await?;
    at(&to)?
        .upsert(&[json!({ "id": 999, "vector": [1, 2, 3] })])
        .await?;
    let differs = migration(&from, &to)
        .run()
        .await
        .expect_err("one more")
        .to_string();
    assert!(
        differs.contains("100 points at") && differs.contains("101 at"),
        "{differs}"
    );
    assert_eq!(at(&to)?.count().await?, 101, "nothing is dropped");
    Ok(())
}

#[tokio::test]
async fn what_qdrant_says_is_wrong_is_passed_on() -> Result<()> {
    let (from, to) = (node().await?, node().await?);
    let missing = migration(&from, &to)
        .run()
        .await
        .expect_err("no source")
        .to_string();
    assert!(missing.contains("is not there"), "{missing}");
    let from = source().await?;
    from.faults().set(Fault::status(StatusCode::FORBIDDEN));
    let refused = migration(&from, &to)
        .run()
        .await
        .expect_err("a status")
        .to_string();
    assert!(refused.contains("status 403"), "{refused}");
    let tls = Migrate {
        to: "https://127.0.0.1:1".to_owned(),
        ..migration(&from, &to)
    };
    assert!(
        tls.run()
            .await
            .expect_err("TLS")
            .to_string()
            .contains("http://")
    );
    Ok(())
}

#[tokio::test]
async fn named_vectors_are_copied_too() -> Result<()> {
    let (from, to) = (node().await?, node().await?);
    let text = json!({ "size": 2, "distance": "Dot" });
    at(&from)?
        .create(&json!({ "vectors": { "text": text, "title": text } }))
        .await?;
    let points = [json!({ "id": 1, "vector": { "text": [1, 2], "title": [3, 4] } })];
    at(&from)?.upsert(&points).await?;
    migration(&from, &to).run().await?;
    assert_eq!(all(&to).await?, all(&from).await?);
    Ok(())
}

#[tokio::test]
async fn a_collection_is_created_with_the_dimension_that_the_model_has_and_never_changed()
-> Result<()> {
    let ollama = Backend::builder().role(Role::Ollama).start().await?;
    let qdrant = node().await?;
    let create = |model: &str| Create {
        url: url(&qdrant),
        collection: NAME.to_owned(),
        model_url: url(&ollama),
        model: model.to_owned(),
        layout: Layout {
            replication_factor: 2,
            shards: None,
        },
        api_key_env: None,
    };
    for _ in 0..2 {
        create("mxbai-embed-large").run().await?;
    }
    let params = at(&qdrant)?.info().await?.unwrap_or_default()["config"]["params"].take();
    assert_eq!(
        params["vectors"],
        json!({ "size": 1024, "distance": "Cosine" })
    );
    assert_eq!(params["replication_factor"], 2);
    let refused = create("all-minilm")
        .run()
        .await
        .expect_err("another dimension")
        .to_string();
    assert!(
        refused.contains("1024") && refused.contains("384"),
        "{refused}"
    );
    let unknown = create("nope")
        .run()
        .await
        .expect_err("no such model")
        .to_string();
    assert!(unknown.contains("not found"), "{unknown}");
    Ok(())
}
