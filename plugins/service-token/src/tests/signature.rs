//! `kind: http_signature`.

use portcullis_message_signature::{Key, members, signature_base};
use portcullis_policy::RequestEdits;

use super::*;
use crate::message::Outgoing;

const NOW: i64 = 1_767_254_400;

fn config(fields: &str, rest: &str) -> String {
    format!(
        r#"{{"credential":{{"kind":"http_signature",{fields}
            "secrets":[{{"id":"2026","value":"{SECRET}"}},{{"id":"2025","value":"{OLD}"}}]}}{rest}}}"#
    )
}

fn signer(fields: &str, rest: &str) -> Gate {
    let world = World::new(Dialect::Envoy, 1);
    world.worker(&config(fields, rest)).unwrap()
}

/// Sends a request; all that reaches the upstream, or the refusal's status.
fn pass(gate: &Gate, path: &str, sent: &[(&str, &str)]) -> Result<Vec<(String, String)>, u16> {
    let mut headers = vec![
        (":method", "GET"),
        (":path", path),
        (":authority", "Rag.Example:80"),
    ];
    headers.extend(sent);
    match gate.request("10.0.0.1", &headers).0 {
        Answer::Refused(reply) => Err(reply.status),
        Answer::Passed(headers) => Ok(headers),
    }
}

/// A header of what was passed.
fn field<'a>(passed: &'a [(String, String)], name: &str) -> &'a str {
    let mut fields = passed.iter().filter(|(known, _)| known == name);
    let value = fields.next().map_or("", |(_, value)| value);
    assert!(fields.next().is_none(), "{name} is there twice");
    value
}

/// What the signature of that label covers, if it is good for what was passed.
fn covered(passed: &[(String, String)], label: &str, secret: &str) -> Option<Vec<String>> {
    let (input, signature) = (field(passed, "signature-input"), field(passed, "signature"));
    let all = members(input.as_bytes(), signature.as_bytes()).unwrap();
    let signed = all.iter().find(|signed| signed.label == label)?;
    let pairs = passed
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = Headers::from_pairs(pairs);
    let request = Request::new(&headers, &Nobody);
    let components = signed.components().unwrap();
    let none = RequestEdits::none();
    let message = Outgoing::new(&request, &none);
    let base = signature_base(&message, &components, &signed.params()).unwrap();
    let good = Key::new(secret.as_bytes()).verifies(&base, &signed.signature);
    let names = components
        .iter()
        .map(|component| component.identifier().to_owned());
    good.then(|| names.collect())
}

#[test]
fn a_request_is_signed_and_its_parameters_say_by_whom_and_until_when() {
    let gate = signer("", "");
    let passed = pass(&gate, "/a?b=c", &[]).unwrap();
    assert_eq!(
        covered(&passed, "service-token", SECRET).unwrap(),
        ["@method", "@authority", "@path", "@query"]
    );
    assert_eq!(covered(&passed, "service-token", OLD), None);
    let all = members(
        field(&passed, "signature-input").as_bytes(),
        field(&passed, "signature").as_bytes(),
    )
    .unwrap();
    let [signed] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(signed.number("created"), Some(NOW));
    assert_eq!(signed.number("expires"), Some(NOW + 60));
    assert_eq!(signed.text("alg"), Some("hmac-sha256"));
    assert_eq!(signed.text("keyid"), Some("2026"));
    assert_eq!(signed.text("tag"), Some("service-token"));
    assert_eq!(signed.text("nonce").unwrap().len(), 22);
    assert_eq!(metric(&gate, "injected"), 1);
    // The same request again has another nonce.
    let again = pass(&gate, "/a?b=c", &[]).unwrap();
    assert_ne!(
        field(&again, "signature-input"),
        field(&passed, "signature-input")
    );
}

#[test]
fn a_digest_of_the_body_is_covered_where_there_is_one_and_other_headers_where_they_are_asked_for() {
    let digest = (
        "content-digest",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
    );
    let gate = signer("", "");
    let passed = pass(&gate, "/", &[digest]).unwrap();
    let names = covered(&passed, "service-token", SECRET).unwrap();
    assert_eq!(names.last().unwrap(), "content-digest");
    let gate = signer(
        r#""components":["@method","x-a","content-digest","x-b"],"#,
        "",
    );
    let passed = pass(&gate, "/", &[digest, ("x-b", "1"), ("x-b", "2")]).unwrap();
    assert_eq!(
        covered(&passed, "service-token", SECRET).unwrap(),
        ["@method", "content-digest", "x-b"]
    );
}

