//! Asks for a document over the network: the only place that does, and only for what a person names.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::Span;
use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// As much of a document as a filter reads of a key set, and a byte more.
const LONGEST: u64 = 256 * 1024 + 1;

/// Whether a name is a URL, and no file.
#[must_use]
pub fn is_url(name: &str) -> bool {
    name.starts_with("https://") || name.starts_with("http://")
}

/// What a URL holds. As the filters do, it follows no redirects. `ca`: a file of certificates in PEM, in place of the system's.
///
/// # Errors
/// Why there is none.
pub fn fetch(url: &str, longest: Span, ca: Option<&str>) -> Result<Vec<u8>, String> {
    let roots = match (ca, url.starts_with("https://")) {
        (_, false) => Vec::new(),
        (Some(file), true) => certificates_of(file)?,
        (None, true) => certificates(),
    };
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build();
    let config = Agent::config_builder()
        .timeout_global(Some(Duration::from_nanos(longest.as_nanos())))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("portcullis")
        .accept("application/json")
        .tls_config(tls);
    let agent: Agent = config.build().new_agent();
    let mut response = agent.get(url).call().map_err(|error| error.to_string())?;
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get("location");
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        return Err(format!("{status}, to {to}: filters follow no redirects"));
    }
    if !status.is_success() {
        return Err(format!("the answer is {status}"));
    }
    let body = response.body_mut().with_config().limit(LONGEST);
    body.read_to_vec().map_err(|error| error.to_string())
}

/// Those that the system trusts. Some may be broken; the others do.
fn certificates() -> Vec<Certificate<'static>> {
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates = found.iter();
    certificates
        .map(|der| Certificate::from_der(der).to_owned())
        .collect()
}

fn certificates_of(file: &str) -> Result<Vec<Certificate<'static>>, String> {
    let pem = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let items = parse_pem(&pem).filter_map(Result::ok);
    let certificates: Vec<_> = items
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    match certificates.is_empty() {
        true => Err(format!("{file}: no certificate in it")),
        false => Ok(certificates),
    }
}
