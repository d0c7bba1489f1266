//! The examples of RFC 9421.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A request of the RFC.
struct Example {
    method: &'static str,
    authority: &'static str,
    target: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

impl Message for Example {
    fn method(&self) -> &str {
        self.method
    }
    fn authority(&self) -> Option<String> {
        (!self.authority.is_empty()).then(|| self.authority.to_ascii_lowercase())
    }
    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }
    fn lines(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(known, _)| *known == name);
        named.map(|(_, value)| value.as_bytes()).collect()
    }
}

/// `test-request` (appendix B.2).
const TEST_REQUEST: Example = Example {
    method: "POST",
    authority: "example.com",
    target: "/foo?param=Value&Pet=dog",
    fields: &[
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        (
            "content-digest",
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
        ),
        ("content-length", "18"),
    ],
};

/// `test-shared-secret` (appendix B.1.5).
fn shared_secret() -> Key {
    let secret =
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    Key::new(&STANDARD.decode(secret).unwrap())
}

fn components(identifiers: &[&str]) -> Vec<Component> {
    let parse = |identifier: &&str| Component::parse(identifier).unwrap();
    identifiers.iter().map(parse).collect()
}

/// The value of one component.
fn value(example: &Example, identifier: &str) -> Result<String, BaseError> {
    let base = signature_base(example, &components(&[identifier]), "()")?;
    let text = String::from_utf8(base).unwrap();
    let (line, _) = text.split_once('\n').unwrap();
    let value = line.strip_prefix(&format!("\"{identifier}\": ")).unwrap();
    Ok(value.to_owned())
}

fn with_target(target: &'static str) -> Example {
    Example {
        target,
        ..TEST_REQUEST
    }
}

#[test]
fn b_2_5_signing_a_request_using_hmac_sha256() {
    let covered = components(&["date", "@authority", "content-type"]);
    let params = Params {
        created: 1_618_884_473,
        expires: None,
        nonce: None,
        alg: None,
        keyid: "test-shared-secret",
        tag: None,
    };
    let params = signature_params(&covered, &params).unwrap();
    assert_eq!(
        params,
        r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#
    );
    let base = signature_base(&TEST_REQUEST, &covered, &params).unwrap();
    assert_eq!(
        String::from_utf8(base.clone()).unwrap(),
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
         \"@authority\": example.com\n\
         \"content-type\": application/json\n\
         \"@signature-params\": (\"date\" \"@authority\" \"content-type\")\
         ;created=1618884473;keyid=\"test-shared-secret\""
    );
    let signature = "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=";
    assert_eq!(STANDARD.encode(shared_secret().sign(&base)), signature);

    let input = format!("sig-b25={params}");
    let field = format!("sig-b25=:{signature}:");
    let [signed] = members(input.as_bytes(), field.as_bytes())
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(
        (signed.label.as_str(), signed.params()),
        ("sig-b25", params)
    );
    assert_eq!(signed.components(), Ok(covered));
    assert_eq!(signed.text("keyid"), Some("test-shared-secret"));
    assert_eq!(signed.number("created"), Some(1_618_884_473));
    assert!(!signed.has("expires"));
    assert!(shared_secret().verifies(&base, &signed.signature));
    for bit in 0..8 {
        let mut forged = signed.signature.clone();
        forged[7] ^= 1 << bit;
        assert!(!shared_secret().verifies(&base, &forged));
    }
    assert!(!shared_secret().verifies(&base, &signed.signature[..31]));
    assert!(!shared_secret().verifies(&base, &[]));
    assert!(!Key::new(b"another").verifies(&base, &signed.signature));
}

