//! The configurations of `docs/issuers.md`, with key sets and tokens of each issuer's shape.

mod clouds;
mod entra;
mod servers;
mod workloads;

use std::path::Path;

use portcullis_conformance::{START_UNIX_SECS, Sent, Subject, everywhere};
use portcullis_issuer::Key;
use portcullis_jwt_auth::JwtAuth;
use serde_json::{Value, json};

/// What an issuer is called on the page, what it publishes, and what it issues.
struct Issuer {
    section: &'static str,
    /// Where its keys are asked for: host and path.
    keys_at: [&'static str; 2],
    /// Its description, where that is asked for first.
    description: Option<(&'static str, Value)>,
    /// What it adds to each key.
    jwk: Value,
    /// What its tokens' heads have besides `alg` and `kid`.
    head: Value,
    method: &'static str,
    /// A good token's claims, without the dates.
    claims: Value,
    /// What the backend sees of them.
    forwarded: Vec<(&'static str, &'static str)>,
    /// What is wrong, the claims that differ (`null`: that are not there), and why it is refused.
    refused: Vec<(&'static str, Value, &'static str)>,
}

const KID: &str = "nOo3ZDrODXEK1jKWhXslHR_KXEg";

/// The page's section of that name.
fn section(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/issuers.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let sections = page.split("\n## ").skip(1);
    let mut named = sections.filter(|section| section.starts_with(&format!("{name}\n")));
    named
        .next()
        .unwrap_or_else(|| panic!("no section {name}"))
        .to_owned()
}

/// The configuration that the section shows.
fn config(name: &str) -> Value {
    let section = section(name);
    let (_, block) = section.split_once("```yaml\n").expect("a configuration");
    let (yaml, _) = block.split_once("```").expect("its end");
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => {
                claims.as_object_mut().expect("an object").remove(name);
            }
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A set as issuers have them: the key that signs, the one before it, and one that is not for
/// signatures.
fn set(issuer: &Issuer) -> String {
    let named = |key: &Key, kid: &str| {
        let mut jwk = changed(&key.jwk(), &issuer.jwk);
        jwk["kid"] = json!(kid);
        jwk
    };
    let mut unused = named(Key::other("RS256"), "for-encryption");
    unused["use"] = json!("enc");
    unused["alg"] = json!("RSA-OAEP");
    json!({"keys": [
        unused,
        named(Key::other("RS256"), "the-one-before"),
        named(Key::of("RS256"), KID),
    ]})
    .to_string()
}

fn request(issuer: &Issuer, key: &Key, claims: &Value) -> Sent {
    let mut claims = claims.clone();
    for (name, value) in [
        ("iat", START_UNIX_SECS),
        ("exp", START_UNIX_SECS + 3600),
        ("auth_time", START_UNIX_SECS - 60),
    ] {
        claims[name] = json!(value);
    }
    let mut head = issuer.head.clone();
    head["kid"] = json!(KID);
    let token = key.token("RS256", head, &claims);
    Sent::new(issuer.method, "/api/v1/rag/search").with("authorization", &format!("Bearer {token}"))
}

fn last_reason(subject: &dyn Subject) -> String {
    let lines = subject.logs();
    let mut refusals = lines
        .iter()
        .filter_map(|line| line.split(" reason=").nth(1));
    let last = refusals.next_back().unwrap_or_default();
    last.split(' ').next().unwrap_or_default().to_owned()
}

fn check(issuer: &Issuer) {
    everywhere::<JwtAuth>(&config(issuer.section).to_string(), |subject| {
        subject.tick();
        if let Some((path, description)) = &issuer.description {
            let [.., asked] = subject.call().expect("the description is asked for");
            assert_eq!(&asked, path);
            subject.answer_call(Some((200, &description.to_string())));
        }
        let [_, scheme, authority, path] = subject.call().expect("the keys are asked for");
        assert_eq!(scheme, "https");
        assert_eq!(
            [authority.as_str(), path.as_str()],
            issuer.keys_at,
            "{}",
            issuer.section
        );
        subject.answer_call(Some((200, &set(issuer))));

        let forged_headers = |sent: Sent| {
            let names = issuer.forwarded.iter().map(|(name, _)| name);
            names.fold(sent, |sent, name| sent.with(name, "forged"))
        };
        let seen = subject.ask(forged_headers(request(
            issuer,
            Key::of("RS256"),
            &issuer.claims,
        )));
        assert_eq!(
            seen.refused,
            None,
            "{}: {:?}",
            issuer.section,
            subject.logs()
        );
        for (name, value) in &issuer.forwarded {
            assert_eq!(
                seen.header(name),
                Some(*value),
                "{}: {name}",
                issuer.section
            );
        }
        for (what, changes, reason) in &issuer.refused {
            let claims = changed(&issuer.claims, changes);
            let seen = subject.ask(request(issuer, Key::of("RS256"), &claims));
            assert!(seen.refused.is_some(), "{}: {what}", issuer.section);
            assert_eq!(last_reason(subject), *reason, "{}: {what}", issuer.section);
        }
        let forged = request(issuer, Key::other("RS256"), &issuer.claims);
        assert_eq!(subject.ask(forged).status(), 401);
        assert_eq!(last_reason(subject), "signature", "{}", issuer.section);
    });
}

/// What most issuers add to a key.
fn plain() -> Value {
    json!({"use": "sig", "alg": "RS256"})
}

#[test]
fn every_section_with_a_configuration_is_one_of_these() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/issuers.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let tests = [
        include_str!("clouds.rs"),
        include_str!("entra.rs"),
        include_str!("servers.rs"),
        include_str!("workloads.rs"),
    ]
    .concat();
    for section in page.split("\n## ").skip(1) {
        let (name, _) = section.split_once('\n').expect("a heading");
        assert!(
            tests.contains(&format!("\"{name}\"")),
            "{name} is not tried"
        );
    }
}
