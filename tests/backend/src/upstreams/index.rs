//! Puts the corpus into the collection, in the background and again and again until it is there.

use std::hash::Hash as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use uuid::Uuid;

use super::failed::{Failed, Upstream};
use super::{PassedOn, Upstreams};
use crate::search::Library;

/// How many passages are embedded with one request: a slow model answers when all are done.
const BATCH: usize = 8;

/// Between two attempts.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Marks the points that are ours.
const SOURCE: &str = "portcullis-demo";

#[derive(Deserialize)]
struct Exists {
    exists: bool,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

impl Upstreams {
    /// Comes back when the collection is there.
    pub(crate) async fn index(&self, library: &Library) {
        let mut pauses = PAUSES.iter().copied();
        let mut pause = Duration::ZERO;
        while let Err(failed) = self.try_to_index(library).await {
            eprintln!(
                "{}",
                json!({ "event": "not_indexed_yet", "error": failed.to_string() })
            );
            pause = pauses.next().unwrap_or(pause);
            tokio::time::sleep(pause).await;
        }
        self.indexed.store(true, Ordering::Release);
    }

    /// A collection that holds anything of someone else's is left as it is.
    async fn try_to_index(&self, library: &Library) -> Result<(), Failed> {
        let passed = PassedOn::default();
        let Exists { exists } = self
            .qdrant(Method::GET, "/exists", &Value::Null, &passed)
            .await?;
        if exists {
            let foreign =
                json!({ "must_not": [{ "key": "source", "match": { "value": SOURCE } }] });
            let foreign = json!({ "filter": foreign, "exact": true });
            let Count { count } = self
                .qdrant(Method::POST, "/points/count", &foreign, &passed)
                .await?;
            if count > 0 {
                return Ok(());
            }
        } else {
            self.create(&passed).await?;
        }
        let passages: Vec<_> = library.passages().collect();
        for batch in passages.chunks(BATCH) {
            let texts: Vec<String> = batch
                .iter()
                .map(|(document, text)| format!("{}\n{text}", document.title))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = self.embed(&texts, &passed).await?;
            let points: Vec<Value> = batch
                .iter()
                .zip(vectors)
                .map(|((document, text), vector)| {
                    let payload = json!({
                        "source": SOURCE,
                        "id": document.id,
                        "title": document.title,
                        "collection": document.collection,
                        "text": text,
                    });
                    json!({ "id": point_id(document.id, text), "vector": vector, "payload": payload })
                })
                .collect();
            let points = json!({ "points": points });
            let _: Value = self
                .qdrant(Method::PUT, "/points?wait=true", &points, &passed)
                .await?;
        }
        Ok(())
    }

    /// Makes the collection, of the dimension that the model's vectors have.
    async fn create(&self, passed: &PassedOn) -> Result<(), Failed> {
        let vectors = self.embed(&["How long is a vector?"], passed).await?;
        let size = vectors.first().map(Vec::len).filter(|size| *size > 0);
        let size = size.ok_or_else(|| Failed::no_answer(Upstream::Ollama, "an empty vector"))?;
        let collection = json!({
            "vectors": { "size": size, "distance": "Cosine" },
            "replication_factor": 2,
        });
        let created: Result<Value, Failed> =
            self.qdrant(Method::PUT, "", &collection, passed).await;
        match created {
            // Another service was faster.
            Err(failed) if failed.is_conflict() => Ok(()),
            created => created.map(|_| ()),
        }
    }
}

/// The same for the same passage, and, unlike a number, nobody else's.
fn point_id(document: &str, text: &str) -> Uuid {
    let mut hasher = SipHasher13::new();
    (SOURCE, document, text).hash(&mut hasher);
    let hash = hasher.finish128();
    uuid::Builder::from_custom_bytes(hash.as_bytes()).into_uuid()
}
