//! `service_token`, row by row: `kind: jwt` and `kind: http_signature`.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, UntrustedToken};
use portcullis_conformance::token::token;
use portcullis_conformance::{SERVICE_SECRET, START_UNIX_SECS, Seen, Sent, everywhere};
use portcullis_edge::Edge;
use portcullis_message_signature::{Key, Message, members, signature_base};
use portcullis_service_token::ServiceToken;
use portcullis_service_token_verifier::{
    Algorithm, Secret, SignatureVerifier, StaticVerifier, TokenVerifier, Verifier,
};
use serde_json::{Value, json};

const SECRETS: &str = r#""secrets":[{"id":"2026-11","env":"INTER_SERVICE_SECRET"}]"#;

fn jwt(fields: &str, rest: &str) -> String {
    format!(
        r#"{{"credential":{{"kind":"jwt","issuer":"https://gate","subject":"gate",{fields}{SECRETS}}}{rest}}}"#
    )
}

fn signature(fields: &str, rest: &str) -> String {
    format!(r#"{{"credential":{{"kind":"http_signature",{fields}{SECRETS}}}{rest}}}"#)
}

/// The claims of the credential, if it is signed with the secret.
fn claims(seen: &Seen) -> Value {
    assert_eq!(seen.refused, None);
    let token = seen.header("x-service-token").expect("a credential");
    let key = Hs256Key::new(SERVICE_SECRET.as_bytes());
    let untrusted = UntrustedToken::new(token).expect("a token");
    let validated = Hs256.validator::<Value>(&key).validate(&untrusted);
    assert!(validated.is_ok(), "{token}");
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&payload).expect("JSON")
}

#[test]
fn a_token_is_signed_for_its_audience_and_kept_for_a_while() {
    let rules = r#","inject":[{"match":{"paths":[{"prefix":"/a"}]},"audience":"a"},{"match":{}}]"#;
    everywhere::<ServiceToken>(&jwt(r#""audience":"all","#, rules), |subject| {
        let first = subject.ask(Sent::get("/x"));
        let mut of_all = claims(&first);
        assert_eq!(of_all["jti"].take().as_str().map(str::len), Some(22));
        assert_eq!(
            of_all,
            json!({
                "iss": "https://gate", "sub": "gate", "aud": "all", "jti": null,
                "iat": START_UNIX_SECS, "exp": START_UNIX_SECS + 60
            })
        );
        assert_eq!(claims(&subject.ask(Sent::get("/a")))["aud"], "a");
        subject.advance_millis(44_000);
        let kept = subject.ask(Sent::get("/y"));
        assert_eq!(
            kept.header("x-service-token"),
            first.header("x-service-token")
        );
        subject.advance_millis(1_000);
        let next = claims(&subject.ask(Sent::get("/x")));
        assert_eq!(next["exp"], START_UNIX_SECS + 105);
        assert_eq!(subject.metric("service_token_injected"), 4);
    });
}

#[test]
fn a_clients_own_token_is_overwritten_and_counted() {
    everywhere::<ServiceToken>(&jwt("", ""), |subject| {
        let forged = Sent::get("/").with("X-Service-Token", "a.b.c");
        assert_eq!(claims(&subject.ask(forged))["sub"], "gate");
        assert_eq!(subject.metric("service_token_spoofed"), 1);
        let ours = subject.ask(Sent::get("/"));
        let ours = ours.header("x-service-token").expect("a credential");
        claims(&subject.ask(Sent::get("/").with("x-service-token", ours)));
        assert_eq!(subject.metric("service_token_spoofed"), 1, "ours");
        let twice = Sent::get("/")
            .with("x-service-token", ours)
            .with("x-service-token", ours);
        assert_eq!(subject.ask(twice).status(), 400);
        for line in subject.logs() {
            assert!(
                !line.contains(ours) && !line.contains(SERVICE_SECRET),
                "{line}"
            );
        }
    });
}

#[test]
fn a_header_of_another_filter_tells_who_calls() {
    everywhere::<ServiceToken>(&jwt(r#""caller_header":"x-user-id","#, ""), |subject| {
        let alice = claims(&subject.ask(Sent::get("/").with("x-user-id", "alice")));
        assert_eq!(
            (&alice["sub"], &alice["act"]),
            (&json!("alice"), &json!({"sub": "gate"}))
        );
        let nobody = claims(&subject.ask(Sent::get("/").with("x-user-id", "")));
        assert_eq!((&nobody["sub"], nobody.get("act")), (&json!("gate"), None));
        let twice = Sent::get("/")
            .with("x-user-id", "alice")
            .with("x-user-id", "bob");
        assert_eq!(subject.ask(twice).status(), 400);
    });
}

