//! What a token says, and in which bytes.

use super::*;

#[test]
fn who_says_so() {
    assert_refused(|| {
        let hs = |claims: &Value| {
            api(&sign(
                &json!({"alg": "HS256", "kid": "k1"}),
                claims,
                JWT_SECRET,
            ))
        };
        let remote =
            Key::of("RS256").token("RS256", json!({}), &claims_of("https://remote.example"));
        let guessed = sign(&json!({"alg": "HS256", "kid": "k1"}), &claims(), "");
        vec![
            ("empty HMAC secret", api(&guessed), 401, "signature"),
            (
                "unknown issuer",
                hs(&claims_of("https://evil.example")),
                401,
                "unknown_issuer",
            ),
            (
                "issuer with a slash behind it",
                hs(&claims_of("https://auth.example/")),
                401,
                "unknown_issuer",
            ),
            (
                "issuer in upper case",
                hs(&claims_of("HTTPS://AUTH.EXAMPLE")),
                401,
                "unknown_issuer",
            ),
            (
                "issuer a list",
                hs(&with(claims(), "iss", json!(["https://auth.example"]))),
                401,
                "unknown_issuer",
            ),
            (
                "no issuer",
                hs(&with(claims(), "iss", json!(null))),
                401,
                "unknown_issuer",
            ),
            (
                "an issuer by another's key",
                hs(&claims_of(COMPANY)),
                401,
                "algorithm",
            ),
            (
                "another audience",
                hs(&with(claims(), "aud", json!(["billing"]))),
                401,
                "audience",
            ),
            (
                "provider down at start-up",
                api(&remote),
                503,
                "keys_unavailable",
            ),
            (
                "a scope that is only part of a word",
                hs(&with(claims(), "scope", json!("rag:readonly"))),
                403,
                "insufficient_scope",
            ),
        ]
    });
}

#[test]
fn dates_that_are_none_or_too_large() {
    assert_refused(|| {
        let row = |name, claim, member: &str, reason| (name, replaced(claim, member), 401, reason);
        vec![
            row("exp as text", "exp", r#""exp":"9999999999""#, "claim_type"),
            row("exp as list", "exp", r#""exp":[9999999999]"#, "claim_type"),
            row("exp null", "exp", r#""exp":null"#, "claim_type"),
            row("exp missing", "exp", r#""x":1"#, "claim_missing"),
            row("exp 1e400", "exp", r#""exp":1e400"#, "malformed"),
            row("exp NaN", "exp", r#""exp":NaN"#, "malformed"),
            row("exp negative", "exp", r#""exp":-1"#, "expired"),
            row(
                "exp hugely negative",
                "exp",
                r#""exp":-9223372036854775808"#,
                "expired",
            ),
            row(
                "exp a float in the past",
                "exp",
                r#""exp":1.5e9"#,
                "expired",
            ),
            row(
                "nbf huge",
                "nbf",
                r#""nbf":18446744073709551615"#,
                "not_yet_valid",
            ),
            row("nbf huger", "nbf", r#""nbf":1e300"#, "not_yet_valid"),
            row("nbf as text", "nbf", r#""nbf":"0""#, "claim_type"),
            row(
                "iat in the future",
                "iat",
                r#""iat":1e18"#,
                "issued_in_future",
            ),
            row("iat as text", "iat", r#""iat":"0""#, "claim_type"),
        ]
    });
}

#[test]
fn bytes_that_two_parsers_could_read_differently() {
    assert_refused(|| {
        let good = token();
        let parts: Vec<&str> = good.split('.').collect();
        let (header, payload, signature) = (parts[0], parts[1], parts[2]);
        let joined = |parts: &[&str]| api(&parts.join("."));
        let member = |member: &str| {
            let payload = claims()
                .to_string()
                .replacen('{', &format!("{{{member},"), 1);
            signed(HEADER, &payload)
        };
        let nested = format!(r#""x":{}{}"#, "[".repeat(40), "]".repeat(40));
        let latin1 = claims()
            .to_string()
            .replace("alice", "ali\u{0}ce")
            .into_bytes();
        let latin1: Vec<u8> = latin1
            .into_iter()
            .map(|b| if b == 0 { 0xe9 } else { b })
            .collect();
        let key = Key::secret(JWT_SECRET.as_bytes());
        let unsigned = compact(HEADER.as_bytes(), &latin1, b"");
        let mac = key.sign("HS256", unsigned.trim_end_matches('.').as_bytes());
        let long = "x".repeat(9 * 1024);
        let last = match signature.chars().last() {
            Some('A') => "B",
            Some('Q') => "R",
            Some('g') => "h",
            _ => "x",
        };
        let trailing = format!("{}{last}", &signature[..signature.len() - 1]);
        vec![
            (
                "duplicate claim",
                member(r#""sub":"root""#),
                401,
                "malformed",
            ),
            (
                "escaped duplicate claim",
                member(r#""s\u0075b":"root""#),
                401,
                "malformed",
            ),
            (
                "inner duplicate",
                member(r#""x":{"a":1,"a":2}"#),
                401,
                "malformed",
            ),
            ("deep nesting", member(&nested), 401, "malformed"),
            (
                "non-UTF-8",
                api(&compact(HEADER.as_bytes(), &latin1, &mac)),
                401,
                "malformed",
            ),
            (
                "trailing bits",
                joined(&[header, payload, &trailing]),
                401,
                "malformed",
            ),
            (
                "padding",
                joined(&[header, payload, &format!("{signature}=")]),
                401,
                "malformed",
            ),
            (
                "standard base64",
                joined(&[
                    header,
                    payload,
                    &signature
                        .replace(['-', '_'], "+")
                        .replacen(&signature[..1], "/", 1),
                ]),
                401,
                "malformed",
            ),
            (
                "white space inside",
                joined(&[header, payload, &format!(" {signature}")]),
                401,
                "malformed",
            ),
            (
                "4 segments",
                joined(&[header, payload, signature, "e30"]),
                401,
                "malformed",
            ),
            ("2 segments", joined(&[header, payload]), 401, "malformed"),
            ("1 segment", joined(&[header]), 401, "malformed"),
            (
                "1,000 segments",
                api(&vec!["e30"; 1000].join(".")),
                401,
                "malformed",
            ),
            (
                "5 segments, a JWE",
                joined(&[header, payload, signature, payload, signature]),
                401,
                "malformed",
            ),
            (
                "9 KiB",
                member(&format!(r#""x":"{long}""#)),
                401,
                "too_large",
            ),
            ("nothing", api(""), 401, "malformed"),
        ]
    });
}
