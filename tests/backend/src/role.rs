//! Whom a backend speaks as.

/// A service of the guarded system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The RAG service: search, streamed answers, collections.
    #[default]
    Rag,
    /// Ollama, with models that are none.
    Ollama,
    /// A node of Qdrant, in memory.
    Qdrant,
}

impl Role {
    /// The path that says whether it can be used.
    #[must_use]
    pub fn health_path(self) -> &'static str {
        match self {
            Self::Rag => "/api/v1/rag/status/health",
            Self::Ollama => "/api/version",
            Self::Qdrant => "/readyz",
        }
    }
}