fn edge(service_token: &str) -> String {
    format!(
        r#"{{"jwt_auth":{{"providers":{{"p":{{"issuer":"https://auth.example","audiences":["rag-api"],"algorithms":["HS256"],
            "keys":[{{"secret":{{"env":"JWT_SECRET_KEY"}},"kid":"k1"}}],
            "forward":{{"claims":{{"sub":"x-user-id"}}}}}}}},
            "rules":[{{"match":{{"paths":[{{"prefix":"/open"}}]}},"allow":"anyone"}},
                {{"match":{{}},"require":{{"any_of":["p"]}}}}]}},
            "service_token":{service_token}}}"#
    )
}

fn of_alice(path: &str) -> Sent {
    Sent::get(path).with("authorization", &format!("Bearer {}", token()))
}

#[test]
fn in_edge_the_caller_is_the_one_whom_jwt_auth_has_verified() {
    everywhere::<Edge>(&edge(&jwt("", "")), |subject| {
        let alice = claims(&subject.ask(of_alice("/x").with("x-user-id", "root")));
        assert_eq!(alice["sub"], "alice");
        assert_eq!(alice["act"], json!({"sub": "gate"}));
        assert_eq!(
            alice["sub_id"],
            json!({"format": "iss_sub", "iss": "https://auth.example", "sub": "alice"})
        );
        let nobody = claims(&subject.ask(Sent::get("/open").with("x-user-id", "root")));
        assert_eq!((&nobody["sub"], nobody.get("act")), (&json!("gate"), None));
    });
}

/// What the upstream receives.
struct Received<'a>(&'a Seen, Sent);

impl Message for Received<'_> {
    fn method(&self) -> &str {
        &self.1.method
    }
    fn authority(&self) -> Option<String> {
        Some(self.1.authority.to_ascii_lowercase())
    }
    fn target(&self) -> &[u8] {
        self.1.path.as_bytes()
    }
    fn lines(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.0.headers.iter();
        let lines = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_bytes()).collect()
    }
}

/// What our signature covers, if it is good for the request as it was received.
fn covered(seen: &Seen, sent: &Sent) -> Option<Vec<String>> {
    assert_eq!(seen.refused, None);
    let field = |name| seen.header(name).unwrap_or_default().as_bytes();
    let all = members(field("signature-input"), field("signature")).expect("dictionaries");
    let signed = all.iter().find(|signed| signed.label == "service-token")?;
    assert_eq!(signed.text("tag"), Some("service-token"));
    assert_eq!(signed.number("expires"), Some(START_UNIX_SECS as i64 + 60));
    let components = signed.components().expect("known components");
    let received = Received(seen, sent.clone());
    let base = signature_base(&received, &components, &signed.params()).ok()?;
    let names = components
        .iter()
        .map(|component| component.identifier().to_owned());
    let key = Key::new(SERVICE_SECRET.as_bytes());
    key.verifies(&base, &signed.signature)
        .then(|| names.collect())
}

#[test]
fn a_request_is_signed_as_it_was_sent_and_no_other_one_is() {
    everywhere::<ServiceToken>(&signature("", ""), |subject| {
        for path in ["/a", "/a?b=c", "/a%20b/?x=%2F", "/?", "/a?b?c"] {
            let sent = Sent::get(path);
            let seen = subject.ask(sent.clone());
            let expected = ["@method", "@authority", "@path", "@query"].map(str::to_owned);
            assert_eq!(covered(&seen, &sent), Some(expected.to_vec()), "{path}");
            for other in [
                Sent::get("/other"),
                Sent {
                    method: "POST".to_owned(),
                    ..sent.clone()
                },
                Sent {
                    authority: "other.example".to_owned(),
                    ..sent.clone()
                },
            ] {
                assert_eq!(covered(&seen, &other), None, "{path}");
            }
        }
        assert_eq!(subject.metric("service_token_injected"), 5);
    });
}

