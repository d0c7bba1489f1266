use portcullis_backend::{Backend, Role, Running};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{at, get, json as answer, post, status};

const DOCS: &str = "/collections/docs";

/// Where a node shows what it has to one that starts.
const DUMP: &str = "/_test/collections";

async fn node() -> Running {
    Backend::builder().role(Role::Qdrant).start().await.unwrap()
}

fn url(node: &Running) -> String {
    format!("http://{}", node.addr())
}

fn put(node: &Running, path: &str) -> RequestBuilder {
    at(Method::PUT, node.addr(), path)
}

/// A node with a collection of five points.
async fn filled() -> Running {
    let node = node().await;
    fill(&node).await;
    node
}

async fn fill(node: &Running) {
    let created = put(node, DOCS).json(&json!({ "vectors": { "size": 3, "distance": "Cosine" } }));
    assert_eq!(answer(created).await.1["result"], true);
    let points: Vec<Value> = (0..5)
        .map(|n| json!({ "id": n, "vector": [1, n, 0], "payload": { "n": n, "even": n % 2 == 0 } }))
        .collect();
    let upserted =
        put(node, &format!("{DOCS}/points?wait=true")).json(&json!({ "points": points }));
    let (code, upserted) = answer(upserted).await;
    assert_eq!(
        (code.as_u16(), &upserted["result"]["status"]),
        (200, &json!("completed")),
        "{upserted}"
    );
}

async fn ask(node: &Running, path: &str, body: Value) -> (u16, Value) {
    let (code, body) = answer(post(node, &format!("{DOCS}/points/{path}")).json(&body)).await;
    (code.as_u16(), body)
}

async fn count(node: &Running) -> Value {
    ask(node, "count", json!({ "exact": true })).await.1["result"]["count"].clone()
}

fn ids(points: &Value) -> Vec<&Value> {
    points
        .as_array()
        .unwrap()
        .iter()
        .map(|point| &point["id"])
        .collect()
}

#[tokio::test]
async fn the_health_paths_are_qdrants() {
    let node = node().await;
    for path in [
        "/",
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
        "/cluster",
        "/collections",
    ] {
        assert_eq!(status(get(&node, path)).await, 200, "{path}");
    }
    assert_eq!(status(get(&node, "/health")).await, 404);
}

#[tokio::test]
async fn a_collection_is_created_shown_and_deleted() {
    let node = filled().await;
    let (_, shown) = answer(get(&node, DOCS)).await;
    assert_eq!(
        shown["result"]["config"]["params"]["vectors"],
        json!({ "size": 3, "distance": "Cosine" })
    );
    assert_eq!(shown["result"]["points_count"], 5);
    let (_, list) = answer(get(&node, "/collections")).await;
    assert_eq!(list["result"]["collections"], json!([{ "name": "docs" }]));
    let again = put(&node, DOCS).json(&json!({ "vectors": { "size": 3, "distance": "Dot" } }));
    assert_eq!(status(again).await, 409);
    let exists =
        async || answer(get(&node, "/collections/docs/exists")).await.1["result"]["exists"].clone();
    assert_eq!(exists().await, true);
    assert_eq!(status(at(Method::DELETE, node.addr(), DOCS)).await, 200);
    assert_eq!(exists().await, false);
    let (code, gone) = answer(get(&node, DOCS)).await;
    assert_eq!(code, 404);
    assert_eq!(
        gone["status"]["error"],
        "Not found: Collection `docs` doesn't exist!"
    );
}

#[tokio::test]
async fn the_nearest_points_come_first() {
    let node = filled().await;
    let (_, found) = ask(
        &node,
        "search",
        json!({ "vector": [1, 4, 0], "limit": 2, "with_payload": true }),
    )
    .await;
    assert_eq!(ids(&found["result"]), [4, 3]);
    assert!(found["result"][0]["score"].as_f64().unwrap() > 0.999);
    assert_eq!(found["result"][0]["payload"]["n"], 4);
    let even = json!({ "must": [{ "key": "even", "match": { "value": true } }] });
    let (_, found) = ask(
        &node,
        "query",
        json!({ "query": [1, 3, 0], "filter": even, "limit": 9 }),
    )
    .await;
    assert_eq!(ids(&found["result"]["points"]), [4, 2, 0]);
    assert_eq!(found["result"]["points"][0]["payload"], Value::Null);
}

