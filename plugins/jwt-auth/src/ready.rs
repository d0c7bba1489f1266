//! Whether this gateway can judge every token, for whoever sends it requests.

use portcullis_policy::{LocalReply, Request};

use crate::NAME;

/// Whether a request asks for it.
#[must_use]
pub fn is_for(path: &str, request: &Request<'_>) -> bool {
    matches!(request.method(), "GET" | "HEAD")
        && request.path().is_ok_and(|asked| asked.as_str() == path)
}

/// 200, or 503 with the names of those whose keys are missing. They are names of the configuration,
/// which need no escaping.
#[must_use]
pub fn answer<'n>(missing: impl Iterator<Item = &'n str>) -> LocalReply {
    let missing: Vec<String> = missing.map(|name| format!("\"{name}\"")).collect();
    let is_ready = missing.is_empty();
    LocalReply {
        status: if is_ready { 200 } else { 503 },
        headers: Vec::new(),
        body: format!(
            "{{\"ready\":{is_ready},\"missing\":[{}]}}",
            missing.join(",")
        ),
        grpc: None,
        cause: String::new(),
    }
    .because(NAME, "ready")
    .with("content-type", "application/json")
    .with("cache-control", "no-store")
}