#[test]
fn what_others_have_changed_is_signed_as_it_goes_on() {
    let gate = signer(
        r#""components":["@path","@query","x-user-id","x-gone"],"#,
        "",
    );
    let headers = Headers::from_pairs([
        (":method", "GET"),
        (":path", "/a?access_token=t&b=1"),
        ("x-user-id", "forged"),
        ("x-gone", "client"),
    ]);
    let request = Request::new(&headers, &Nobody);
    let mut changes = RequestEdits::none();
    changes.set("x-user-id", b"alice".as_slice());
    changes.clear("X-Gone");
    changes.set_target(b"/a?b=1".to_vec());
    let ports = gate.ports();
    let (verdict, _) = gate.policy.decide(&request, None, &changes, &ports);
    let Verdict::Continue(edits) = verdict else {
        panic!("{verdict:?}");
    };
    let mut passed = vec![
        (":method".to_owned(), "GET".to_owned()),
        (":path".to_owned(), "/a?b=1".to_owned()),
        ("x-user-id".to_owned(), "alice".to_owned()),
    ];
    for edit in edits.headers() {
        let HeaderEdit::Set { name, value } = edit else {
            panic!("{edit:?}");
        };
        let value = String::from_utf8(value.to_vec()).unwrap();
        passed.push((name.to_string(), value));
    }
    assert_eq!(
        covered(&passed, "service-token", SECRET).unwrap(),
        ["@path", "@query", "x-user-id"]
    );
}