#[test]
fn a_digest_is_covered_and_members_of_others_stay() {
    everywhere::<ServiceToken>(&signature("", ""), |subject| {
        let sent = Sent::get("/")
            .with(
                "content-digest",
                "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            )
            .with("signature-input", r#"client=("@path")"#)
            .with("signature", "client=:AAAA:");
        let seen = subject.ask(sent.clone());
        let names = covered(&seen, &sent).expect("a good signature");
        assert_eq!(names.last().map(String::as_str), Some("content-digest"));
        let signatures = seen.header("signature").expect("signatures");
        assert!(
            signatures.starts_with("client=:AAAA:, service-token=:"),
            "{signatures}"
        );
        assert_eq!(subject.metric("service_token_spoofed"), 0);
    });
}

#[test]
fn what_a_client_sends_under_our_label_or_in_another_spelling_does_not_pass() {
    let forged = [
        (
            "signature-input",
            r#"service-token=("@path");keyid="2026-11";tag="service-token""#,
        ),
        ("signature", "service-token=:AAAA:"),
    ];
    everywhere::<ServiceToken>(&signature("", ""), |subject| {
        let sent = forged
            .iter()
            .fold(Sent::get("/"), |sent, (name, value)| sent.with(name, value));
        let seen = subject.ask(sent.clone());
        assert!(covered(&seen, &sent).is_some());
        let signatures = seen.header("signature").expect("signatures");
        assert!(!signatures.contains("AAAA"), "{signatures}");
        assert_eq!(subject.metric("service_token_spoofed"), 1);

        let folded = Sent::get("/").with("signature_input", "x=()");
        let seen = subject.ask(folded);
        // Kong can only empty it, which is refused: a backend could fold it into ours.
        let passed = seen.headers.iter().any(|(_, value)| value == "x=()");
        assert!(!passed, "{seen:?}");
        assert_eq!(
            seen.refused.is_some(),
            subject.is_kong() && seen.status() == 503
        );
        let several = Sent::get("/")
            .with("signature", "a=:AAAA:")
            .with("signature", "b=:AAAA:");
        assert_eq!(subject.ask(several).status(), 400);
        let hop = Sent::get("/").with("connection", "signature-input");
        assert_eq!(subject.ask(hop).status(), 400);
    });
    // Where nothing is injected, nothing of ours passes either.
    let elsewhere = r#","inject":[{"match":{"paths":[{"prefix":"/api"}]}}]"#;
    everywhere::<ServiceToken>(&signature("", elsewhere), |subject| {
        let sent = forged
            .iter()
            .fold(Sent::get("/"), |sent, (name, value)| sent.with(name, value));
        let seen = subject.ask(sent);
        assert!(
            seen.headers
                .iter()
                .all(|(_, value)| !value.contains("service-token"))
        );
    });
}

#[test]
fn in_edge_claim_headers_are_signed_as_they_go_on() {
    let signature = signature(r#""components":["@path","x-user-id"],"#, "");
    everywhere::<Edge>(&edge(&signature), |subject| {
        let sent = of_alice("/x").with("x-user-id", "root");
        let seen = subject.ask(sent.clone());
        assert_eq!(seen.header("x-user-id"), Some("alice"));
        let names = covered(&seen, &sent).expect("a good signature");
        assert_eq!(names, ["@path", "x-user-id"]);
    });
}

/// What a backend accepts while a secret is exchanged: by which it knows it.
fn key_id(kind: &str, secrets: &[(&str, &str)], sent: &Sent, seen: &Seen) -> Option<String> {
    let secrets = secrets.iter().map(|(id, value)| Secret::new(*id, *value));
    let secrets = secrets.collect::<Result<Vec<_>, _>>().expect("secrets");
    let verifier: Verifier = match kind {
        "static" => StaticVerifier::new(secrets).expect("a verifier").into(),
        "jwt" => TokenVerifier::new(Algorithm::Hs256, secrets, "https://gate")
            .expect("a verifier")
            .into(),
        _ => SignatureVerifier::new(secrets).expect("a verifier").into(),
    };
    let mut request = Request::builder()
        .method(sent.method.as_str())
        .uri(&sent.path);
    request = request.header("host", &sent.authority);
    let written = ["x-service-token", "signature-input", "signature"];
    for (name, value) in &seen.headers {
        if written.contains(&name.as_str()) {
            request = request.header(name, value);
        }
    }
    let request = request.body(()).expect("a request");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(START_UNIX_SECS);
    let verified = verifier.verify(&request, now).ok()?;
    Some(verified.key_id)
}

#[test]
fn a_secret_is_exchanged_by_configuring_anew_and_the_verifying_side_first() {
    const OLD: (&str, &str) = ("old", "old-old-old-old-old-old-old-old-old");
    const NEW: (&str, &str) = ("new", "new-new-new-new-new-new-new-new-new");
    for kind in ["static", "jwt", "http_signature"] {
        // What the gateway has, and what the backend accepts then.
        for (gateway, backend, known_by) in [
            (&[OLD][..], &[OLD][..], Some("old")),
            (&[OLD], &[OLD, NEW], Some("old")),
            (&[NEW, OLD], &[OLD, NEW], Some("new")),
            (&[NEW, OLD], &[NEW], Some("new")),
            (&[NEW], &[NEW], Some("new")),
            // The wrong way round.
            (&[NEW, OLD], &[OLD], None),
        ] {
            let secrets: Vec<_> = gateway
                .iter()
                .map(|(id, value)| json!({ "id": id, "value": value }))
                .collect();
            let mut credential = json!({ "kind": kind, "secrets": secrets });
            if kind == "jwt" {
                credential["issuer"] = json!("https://gate");
                credential["subject"] = json!("gate");
            }
            let config = json!({ "credential": credential }).to_string();
            everywhere::<ServiceToken>(&config, |subject| {
                let sent = Sent::get("/a?b=c");
                let seen = subject.ask(sent.clone());
                let found = key_id(kind, backend, &sent, &seen);
                assert_eq!(found.as_deref(), known_by, "{kind}");
                let ready = subject.logs().concat();
                assert!(
                    ready.contains(&format!("secret_id={}", gateway[0].0)),
                    "{ready}"
                );
            });
        }
    }
}
