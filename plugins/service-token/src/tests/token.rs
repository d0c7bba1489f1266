//! `kind: jwt`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{AlgorithmExt as _, UntrustedToken};
use portcullis_policy::config::{ClaimPath, Claims};
use portcullis_policy::{RequestEdits, Span};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_767_254_400;
const LONG: &str = "secret-secret-secret-secret-secret-secret-secret-secret-secret-64";

fn config(fields: &str, rest: &str) -> String {
    format!(
        r#"{{"credential":{{"kind":"jwt","issuer":"https://gate","subject":"gate",{fields}
            "secrets":[{{"id":"2026","value":"{LONG}"}},{{"id":"2025","value":"{LONG}-old"}}]}}{rest}}}"#
    )
}

fn issuer(fields: &str, rest: &str) -> Gate {
    World::new(Dialect::Envoy, 1)
        .worker(&config(fields, rest))
        .unwrap()
}

/// The token that a request gets.
fn token(gate: &Gate, path: &str, sent: &[(&str, &str)]) -> String {
    let passed = send(gate, path, sent).unwrap();
    let [(name, value)] = passed.as_slice() else {
        panic!("{passed:?}");
    };
    assert_eq!(name, "x-service-token");
    value.clone()
}

/// The claims of a token that is signed by the first secret with HS256, and its header's `kid`.
fn claims(token: &str) -> (Value, Option<String>) {
    let key = Hs256Key::new(LONG.as_bytes());
    let untrusted = UntrustedToken::new(token).unwrap();
    let kid = untrusted.header().key_id.clone();
    assert_eq!(untrusted.header().token_type.as_deref(), Some("JWT"));
    Hs256.validator::<Value>(&key).validate(&untrusted).unwrap();
    let payload = token.split('.').nth(1).unwrap();
    let all = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    (all, kid)
}

#[test]
fn a_request_gets_a_token_that_says_who_made_it_and_ends_soon() {
    let gate = issuer(r#""audience":"rag","#, "");
    let (mut claims, kid) = claims(&token(&gate, "/x", &[]));
    assert_eq!(kid.as_deref(), Some("2026"));
    let jti = claims["jti"].take();
    assert_eq!(jti.as_str().unwrap().len(), 22);
    assert_eq!(
        claims,
        json!({"iss": "https://gate", "sub": "gate", "aud": "rag", "iat": NOW, "exp": NOW + 60, "jti": null})
    );
    assert_eq!(metric(&gate, "injected"), 1);
    assert_eq!(
        gate.telemetry.lines(),
        ["plugin=service_token event=ready secret_id=2026"]
    );
}

#[test]
fn a_token_is_kept_until_a_quarter_of_its_time_is_left() {
    let gate = issuer("", "");
    let first = token(&gate, "/x", &[]);
    gate.clock.advance(Span::from_secs(44));
    assert_eq!(token(&gate, "/y", &[]), first);
    gate.clock.advance(Span::from_secs(1));
    let second = token(&gate, "/x", &[]);
    assert_ne!(second, first);
    assert_eq!(claims(&second).0["iat"], NOW + 45);
    // The clock is set back: a token of a time to come is of no use.
    gate.clock
        .set(portcullis_policy::Timestamp::from_unix_secs(NOW));
    assert_eq!(claims(&token(&gate, "/x", &[])).0["iat"], NOW);
}

#[test]
fn two_tokens_never_have_the_same_jti() {
    let world = World::new(Dialect::Kong, 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let gate: Gate = world.worker(&config("", "")).unwrap();
        for _ in 0..3 {
            let jti = claims(&token(&gate, "/", &[])).0["jti"].take();
            assert!(seen.insert(jti.to_string()));
            gate.clock.advance(Span::from_secs(60));
        }
    }
}

#[test]
fn each_rule_may_name_an_audience_of_its_own() {
    let gate = issuer(
        r#""audience":"all","#,
        r#","inject":[{"match":{"paths":[{"prefix":"/a"}]},"audience":"a"},
            {"match":{"paths":[{"prefix":"/b"}]}}]"#,
    );
    assert_eq!(claims(&token(&gate, "/a/x", &[])).0["aud"], "a");
    assert_eq!(claims(&token(&gate, "/b/x", &[])).0["aud"], "all");
    assert_eq!(claims(&token(&gate, "/a", &[])).0["aud"], "a");
    assert_eq!(
        send(&gate, "/c", &[("x-service-token", "forged")]),
        Ok(Vec::new())
    );
}

