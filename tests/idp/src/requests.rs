//! What came in.

use std::collections::HashMap;

use axum::http::HeaderMap;
use tokio::sync::watch;

/// The requests so far, by path.
#[derive(Default)]
pub(crate) struct Requests(watch::Sender<HashMap<String, Received>>);

/// The requests for one path.
#[derive(Default)]
struct Received {
    count: usize,
    last: Vec<(String, String)>,
}

impl Requests {
    pub(crate) fn push(&self, path: &str, headers: &HeaderMap) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let last = headers
            .iter()
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        self.0.send_modify(|by_path| {
            let received = by_path.entry(path.to_owned()).or_default();
            received.count = received.count.saturating_add(1);
            received.last = last;
        });
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        count(&self.0.borrow(), path)
    }

    pub(crate) fn last(&self, path: &str) -> Option<Vec<(String, String)>> {
        let by_path = self.0.borrow();
        by_path.get(path).map(|received| received.last.clone())
    }

    pub(crate) async fn wait_for(&self, path: &str, n: usize) {
        let enough = |by_path: &HashMap<String, Received>| count(by_path, path) >= n;
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(enough).await;
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(HashMap::clear);
    }
}

fn count(by_path: &HashMap<String, Received>, path: &str) -> usize {
    by_path.get(path).map_or(0, |received| received.count)
}
