//! Qdrant over HTTP, as far as collections and points go.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::HeaderValue;
use reqwest::{Client, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// For one answer: an upsert waits until all replicas have it.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A client without a proxy and without TLS.
pub(super) fn http() -> Result<Client> {
    Ok(Client::builder().no_proxy().timeout(TIMEOUT).build()?)
}

/// An address without the slash that it may end with.
pub(super) fn base(url: &str) -> Result<String> {
    if !url.starts_with("http://") {
        bail!(
            "{url}: it takes an address that begins with http://; TLS is for a gateway or a tunnel before it"
        );
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// A collection at one address.
#[derive(Clone)]
pub(super) struct Collection {
    client: Client,
    url: String,
    api_key: Option<HeaderValue>,
}

/// A collection's points, page after page.
pub(super) struct Pages<'a> {
    of: &'a Collection,
    limit: u32,
    whole: bool,
    /// The id that the next page begins with; none after the last.
    offset: Option<Value>,
}

impl Collection {
    /// The collection `name`, with the API key that a variable holds.
    pub(super) fn at(url: &str, name: &str, api_key_env: Option<&str>) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            bail!("{name:?} is no name of a collection: it takes letters, digits, -, _ and .");
        }
        let api_key = api_key_env.map(|variable| {
            let key = env::var(variable).with_context(|| format!("{variable} is not set"))?;
            let key = HeaderValue::try_from(key);
            let mut key = key.with_context(|| format!("{variable} can't stand in a header"))?;
            key.set_sensitive(true);
            anyhow::Ok(key)
        });
        Ok(Self {
            client: http()?,
            url: format!("{}/collections/{name}", base(url)?),
            api_key: api_key.transpose()?,
        })
    }

    /// What it is told by.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What Qdrant tells of it, if it is there.
    pub(super) async fn info(&self) -> Result<Option<Value>> {
        match self.call(Method::GET, "", None).await? {
            Ok(info) => Ok(Some(info)),
            Err((StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(refused) => Err(self.refused("", &refused)),
        }
    }

    /// Creates it.
    pub(super) async fn create(&self, with: &Value) -> Result<()> {
        self.done(Method::PUT, "", with).await.map(|_| ())
    }

    /// All points, page after page: with payloads and vectors, or by their ids alone.
    pub(super) fn pages(&self, limit: u32, whole: bool) -> Pages<'_> {
        Pages {
            of: self,
            limit,
            whole,
            offset: Some(Value::Null),
        }
    }

    /// Those of the ids that are there.
    pub(super) async fn present(&self, ids: &[Value]) -> Result<Vec<Value>> {
        let asked = json!({ "ids": ids, "with_payload": false, "with_vector": false });
        let found = self.done(Method::POST, "/points", &asked).await?;
        let Value::Array(points) = found else {
            bail!("{}: no points: {found}", self.url);
        };
        Ok(points.into_iter().map(id).collect())
    }

    /// Puts points in, in place of those of the same ids, and waits until it is done. The writes of one point all go by
    /// one node, so that its replicas do not end up different.
    pub(super) async fn upsert(&self, points: &[Value]) -> Result<()> {
        let points = json!({ "points": points });
        self.done(Method::PUT, "/points?wait=true&ordering=strong", &points)
            .await
            .map(|_| ())
    }

    /// Makes payloads be found by a field.
    pub(super) async fn index(&self, field: &str, schema: &Value) -> Result<()> {
        let index = json!({ "field_name": field, "field_schema": schema });
        self.done(Method::PUT, "/index?wait=true", &index)
            .await
            .map(|_| ())
    }

    /// How many points there are: counted and not estimated.
    pub(super) async fn count(&self) -> Result<u64> {
        let count = self
            .done(Method::POST, "/points/count", &json!({ "exact": true }))
            .await?;
        count["count"]
            .as_u64()
            .with_context(|| format!("{}: no count: {count}", self.url))
    }

    async fn done(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let answer = self.call(method, path, Some(body)).await?;
        answer.map_err(|refused| self.refused(path, &refused))
    }

    fn refused(&self, path: &str, (status, reason): &(StatusCode, String)) -> anyhow::Error {
        anyhow::anyhow!("{}{path}: status {}: {reason}", self.url, status.as_u16())
    }

    /// The result, or the status and what Qdrant says is wrong.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Result<Value, (StatusCode, String)>> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, &url);
        if let Some(key) = &self.api_key {
            request = request.header("api-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .with_context(|| format!("{url}: the answer broke off"))?;
        let body = serde_json::from_str::<Value>(&text);
        if status.is_success() {
            let mut body = body.with_context(|| format!("{url}: not Qdrant's JSON: {text}"))?;
            return Ok(Ok(body["result"].take()));
        }
        let said = body
            .ok()
            .and_then(|body| Some(body["status"]["error"].as_str()?.to_owned()));
        Ok(Err((status, said.unwrap_or(text))))
    }
}

impl Pages<'_> {
    /// The next page, until there is none.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>> {
        #[derive(Deserialize)]
        struct Page {
            points: Vec<Value>,
            next_page_offset: Value,
        }

        let Some(offset) = self.offset.take() else {
            return Ok(None);
        };
        let Self {
            of, limit, whole, ..
        } = self;
        let page = json!({ "offset": offset, "limit": limit, "with_payload": whole, "with_vector": whole });
        let page = of.done(Method::POST, "/points/scroll", &page).await?;
        let page: Page =
            serde_json::from_value(page).with_context(|| format!("{}: no page", of.url))?;
        let next = page.next_page_offset;
        ensure!(
            next.is_null() || next != offset,
            "{}: the page after {offset} is the same",
            of.url
        );
        self.offset = (!next.is_null()).then_some(next);
        Ok(Some(page.points))
    }
}

/// A point's id.
pub(super) fn id(mut point: Value) -> Value {
    point["id"].take()
}

/// The parameters of a collection's vectors, as Qdrant shows them.
pub(super) fn vectors(info: &Value) -> &Value {
    &info["config"]["params"]["vectors"]
}
