//! What came back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// From the first byte sent to the last received, as the client sees it.
    pub took: Duration,
}

impl Answer {
    /// Sends a request.
    ///
    /// # Errors
    /// There was no whole response.
    pub async fn to(request: reqwest::RequestBuilder) -> Result<Self> {
        let begun = Instant::now();
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.text().await?;
        Ok(Self {
            status,
            headers,
            body,
            took: begun.elapsed(),
        })
    }

    /// A header's only value; `None` when there is none or more than one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// A header's only value as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }
}
