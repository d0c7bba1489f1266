//! What it costs to check one token or to write one credential: a request less the same one that passes unseen.
//!
//! All listeners are of one gateway, and answer by themselves, so that little else is measured.

use portcullis_issuer::ALGORITHMS;

use super::{Inputs, Part, Subject};
use crate::config::envoys;
use crate::native::credentials::{self, CREDENTIALS};
use crate::scene::{GUARDED_PATH, OPEN_PATH, Scene};
use crate::traffic::Ask;

/// What the part is called, and its only gateway.
pub const TOKENS: &str = "tokens";

/// The listeners of `jwt_auth` without a cache and with one, and of Envoy's own filter.
const UNCACHED: &str = "uncached";
const CACHED: &str = "cached_tokens";
const ENVOYS: &str = "envoys";
/// That of `jwt_auth` as native code, without a cache.
const MODULE: &str = "as_native_code";

/// The algorithms that Envoy's own filter is measured with.
const ENVOYS_ALGORITHMS: [&str; 2] = ["RS256", "ES256"];

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let added_to = "the same request where it passes unseen";
    let mut part = Part::new(TOKENS, "One token, one credential", added_to);
    let jwt_auth = |tokens| inputs.wasm("jwt_auth", &Scene::config(tokens));
    let mut bootstrap = inputs
        .bootstrap()
        .answering(UNCACHED, &[jwt_auth(0)], 200)
        .answering(CACHED, &[jwt_auth(4096)], 200)
        .answering(
            MODULE,
            &[Inputs::native("jwt_auth", &Scene::config(0))],
            200,
        )
        .answering(ENVOYS, &[envoys::jwt_authn_alone()], 200);
    for credential in CREDENTIALS {
        let filter = inputs.wasm("service_token", &credentials::config(credential.kind));
        bootstrap = bootstrap.answering(credential.listener, &[filter], 200);
    }
    part.gateway(TOKENS, bootstrap);
    jwt_auth_subjects(&mut part, inputs);
    for credential in CREDENTIALS {
        let ask = Ask::get(GUARDED_PATH).with("x-user-id", &credentials::caller(credential));
        add(
            &mut part,
            credential.name,
            credential.shown,
            credential.listener,
            ask,
            &[],
        );
    }
    part
}

fn jwt_auth_subjects(part: &mut Part, inputs: &Inputs<'_>) {
    let ask = |token: &str| Ask::get(GUARDED_PATH).bearer(token);
    for algorithm in ENVOYS_ALGORITHMS {
        let shown = format!("{algorithm} by `jwt_authn`");
        let token = inputs.scene.token(algorithm);
        add(
            part,
            &envoys_name(algorithm),
            &shown,
            ENVOYS,
            ask(&token),
            &[],
        );
    }
    for algorithm in ALGORITHMS {
        let token = inputs.scene.token(algorithm);
        let against: &[&str] = if ENVOYS_ALGORITHMS.contains(&algorithm) {
            &[&envoys_name(algorithm)]
        } else {
            &[]
        };
        add(part, algorithm, algorithm, UNCACHED, ask(&token), against);
        let (name, shown) = (
            format!("{algorithm}_module"),
            format!("{algorithm} as native code"),
        );
        add(part, &name, &shown, MODULE, ask(&token), against);
    }
    let (good, expired) = (
        inputs.scene.token("RS256"),
        inputs.scene.expired_token("RS256"),
    );
    add(part, "cached", "cached (RS256)", CACHED, ask(&good), &[]);
    let refused = ask(&expired).refused(401);
    add(
        part,
        "expired",
        "expired, refused (RS256)",
        UNCACHED,
        refused,
        &[],
    );
}

fn envoys_name(algorithm: &str) -> String {
    format!("{algorithm}_jwt_authn")
}

/// A subject, and the same request where it passes unseen, once for each.
fn add(
    part: &mut Part,
    name: &str,
    shown: &str,
    listener: &'static str,
    ask: Ask,
    against: &[&str],
) {
    let unseen_name = format!("{name}_unseen");
    let mut unseen = ask.clone().refused(200);
    OPEN_PATH.clone_into(&mut unseen.path);
    let unseen = Subject::new(&unseen_name, "", unseen)
        .hidden()
        .at(TOKENS, listener);
    let subject = Subject::new(name, shown, ask).over(&unseen_name);
    part.subjects.push(unseen);
    part.subjects
        .push(subject.against(against).at(TOKENS, listener));
}