struct Known(Value);
impl Claims for Known {
    fn claim(&self, path: &ClaimPath) -> Option<&Value> {
        path.find(&self.0)
    }
}

/// The token that a request of a caller with these claims gets.
fn on_behalf_of(gate: &Gate, caller: Value) -> Value {
    let headers = Headers::from_pairs([(":method", "GET"), (":path", "/")]);
    let request = Request::new(&headers, &Nobody);
    let none = RequestEdits::none();
    let known = Known(caller);
    let (verdict, _) = gate
        .policy
        .decide(&request, Some(&known), &none, &gate.ports());
    let Verdict::Continue(edits) = verdict else {
        panic!("{verdict:?}");
    };
    let [HeaderEdit::Set { value, .. }] = edits.headers() else {
        panic!("{edits:?}");
    };
    claims(std::str::from_utf8(value).unwrap()).0
}

#[test]
fn where_a_caller_is_known_the_token_is_the_callers_and_the_gateway_acts() {
    let gate = issuer("", "");
    let alice = on_behalf_of(&gate, json!({"iss": "https://id", "sub": "alice"}));
    assert_eq!(alice["sub"], "alice");
    assert_eq!(alice["act"], json!({"sub": "gate"}));
    assert_eq!(
        alice["sub_id"],
        json!({"format": "iss_sub", "iss": "https://id", "sub": "alice"})
    );
    // Another issuer's alice is another one.
    let other = on_behalf_of(&gate, json!({"iss": "https://other", "sub": "alice"}));
    assert_eq!(other["sub_id"]["iss"], "https://other");
    let bob = on_behalf_of(&gate, json!({"iss": "https://id", "sub": "bob"}));
    assert_eq!(bob["sub"], "bob");
    assert_eq!(
        on_behalf_of(&gate, json!({"iss": "https://id", "sub": "alice"})),
        alice
    );
    let nobody = on_behalf_of(&gate, json!({}));
    assert_eq!(nobody["sub"], "gate");
    assert!(nobody.get("act").is_none() && nobody.get("sub_id").is_none());
}

#[test]
fn a_caller_that_was_verified_and_has_no_name_is_not_called_the_gateway() {
    for caller in [
        json!({"iss": "https://id"}),
        json!({"iss": "https://id", "sub": 7}),
        json!({"iss": "https://id", "sub": ""}),
    ] {
        let gate = issuer("", "");
        let headers = Headers::from_pairs([(":method", "GET"), (":path", "/")]);
        let request = Request::new(&headers, &Nobody);
        let none = RequestEdits::none();
        let known = Known(caller);
        let ports = gate.ports();
        let (verdict, injected) = gate.policy.decide(&request, Some(&known), &none, &ports);
        assert!(matches!(verdict, Verdict::Refuse(reply) if reply.status == 400));
        assert!(injected.is_none());
        assert_eq!(metric(&gate, "errors.reason.unsignable"), 1);
    }
}

