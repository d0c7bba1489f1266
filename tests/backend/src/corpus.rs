//! The documents that are searched: short texts about gateways and retrieval, compiled in.

/// The collections and their documents. A text starts with `# Title`; its paragraphs are separated by empty lines.
macro_rules! corpus {
    ($($collection:literal: [$($id:literal),+ $(,)?]),+ $(,)?) => {
        &[$($(Source {
            collection: $collection,
            id: $id,
            text: include_str!(concat!("../corpus/", $id, ".md")),
        }),+),+]
    };
}

const SOURCES: &[Source] = corpus! {
    "gateways": ["api-gateway", "reverse-proxy", "wasm-filters", "request-routing", "load-balancing", "cors"],
    "resilience": [
        "rate-limiting", "token-bucket", "circuit-breaker", "timeouts", "retries", "load-shedding",
        "graceful-shutdown",
    ],
    "security": ["jwt", "key-rotation", "service-tokens", "mutual-tls"],
    "retrieval": [
        "vector-search", "embeddings", "chunking", "keyword-ranking", "hybrid-retrieval", "answer-generation",
        "semantic-cache",
    ],
    "operations": ["health-checks", "correlation-ids", "metrics", "event-streams", "replication"],
};

struct Source {
    collection: &'static str,
    id: &'static str,
    text: &'static str,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) collection: &'static str,
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) passages: Vec<&'static str>,
}

/// All documents, those of a collection in a row.
pub(crate) fn documents() -> Vec<Document> {
    SOURCES.iter().map(Document::from).collect()
}

impl From<&Source> for Document {
    fn from(source: &Source) -> Self {
        let (heading, body) = source.text.split_once('\n').unwrap_or((source.text, ""));
        Self {
            collection: source.collection,
            id: source.id,
            title: heading.trim_start_matches('#').trim(),
            passages: body
                .split("\n\n")
                .map(str::trim)
                .filter(|passage| !passage.is_empty())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_document_has_a_title_of_its_own_and_passages() {
        let documents = documents();
        let titles: BTreeSet<_> = documents.iter().map(|document| document.title).collect();
        assert_eq!(titles.len(), documents.len());
        for document in &documents {
            assert!(!document.title.is_empty(), "{}", document.id);
            assert!(document.passages.len() >= 3, "{}", document.id);
        }
    }
}
