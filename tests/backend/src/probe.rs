//! Asks a service whether it is well, for images that have no other program to ask with.

use std::fmt;
use std::time::Duration;

/// How long a service may take to say so.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why a service is not well.
#[derive(Debug)]
pub struct ProbeError(String);

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProbeError {}

/// Sends a GET, with the service token if there is one.
///
/// # Errors
/// There is no answer of 2xx within two seconds.
pub async fn probe(url: &str, service_token: Option<&str>) -> Result<(), ProbeError> {
    let failed = |error: reqwest::Error| {
        let what = if error.is_timeout() {
            "no answer in time"
        } else {
            "no answer"
        };
        ProbeError(format!("{url}: {what}: {}", error.without_url()))
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(failed)?;
    let mut request = client.get(url);
    if let Some(token) = service_token {
        request = request.header("x-service-token", token);
    }
    let status = request.send().await.map_err(failed)?.status();
    if status.is_success() {
        return Ok(());
    }
    Err(ProbeError(format!("{url}: status {}", status.as_u16())))
}