#[test]
fn in_shadow_the_credential_is_tried_and_not_sent() {
    let gate = issuer(r#""caller_header":"x-user-id","#, r#","mode":"shadow""#);
    assert_eq!(send(&gate, "/", &[("x-user-id", "alice")]), Ok(Vec::new()));
    assert_eq!(metric(&gate, "shadow_injected"), 1);
    let twice = [("x-user-id", "alice"), ("x-user-id", "bob")];
    assert_eq!(send(&gate, "/", &twice), Ok(Vec::new()));
    assert_eq!(metric(&gate, "shadow_injected"), 1);
    assert_eq!(metric(&gate, "errors.reason.unsignable"), 1);
}

#[test]
fn behind_another_filter_a_header_tells_who_calls() {
    let gate = issuer(r#""caller_header":"x-user-id","#, "");
    let of = |sent: &[(&str, &str)]| claims(&token(&gate, "/", sent)).0;
    let alice = of(&[("x-user-id", "alice")]);
    assert_eq!(
        (&alice["sub"], &alice["act"]["sub"]),
        (&"alice".into(), &"gate".into())
    );
    assert_eq!(of(&[])["sub"], "gate");
    assert_eq!(of(&[("x-user-id", "")])["sub"], "gate");
    let twice = [("x-user-id", "alice"), ("x-user-id", "bob")];
    assert_eq!(send(&gate, "/", &twice), Err(400));
    assert_eq!(metric(&gate, "errors.reason.unsignable"), 1);
}

#[test]
fn a_flood_of_callers_takes_no_more_memory_than_the_cache_has() {
    let gate = issuer(r#""caller_header":"x-user-id","#, "");
    for caller in 0..3_000 {
        let caller = format!("caller-{caller}");
        let of_caller = claims(&token(&gate, "/", &[("x-user-id", &caller)])).0;
        assert_eq!(of_caller["sub"], caller);
    }
    let long = "x".repeat(1_024);
    let of_long = token(&gate, "/", &[("x-user-id", &long)]);
    let again = token(&gate, "/", &[("x-user-id", &long)]);
    assert_ne!(of_long, again, "not kept");
    let longer = "x".repeat(1_025);
    assert_eq!(send(&gate, "/", &[("x-user-id", &longer)]), Err(400));
}

#[test]
fn a_clients_own_token_does_not_pass_and_one_of_ours_is_no_forgery() {
    let gate = issuer("", "");
    let ours = token(&gate, "/", &[]);
    assert_eq!(token(&gate, "/", &[("X-Service-Token", &ours)]), ours);
    assert_eq!(metric(&gate, "spoofed"), 0);
    let mut forged = ours.clone();
    forged.replace_range(20..21, if &ours[20..21] == "A" { "B" } else { "A" });
    for (count, value) in [forged.as_str(), "x", "", ".", "a.b.c"].iter().enumerate() {
        assert_eq!(token(&gate, "/", &[("x_service_token", value)]), ours);
        assert_eq!(metric(&gate, "spoofed"), count as u64 + 1, "{value}");
    }
}

#[test]
fn each_algorithm_signs() {
    for algorithm in ["HS256", "HS384", "HS512"] {
        let gate = issuer(&format!(r#""algorithm":"{algorithm}","#), "");
        let token = token(&gate, "/", &[]);
        let untrusted = UntrustedToken::new(&token).unwrap();
        assert_eq!(untrusted.algorithm(), algorithm);
        let secret = LONG.as_bytes();
        let valid = match algorithm {
            "HS256" => Hs256
                .validator::<Value>(&Hs256Key::new(secret))
                .validate(&untrusted)
                .is_ok(),
            "HS384" => Hs384
                .validator::<Value>(&Hs384Key::new(secret))
                .validate(&untrusted)
                .is_ok(),
            _ => Hs512
                .validator::<Value>(&Hs512Key::new(secret))
                .validate(&untrusted)
                .is_ok(),
        };
        assert!(valid, "{algorithm}");
    }
}

#[test]
fn what_does_not_fit_the_kind_is_refused() {
    let world = World::new(Dialect::Envoy, 1);
    let error = |config: &str| {
        let error = world.worker::<ServiceToken>(config).err();
        error.map(|error| error.to_string())
    };
    let secrets = format!(r#""secrets":[{{"id":"a","value":"{LONG}"}}]"#);
    let of = |kind: &str, fields: &str| {
        format!(r#"{{"credential":{{"kind":"{kind}",{fields}{secrets}}}}}"#)
    };
    let names = r#""issuer":"i","subject":"s","#;
    for (config, expected) in [
        (
            of("static", r#""ttl":"60s","#),
            "credential.ttl: not a key of kind static",
        ),
        (
            of("static", r#""issuer":"a","#),
            "credential.issuer: not a key of kind static",
        ),
        (
            of("static", r#""caller_header":"x-a","#),
            "credential.caller_header: not a key of kind static",
        ),
        (
            of("static", r#""components":["@path"],"#),
            "credential.components: not a key of kind static",
        ),
        (
            of("http_signature", r#""header":"x-a","#),
            "credential.header: not a key of kind http_signature",
        ),
        (
            of("jwt", r#""label":"a","#),
            "credential.label: not a key of kind jwt",
        ),
        (of("jwt", ""), "credential: missing field `issuer`"),
        (
            of("jwt", r#""issuer":"i","#),
            "credential: missing field `subject`",
        ),
        (
            of("jwt", &format!(r#"{names}"ttl":"4s","#)),
            "credential.ttl: out of range; expected whole seconds from 5s to 1h",
        ),
        (
            of("jwt", &format!(r#"{names}"ttl":"2h","#)),
            "credential.ttl: out of range; expected whole seconds from 5s to 1h",
        ),
        (
            of("jwt", &format!(r#"{names}"algorithm":"none","#)),
            "credential.algorithm: unknown variant `none`",
        ),
        (
            of("jwt", r#""issuer":"a b","subject":"s","#),
            "credential.issuer: expected 1 to 256 visible characters",
        ),
        (
            format!(
                r#"{{"credential":{{"kind":"jwt",{names}"algorithm":"HS512","secrets":[{{"id":"a","value":"0123456789abcdef0123456789abcdef"}}]}}}}"#
            ),
            "credential.secrets[0]: the secret has 32 bytes; expected at least 64, or allow_short: true",
        ),
        (
            format!(
                r#"{{"credential":{{"kind":"static",{secrets}}},"inject":[{{"match":{{}},"audience":"a"}}]}}"#
            ),
            "inject[0].audience: not a key of kind static",
        ),
    ] {
        let found = error(&config).unwrap();
        assert!(found.starts_with(expected), "{config}\n{found}\n{expected}");
    }
}

#[test]
fn without_a_clock_on_error_decides() {
    struct NoClock;
    impl portcullis_policy::Clock for NoClock {
        fn monotonic(
            &self,
        ) -> Result<portcullis_policy::Timestamp, portcullis_policy::ClockUnavailable> {
            self.now()
        }
        fn now(&self) -> Result<portcullis_policy::Timestamp, portcullis_policy::ClockUnavailable> {
            Err(portcullis_policy::ClockUnavailable)
        }
    }
    for (rest, expected) in [("", Some(503)), (r#","on_error":"allow""#, None)] {
        let gate = issuer("", rest);
        let headers = Headers::from_pairs([
            (":method", "GET"),
            (":path", "/"),
            ("x-service-token", "forged"),
        ]);
        let request = Request::new(&headers, &Nobody);
        let ports = portcullis_policy::Ports {
            clock: &NoClock,
            ..gate.ports()
        };
        let found = match gate.policy.on_request(&request, &ports).0 {
            Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
            Verdict::Refuse(reply) => Some(reply.status),
            Verdict::Continue(edits) => {
                assert!(matches!(edits.headers(), [HeaderEdit::Clear { .. }]));
                None
            }
        };
        assert_eq!(found, expected);
        assert_eq!(metric(&gate, "errors.reason.clock_unavailable"), 1);
    }
}

#[test]
fn debug_shows_no_secret_and_no_token() {
    let gate = issuer("", "");
    let token = token(&gate, "/", &[]);
    let shown = format!("{:?}", gate.policy);
    assert!(!shown.contains(LONG));
    assert!(!shown.contains(&token));
}
