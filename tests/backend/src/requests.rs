//! What reached the backend.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Serialize;
use tokio::sync::watch;

/// How many requests are kept. A load test sends many more, of which only the count is of interest.
const KEPT: usize = 1_000;

/// How many paths are counted one by one. Callers choose paths, so without a bound they would choose our memory too.
const COUNTED_PATHS: usize = 1_000;

/// Under what the paths beyond [`COUNTED_PATHS`] are counted.
const OTHER_PATHS: &str = "(other)";

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceivedRequest {
    /// The method, in capitals.
    pub method: String,
    /// The path as sent, not decoded.
    pub path: String,
    /// What follows the question mark, not decoded.
    pub query: Option<String>,
    /// Names in lower case and values, with duplicates. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
}

impl ReceivedRequest {
    /// All values of a header, in the order in which they came. The name is given in lower case.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The only value of a header; `None` if there is none or more than one.
    #[must_use]
    pub fn only_value(&self, name: &str) -> Option<&str> {
        match self.values(name).as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}

impl From<&Parts> for ReceivedRequest {
    fn from(parts: &Parts) -> Self {
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: pairs(&parts.headers),
        }
    }
}

/// A log of the requests at the main listener, refused and failed ones included; the last 1000 are kept.
///
/// Clones share the log.
#[derive(Clone)]
pub struct Requests(Arc<Shared>);

struct Shared {
    log: Mutex<Log>,
    total: watch::Sender<u64>,
    under_way: AtomicU64,
}

#[derive(Default)]
struct Log {
    kept: VecDeque<ReceivedRequest>,
    by_path: BTreeMap<String, u64>,
    most_at_once: u64,
}

impl Requests {
    /// The kept requests, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<ReceivedRequest> {
        self.lock().kept.iter().cloned().collect()
    }

    /// The last `n` of the kept requests, oldest first.
    #[must_use]
    pub fn last(&self, n: usize) -> Vec<ReceivedRequest> {
        let log = self.lock();
        let skipped = log.kept.len().saturating_sub(n);
        log.kept.iter().skip(skipped).cloned().collect()
    }

    /// How many requests came for each path since the start or the last [`Requests::clear`]. After a thousand
    /// different paths, new ones are counted together as `(other)`.
    #[must_use]
    pub fn count_by_path(&self) -> BTreeMap<String, u64> {
        self.lock().by_path.clone()
    }

    /// How many requests came for this path.
    #[must_use]
    pub fn count(&self, path: &str) -> u64 {
        self.lock().by_path.get(path).copied().unwrap_or_default()
    }

    /// How many requests came at all.
    #[must_use]
    pub fn total(&self) -> u64 {
        *self.0.total.borrow()
    }

    /// How many requests at most were here at one time, each until its answer's head was ready or its caller was gone.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        self.lock().most_at_once
    }

    /// Waits until at least `n` requests have come.
    pub async fn wait_for_total(&self, n: u64) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.total.subscribe().wait_for(|total| *total >= n).await;
    }

    /// Forgets everything, counts included.
    pub fn clear(&self) {
        let mut log = self.lock();
        *log = Log::default();
        self.0.total.send_replace(0);
    }

    /// Notes a request, which is here for as long as what is returned.
    pub(crate) fn push(&self, request: ReceivedRequest) -> Stay {
        let mut log = self.lock();
        let others = self.0.under_way.fetch_add(1, Ordering::Relaxed);
        log.most_at_once = log.most_at_once.max(others.saturating_add(1));
        let known = log.by_path.len() < COUNTED_PATHS || log.by_path.contains_key(&request.path);
        let path = if known {
            request.path.clone()
        } else {
            OTHER_PATHS.to_owned()
        };
        let count = log.by_path.entry(path).or_default();
        *count = count.saturating_add(1);
        if log.kept.len() >= KEPT {
            log.kept.pop_front();
        }
        log.kept.push_back(request);
        self.0
            .total
            .send_modify(|total| *total = total.saturating_add(1));
        Stay(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self(Arc::new(Shared {
            log: Mutex::default(),
            total: watch::Sender::new(0),
            under_way: AtomicU64::new(0),
        }))
    }
}

/// A request that is here.
pub(crate) struct Stay(Requests);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().to_owned(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> ReceivedRequest {
        ReceivedRequest {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: None,
            headers: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_requests_give_way_but_stay_counted() {
        let requests = Requests::default();
        for _ in 0..KEPT {
            requests.push(request("/old"));
        }
        requests.push(request("/new"));
        assert_eq!(requests.all().len(), KEPT);
        assert_eq!(requests.last(1), [request("/new")]);
        assert_eq!(requests.count("/old"), 1_000);
        assert_eq!(requests.total(), 1_001);
    }

    #[test]
    fn the_most_at_once_are_those_whose_stays_overlap() {
        let requests = Requests::default();
        let first = requests.push(request("/"));
        drop(first);
        let (_second, _third) = (requests.push(request("/")), requests.push(request("/")));
        assert_eq!(requests.most_at_once(), 2);
        requests.clear();
        assert_eq!(requests.most_at_once(), 0);
        let _fourth = requests.push(request("/"));
        assert_eq!(requests.most_at_once(), 3);
    }

    #[test]
    fn endless_new_paths_are_counted_together() {
        let requests = Requests::default();
        for n in 0..COUNTED_PATHS {
            requests.push(request(&format!("/{n}")));
        }
        requests.push(request("/one/more"));
        requests.push(request("/and/another"));
        requests.push(request("/0"));
        assert_eq!(requests.count(OTHER_PATHS), 2);
        assert_eq!(requests.count("/0"), 2);
    }
}
