//! `key: [route]`: what the gateway calls its route, while requests are judged.

use anyhow::{Context as _, Result};
use portcullis_e2e::Gateway;
use serde_json::{Value, json};

use crate::common::SEARCH;

/// Which route a request takes is said by a header, so that nothing else tells them apart.
const CHOICE: &str = "x-route";

const COLLECTIONS: &str = "/api/v1/rag/collections";

#[tokio::test]
async fn named_routes_are_counted_apart_and_one_without_a_name_is_skipped_or_denied() -> Result<()>
{
    let gateway = gateway().await?;
    for (route, status) in [
        ("a", 200),
        ("a", 200),
        ("a", 429),
        ("b", 200),
        ("b", 200),
        ("b", 429),
        ("a", 429),
    ] {
        let answer = gateway.get_with(SEARCH, &[(CHOICE, route)]).await?;
        assert_eq!(answer.status, status, "{route}");
    }
    for _ in 0..4 {
        let answer = gateway.get(SEARCH).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit"), None);
    }
    // Where that is denied.
    assert_eq!(gateway.get(COLLECTIONS).await?.status, 400);
    let named = gateway.get_with(COLLECTIONS, &[(CHOICE, "a")]).await?;
    assert_eq!(named.status, 200);
    Ok(())
}

/// With the routes `a` and `b`, and one that has no name for all other requests.
async fn gateway() -> Result<Gateway> {
    let gateway = Gateway::with("rate_limit").workers(4).edit(|bootstrap| {
        let limit = |name: &str, path: &str, when_key_missing: &str| {
            json!({
                "name": name, "match": { "paths": [{ "prefix": path }] }, "key": ["route"],
                "quota": 2, "window": "1h", "when_key_missing": when_key_missing,
            })
        };
        bootstrap.filter("rate_limit")?["limits"] = json!([
            limit("lenient", "/api/v1/rag/search", "skip"),
            limit("strict", COLLECTIONS, "deny"),
        ]);
        let routes = bootstrap.routes()?;
        let unnamed = routes.first().context("a route")?.clone();
        anyhow::ensure!(unnamed["name"] == Value::Null, "it has a name");
        for name in ["a", "b"] {
            let mut route = unnamed.clone();
            route["name"] = json!(name);
            route["match"]["headers"] =
                json!([{ "name": CHOICE, "string_match": { "exact": name } }]);
            routes.insert(0, route);
        }
        Ok(())
    });
    gateway.start().await
}