const INPUT: (&str, &str) = ("signature-input", r#"client=("@path");keyid="k""#);
const SIGNATURE: (&str, &str) = ("signature", "client=:AAAA:");

#[test]
fn signatures_of_others_stay_and_are_no_forgery() {
    let gate = signer("", RULES);
    let passed = pass(&gate, "/api", &[INPUT, SIGNATURE]).unwrap();
    let input = field(&passed, "signature-input");
    assert!(
        input.starts_with(r#"client=("@path");keyid="k", service-token=("@method""#),
        "{input}"
    );
    assert!(field(&passed, "signature").starts_with("client=:AAAA:, service-token=:"));
    assert!(covered(&passed, "service-token", SECRET).is_some());
    let passed = pass(&gate, "/other", &[INPUT, SIGNATURE]).unwrap();
    assert_eq!(field(&passed, "signature-input"), INPUT.1);
    assert_eq!(field(&passed, "signature"), SIGNATURE.1);
    assert_eq!(metric(&gate, "spoofed"), 0);
}

#[test]
fn what_a_client_sends_under_our_label_does_not_pass() {
    let ours = r#"service-token=("@path");keyid="2026""#;
    let both = format!("{}, {ours}", INPUT.1);
    for (input, signature, others) in [
        (ours, "service-token=:AAAA:", ["", ""]),
        (
            both.as_str(),
            "client=:AAAA:, service-token=:AAAA:",
            [INPUT.1, SIGNATURE.1],
        ),
        (both.as_str(), "client=:AAAA:", [INPUT.1, SIGNATURE.1]),
        (
            INPUT.1,
            "service-token=:AAAA:, client=:AAAA:",
            [INPUT.1, SIGNATURE.1],
        ),
        // What nobody can read is dropped.
        ("client=(", "client=:AAAA:", ["", ""]),
        ("client=()", "client=:A", ["", ""]),
    ] {
        let sent = [("signature-input", input), ("Signature", signature)];
        let gate = signer("", RULES);
        let passed = pass(&gate, "/api", &sent).unwrap();
        assert!(
            covered(&passed, "service-token", SECRET).is_some(),
            "{input}"
        );
        assert_eq!(
            field(&passed, "signature")
                .matches("service-token=")
                .count(),
            1
        );
        assert!(field(&passed, "signature-input").starts_with(others[0]));
        let passed = pass(&gate, "/other", &sent).unwrap();
        assert_eq!(
            [
                field(&passed, "signature-input"),
                field(&passed, "signature")
            ],
            others
        );
        assert_eq!(metric(&gate, "spoofed"), 2, "{input}");
    }
}

#[test]
fn a_field_that_is_huge_is_dropped_without_being_looked_into() {
    let long = format!("a=({})", "\"x\" ".repeat(3_000));
    for sent in [
        [
            ("signature-input", long.as_str()),
            ("signature", "service-token=:AAAA:"),
        ],
        [
            ("signature-input", "service-token=()"),
            ("signature", long.as_str()),
        ],
    ] {
        let gate = signer("", "");
        let passed = pass(&gate, "/", &sent).unwrap();
        assert!(covered(&passed, "service-token", SECRET).is_some());
        assert!(field(&passed, "signature-input").len() < 500);
        assert_eq!(metric(&gate, "spoofed"), 1);
    }
}

#[test]
fn one_of_ours_is_replaced_and_is_no_forgery() {
    let gate = signer("", "");
    let first = pass(&gate, "/", &[]).unwrap();
    let sent = ["signature-input", "signature"].map(|name| (name, field(&first, name)));
    let second = pass(&gate, "/", &sent).unwrap();
    assert!(covered(&second, "service-token", SECRET).is_some());
    assert_ne!(field(&second, "signature"), field(&first, "signature"));
    assert_eq!(metric(&gate, "spoofed"), 0);
    // On another path it is not ours any more.
    pass(&gate, "/elsewhere", &sent).unwrap();
    assert_eq!(metric(&gate, "spoofed"), 1);
}

#[test]
fn other_spellings_do_not_pass_and_several_lines_are_refused() {
    for name in ["signature_input", "Signature_Input"] {
        let gate = signer("", "");
        let passed = pass(&gate, "/", &[(name, "x=()")]).unwrap();
        assert!(
            passed.iter().all(|(known, _)| known != "signature_input"),
            "{name}"
        );
        assert_eq!(metric(&gate, "spoofed"), 1);
    }
    for second in ["signature", "Signature", "SIGNATURE"] {
        let gate = signer("", "");
        let sent = [SIGNATURE, (second, "b=:AAAA:")];
        assert_eq!(pass(&gate, "/", &sent), Err(400));
        assert_eq!(metric(&gate, "spoofed"), 1);
    }
    for name in ["signature", "Signature-Input", "close, signature_input"] {
        let gate = signer("", "");
        assert_eq!(
            pass(&gate, "/", &[("connection", name)]),
            Err(400),
            "{name}"
        );
    }
}

#[test]
fn what_can_not_be_signed_is_the_clients_fault() {
    let gate = signer(r#""components":["@authority","x-a"],"#, "");
    assert_eq!(pass(&gate, "/", &[("x-a", "caf\u{e9}")]), Err(400));
    assert_eq!(pass(&gate, "/", &[("host", "a"), ("host", "b")]), Err(400));
    assert_eq!(metric(&gate, "errors.reason.unsignable"), 2);
    assert!(lines(&gate)[0].starts_with("plugin=service_token event=refused reason=unsignable"));
}

#[test]
fn components_are_checked() {
    let world = World::new(Dialect::Envoy, 1);
    for (components, expected) in [
        (
            r#"["@status"]"#,
            r#"credential.components[0]: "@status" can't be covered; expected @method"#,
        ),
        (
            r#"["@path","Date"]"#,
            r#"credential.components[1]: "Date" can't be covered"#,
        ),
        (
            r#"["signature"]"#,
            r#"credential.components[0]: "signature" can't be covered; it does not reach"#,
        ),
        (
            r#"["@path","@path"]"#,
            r#"credential.components[1]: "@path" is there twice"#,
        ),
        ("[]", "credential.components: the list is empty"),
    ] {
        let config = config(&format!(r#""components":{components},"#), "");
        let error = world
            .worker::<ServiceToken>(&config)
            .err()
            .unwrap()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let config = config(r#""label":"Sig","#, "");
    let error = world
        .worker::<ServiceToken>(&config)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with(r#"credential.label: "Sig" is not a label"#),
        "{error}"
    );
}

#[test]
fn debug_shows_no_secret() {
    assert!(!format!("{:?}", signer("", "").policy).contains(SECRET));
}
