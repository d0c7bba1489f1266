//! What it costs to write a credential: each kind of `service_token`.

use anyhow::{Context as _, Result, anyhow};
use portcullis_policy::Timestamp;
use portcullis_service_token::ServiceToken;
use portcullis_sim::{Dialect, World};
use serde_json::{Value, json};

use crate::measure::{Side, Subject};
use crate::native::timed;
use crate::scene::{GUARDED_PATH, OPEN_PATH, Scene};

/// What each is called, and its kind.
pub const CREDENTIALS: [(&str, &str); 4] = [
    ("static", "static"),
    ("jwt, kept", "jwt"),
    ("jwt, signed anew", "jwt"),
    ("http_signature", "http_signature"),
];

/// A caller whose name is longer than those whose tokens are kept.
const LONG_NAME: usize = 300;

/// The configuration of a kind. Only the guarded path gets a credential.
#[must_use]
pub fn config(kind: &str) -> Value {
    let mut credential = json!({
        "kind": kind,
        "secrets": [{ "id": "2026-11", "value": "0123456789abcdef0123456789abcdef" }],
    });
    if kind == "jwt" {
        credential["issuer"] = json!("https://gateway");
        credential["subject"] = json!("gateway");
        credential["audience"] = json!("rag");
        credential["caller_header"] = json!("x-user-id");
    }
    json!({
        "credential": credential,
        "inject": [{ "match": { "paths": [{ "exact": GUARDED_PATH }] } }],
    })
}

/// Who calls.
#[must_use]
pub fn caller(name: &str) -> String {
    match name {
        "jwt, signed anew" => "a".repeat(LONG_NAME),
        _ => "alice".to_owned(),
    }
}

/// All of them, by the policy on this machine.
///
/// # Errors
/// The policy does not take its configuration.
pub fn native(scene: &Scene) -> Result<Vec<Subject<'static>>> {
    let subject = |(name, kind): (&str, &str)| {
        let world = World::new(Dialect::Envoy, 1);
        world
            .clock
            .set(Timestamp::from_unix_secs(scene.unix_secs()));
        let worker = world.worker::<ServiceToken>(&config(kind).to_string());
        let worker = worker
            .map_err(|error| anyhow!("service_token does not take its configuration: {error}"))?;
        let caller = caller(name);
        let run = move |side, times| {
            let path = match side {
                Side::Asked => GUARDED_PATH,
                Side::Without => OPEN_PATH,
            };
            let headers = [
                (":method", "GET"),
                (":path", path),
                (":authority", "gateway"),
                ("x-user-id", &caller),
            ];
            timed(times, || {
                let (answer, ()) = worker.request("192.0.2.1:4711", &headers);
                (answer.status() == 200)
                    .then_some(())
                    .with_context(|| format!("{answer:?}"))
            })
        };
        Ok(Subject {
            name: name.to_owned(),
            has_without: true,
            run: Box::new(run),
        })
    };
    CREDENTIALS.into_iter().map(subject).collect()
}