#[tokio::test]
async fn pages_follow_each_other_until_there_is_none() {
    let node = filled().await;
    let mut seen = Vec::new();
    let mut offset = Value::Null;
    loop {
        let asked = json!({ "limit": 2, "offset": offset, "with_vector": true });
        let (_, page) = ask(&node, "scroll", asked).await;
        let points = page["result"]["points"].as_array().unwrap();
        assert!(
            points
                .iter()
                .all(|point| point["vector"].is_array() && point["payload"].is_object())
        );
        seen.extend(points.iter().map(|point| point["id"].as_u64().unwrap()));
        offset = page["result"]["next_page_offset"].clone();
        if offset.is_null() {
            break;
        }
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_vector_of_another_dimension_is_refused_and_nothing_of_the_batch_is_kept() {
    let node = filled().await;
    let points =
        json!({ "points": [{ "id": 7, "vector": [1, 2, 3] }, { "id": 8, "vector": [1, 2] }] });
    let (code, refused) = answer(put(&node, "/collections/docs/points").json(&points)).await;
    assert_eq!(code, 400);
    assert_eq!(
        refused["status"]["error"],
        "Wrong input: Vector dimension error: expected dim: 3, got 2"
    );
    assert_eq!(count(&node).await, 5);
    let (code, refused) = ask(&node, "search", json!({ "vector": [1], "limit": 1 })).await;
    assert_eq!((code, refused["result"].is_null()), (400, true));
}

#[tokio::test]
async fn the_same_id_is_the_same_point_and_deleted_ones_are_gone() {
    let node = filled().await;
    fill_again(&node).await;
    assert_eq!(count(&node).await, 5);
    ask(&node, "delete", json!({ "points": [0, 1] })).await;
    assert_eq!(count(&node).await, 3);
    ask(
        &node,
        "delete",
        json!({ "filter": { "must": [{ "has_id": [2] }] } }),
    )
    .await;
    assert_eq!(count(&node).await, 2);
}

async fn fill_again(node: &Running) {
    let points = json!({ "points": [{ "id": 3, "vector": [0, 0, 1] }] });
    assert_eq!(
        status(put(node, "/collections/docs/points").json(&points)).await,
        200
    );
}

#[tokio::test]
async fn vectors_have_names_where_the_collection_says_so() {
    let node = node().await;
    let named = json!({ "vectors": { "text": { "size": 2, "distance": "Dot" } } });
    assert_eq!(status(put(&node, DOCS).json(&named)).await, 200);
    let id = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26";
    let points = json!({ "points": [{ "id": id, "vector": { "text": [1, 2] } }] });
    assert_eq!(
        status(put(&node, "/collections/docs/points").json(&points)).await,
        200
    );
    let (_, found) = ask(&node, "query", json!({ "query": [1, 0], "using": "text" })).await;
    assert_eq!(found["result"]["points"][0]["id"], id);
    assert_eq!(ask(&node, "query", json!({ "query": [1, 0] })).await.0, 400);
}

#[tokio::test]
async fn what_one_node_of_a_cluster_takes_all_of_them_have_and_so_does_one_that_comes_back() {
    let nodes = [node().await, node().await, node().await];
    for node in &nodes {
        // Itself is among them, as where all are started alike.
        node.set_peers(nodes.iter().map(url));
    }
    fill(&nodes[1]).await;
    for node in &nodes {
        assert_eq!(count(node).await, 5);
    }
    ask(&nodes[2], "delete", json!({ "points": [0] })).await;
    assert_eq!(count(&nodes[0]).await, 4);

    let [_lost, second, third] = nodes;
    let peers = [url(&second), url(&third)];
    let back = Backend::builder()
        .role(Role::Qdrant)
        .peers(peers)
        .start()
        .await
        .unwrap();
    while status(get(&back, "/readyz")).await != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&back).await, 4);
}

#[tokio::test]
async fn what_is_written_while_a_node_catches_up_is_not_undone_by_what_it_takes_over() {
    let peer = filled().await;
    let (_, older) = answer(get(&peer, DUMP)).await;
    let (gate, opened) = tokio::sync::watch::channel(false);
    let slow = axum::Router::new().route(
        DUMP,
        axum::routing::get(async move || {
            opened.clone().wait_for(|open| *open).await.unwrap();
            axum::Json(older)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, slow).into_future());
    let back = Backend::builder()
        .role(Role::Qdrant)
        .peers([slow_url])
        .start()
        .await
        .unwrap();

    let points = json!({ "points": [{ "id": 9, "vector": [0, 0, 1] }] });
    let writes = [
        put(&back, &format!("{DOCS}/points")).json(&points),
        post(&back, &format!("{DOCS}/points/delete")).json(&json!({ "points": [0, 1] })),
    ];
    let writes = writes.map(|write| tokio::spawn(status(write.header("x-demo-replica", 1))));
    back.requests().wait_for_total(2).await;
    assert_eq!(status(get(&back, "/readyz")).await, 503);
    gate.send_replace(true);
    for write in writes {
        assert_eq!(write.await.unwrap(), 200);
    }
    assert_eq!(count(&back).await, 5 + 1 - 2);
}