/// Section 2.1: values are trimmed, lines joined, obsolete line foldings replaced, and a field
/// without a value is covered, too.
#[test]
fn section_2_1_values_of_fields() {
    let example = Example {
        method: "GET",
        authority: "www.example.com",
        target: "/",
        fields: &[
            ("host", "www.example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:56 GMT"),
            ("x-ows-header", "   Leading and trailing whitespace.   "),
            ("x-obs-fold-header", "Obsolete\r\n    line folding."),
            ("cache-control", "max-age=60"),
            ("cache-control", "   must-revalidate"),
            ("example-dict", "  a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            ("x-empty-header", ""),
        ],
    };
    for (name, expected) in [
        ("host", "www.example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:56 GMT"),
        ("x-ows-header", "Leading and trailing whitespace."),
        ("x-obs-fold-header", "Obsolete line folding."),
        ("cache-control", "max-age=60, must-revalidate"),
        ("example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
        ("x-empty-header", ""),
    ] {
        assert_eq!(value(&example, name).as_deref(), Ok(expected));
    }
}

#[test]
fn sections_2_2_derived_components() {
    let method = Example {
        method: "POST",
        authority: "www.example.com",
        target: "/path?param=value",
        fields: &[],
    };
    assert_eq!(value(&method, "@method").as_deref(), Ok("POST"));
    assert_eq!(
        value(&method, "@authority").as_deref(),
        Ok("www.example.com")
    );
    assert_eq!(value(&method, "@path").as_deref(), Ok("/path"));
    for (target, query) in [
        (
            "/path?param=value&foo=bar&baz=bat%2Dman",
            "?param=value&foo=bar&baz=bat%2Dman",
        ),
        ("/path?queryString", "?queryString"),
        ("/path?", "?"),
        ("/path", "?"),
        ("/path?a?b", "?a?b"),
    ] {
        assert_eq!(value(&with_target(target), "@query").as_deref(), Ok(query));
    }
    assert_eq!(value(&with_target("?a"), "@path").as_deref(), Ok("/"));
    assert_eq!(
        value(&with_target("/a%2Fb"), "@path").as_deref(),
        Ok("/a%2Fb")
    );
}

#[test]
fn what_is_missing_or_can_not_stand_on_a_line_has_no_base() {
    let missing = |name: &str| Err(BaseError::Missing(name.to_owned()));
    assert_eq!(value(&TEST_REQUEST, "x-not-there"), missing("x-not-there"));
    let nobody = Example {
        authority: "",
        ..TEST_REQUEST
    };
    assert_eq!(value(&nobody, "@authority"), missing("@authority"));
    for bad in ["a\nb", "a\r\nb", "a\rb", "caf\u{e9}", "a\0b", "a\n\nb"] {
        let fields: &'static [(&str, &str)] = Box::leak(Box::new([("x-bad", bad)]));
        let example = Example {
            fields,
            ..TEST_REQUEST
        };
        let refused = Err(BaseError::NotAscii("x-bad".to_owned()));
        assert_eq!(value(&example, "x-bad"), refused, "{bad:?}");
    }
}

#[test]
fn a_component_is_covered_once() {
    let twice = components(&["@path", "date", "@path"]);
    let repeated = Err(BaseError::Repeated("@path".to_owned()));
    assert_eq!(signature_base(&TEST_REQUEST, &twice, "()"), repeated);
}

#[test]
fn only_what_is_known_is_a_component() {
    for identifier in [
        "@method",
        "@authority",
        "@path",
        "@query",
        "x-a_b.c",
        "date",
    ] {
        assert_eq!(
            Component::parse(identifier).unwrap().identifier(),
            identifier
        );
    }
    for identifier in [
        "@scheme",
        "@status",
        "@query-param",
        "Date",
        "a b",
        "",
        "a\"b",
    ] {
        assert_eq!(Component::parse(identifier), Err(UnknownComponent));
    }
}

#[test]
fn parameters_are_written_in_one_order_and_escaped() {
    let params = Params {
        created: 1,
        expires: Some(61),
        nonce: Some("n"),
        alg: Some("hmac-sha256"),
        keyid: "a\"b\\c",
        tag: Some("service-token"),
    };
    assert_eq!(
        signature_params(&[], &params).as_deref(),
        Ok(
            r#"();created=1;expires=61;nonce="n";alg="hmac-sha256";keyid="a\"b\\c";tag="service-token""#
        )
    );
    for keyid in ["caf\u{e9}", "a\nb"] {
        assert_eq!(
            signature_params(&[], &Params { keyid, ..params }),
            Err(NotAscii)
        );
    }
    let created = u64::MAX;
    assert_eq!(
        signature_params(&[], &Params { created, ..params }),
        Err(NotAscii)
    );
}

#[test]
fn one_label_is_taken_out_and_the_others_stay() {
    let field = r#"a=("@path");created=1, ours=("x");keyid="k", b=:AAAA:;x=1"#;
    let others = without(field.as_bytes(), "ours").unwrap();
    assert_eq!(
        others.as_deref(),
        Some(r#"a=("@path");created=1, b=:AAAA:;x=1"#)
    );
    assert_eq!(has(field.as_bytes(), "ours"), Ok(true));
    assert_eq!(has(field.as_bytes(), "our"), Ok(false));
    assert_eq!(without(b"ours=1", "ours"), Ok(None));
    assert_eq!(without(b"a=1", "ours").unwrap().as_deref(), Some("a=1"));
    for malformed in ["a=", "a=1,", "=1", "A=1", "a=\"\u{e9}\""] {
        assert_eq!(
            without(malformed.as_bytes(), "ours"),
            Err(Malformed),
            "{malformed}"
        );
    }
}

#[test]
fn only_members_of_both_fields_and_of_the_right_type_are_signatures() {
    let input = r#"a=("@path"), b=1, c=("@path"), d=("@path";req)"#;
    let signature = "a=:AAAA:, b=:AAAA:, c=x, d=:AAAA:, e=:AAAA:";
    let found = members(input.as_bytes(), signature.as_bytes()).unwrap();
    let labels: Vec<&str> = found.iter().map(|signed| signed.label.as_str()).collect();
    assert_eq!(labels, ["a", "d"]);
    assert_eq!(
        found[1].components(),
        Err(UnknownComponent),
        "a parameter of its own"
    );
}

#[test]
fn a_key_does_not_show_itself() {
    assert_eq!(format!("{:?}", shared_secret()), "Key");
}
