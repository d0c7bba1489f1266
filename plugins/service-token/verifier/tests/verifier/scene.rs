//! Requests and credentials, made by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use portcullis_message_signature::{Key, members, signature_base};
use portcullis_service_token_verifier::{Error, RequestHead, Secret, Verified, Verifier};

/// The morning of 2026-01-01, in seconds since the Unix epoch.
pub(crate) const NOW: i64 = 1_767_254_400;
pub(crate) const NEW: &str = "new-secret-new-secret-new-secret-new-secret-new-secret-new-secret-64";
pub(crate) const OLD: &str = "old-secret-old-secret-old-secret-old-secret-old-secret-old-secret-64";

/// The id of [`NEW`] is `new`, that of [`OLD`] is `old`.
pub(crate) fn secrets(ids: &[&str]) -> Vec<Secret> {
    let secret = |id: &&str| Secret::new(*id, secret_of(id)).unwrap();
    ids.iter().map(secret).collect()
}

pub(crate) fn secret_of(id: &str) -> &'static str {
    match id {
        "new" => NEW,
        "old" => OLD,
        _ => "a secret that nobody has told the verifier, though it is long enough",
    }
}

pub(crate) fn at(secs: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs.try_into().unwrap())
}

/// A GET of `uri` with these headers.
pub(crate) fn get(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// What a verifier says at [`NOW`] of a request with these lines of `x-service-token`.
pub(crate) fn sent(verifier: &Verifier, lines: &[&str]) -> Result<Verified, Error> {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| ("x-service-token", *line))
        .collect();
    verifier.verify(&get("/", &lines), at(NOW))
}

/// A token that is signed by HS256 with the secret of that id, whatever stands in it.
pub(crate) fn token(header: &str, claims: &str, id: &str) -> String {
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = Key::new(secret_of(id).as_bytes()).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A signature of a request.
#[derive(Clone)]
pub(crate) struct Signing {
    pub(crate) label: &'static str,
    pub(crate) covered: &'static str,
    pub(crate) parameters: String,
    pub(crate) id: &'static str,
}

impl Signing {
    /// As the gateway makes it at [`NOW`] for 60 s.
    pub(crate) fn new(nonce: &str) -> Self {
        Self::between(nonce, NOW, NOW + 60)
    }

    pub(crate) fn between(nonce: &str, created: i64, expires: i64) -> Self {
        Self::with(&format!(
            r#";created={created};expires={expires};nonce="{nonce}";alg="hmac-sha256";keyid="new";tag="service-token""#
        ))
    }

    pub(crate) fn with(parameters: &str) -> Self {
        Self {
            label: "service-token",
            covered: r#""@method" "@authority" "@path" "@query""#,
            parameters: parameters.to_owned(),
            id: "new",
        }
    }

    /// The members of the two fields.
    pub(crate) fn members(&self, request: &Request<()>) -> (String, String) {
        let input = format!("{}=({}){}", self.label, self.covered, self.parameters);
        let nothing = format!("{}=:AAAA:", self.label);
        let all = members(input.as_bytes(), nothing.as_bytes()).unwrap();
        let head = RequestHead::from(request);
        let made = all[0]
            .components()
            .ok()
            .and_then(|covered| signature_base(&head, &covered, &all[0].params()).ok());
        // What has no base is signed with nothing.
        let signature = Key::new(secret_of(self.id).as_bytes()).sign(&made.unwrap_or_default());
        let signature = format!("{}=:{}:", self.label, STANDARD.encode(signature));
        (input, signature)
    }

    /// Signs a request, behind what it has.
    pub(crate) fn sign(&self, request: &mut Request<()>) {
        let (input, signature) = self.members(request);
        for (name, value) in [("signature-input", input), ("signature", signature)] {
            request.headers_mut().append(name, value.parse().unwrap());
        }
    }

    /// A signed GET of `http://rag.example/a?b=c`.
    pub(crate) fn get(&self) -> Request<()> {
        let mut request = get("/a?b=c", &[("host", "rag.example")]);
        self.sign(&mut request);
        request
    }
}
