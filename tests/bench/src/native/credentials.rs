//! What it costs to write a credential: each kind of `service_token`, by the policy on this machine.

use anyhow::{Context as _, Result, anyhow};
use portcullis_policy::Timestamp;
use portcullis_service_token::ServiceToken;
use portcullis_sim::{Dialect, World};
use serde_json::{Value, json};

use super::measure::{Side, Subject};
use super::tokens::timed;
use crate::scene::{GUARDED_PATH, OPEN_PATH, Scene};

/// A kind of credential, and who calls.
#[derive(Clone, Copy, Debug)]
pub struct Credential {
    /// What its figures are called.
    pub name: &'static str,
    /// What the table calls it.
    pub shown: &'static str,
    /// Its listener in the gateway.
    pub listener: &'static str,
    /// What the configuration calls it.
    pub kind: &'static str,
}

/// What is measured.
pub const CREDENTIALS: [Credential; 4] = [
    Credential {
        name: "static",
        shown: "a credential written: `static`",
        listener: "credential_static",
        kind: "static",
    },
    Credential {
        name: "jwt_kept",
        shown: "`jwt`, kept from a request before",
        listener: "credential_jwt_kept",
        kind: "jwt",
    },
    Credential {
        name: SIGNED_ANEW,
        shown: "`jwt`, signed anew",
        listener: "credential_jwt_anew",
        kind: "jwt",
    },
    Credential {
        name: "http_signature",
        shown: "`http_signature`",
        listener: "credential_http_signature",
        kind: "http_signature",
    },
];

/// By whose caller each token is a new one.
const SIGNED_ANEW: &str = "jwt_signed_anew";

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
pub fn caller(credential: Credential) -> String {
    match credential.name {
        SIGNED_ANEW => "a".repeat(LONG_NAME),
        _ => "alice".to_owned(),
    }
}

/// All of them.
///
/// # Errors
/// The policy does not take its configuration.
pub(super) fn subjects(scene: &Scene) -> Result<Vec<Subject<'static>>> {
    let subject = |credential: Credential| {
        let world = World::new(Dialect::Envoy, 1);
        world
            .clock
            .set(Timestamp::from_unix_secs(scene.unix_secs()));
        let worker = world.worker::<ServiceToken>(&config(credential.kind).to_string());
        let worker = worker
            .map_err(|error| anyhow!("service_token does not take its configuration: {error}"))?;
        let caller = caller(credential);
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
            name: credential.name.to_owned(),
            has_without: true,
            run: Box::new(run),
        })
    };
    CREDENTIALS.into_iter().map(subject).collect()
}
