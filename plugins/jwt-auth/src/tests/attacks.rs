//! Tokens that nobody should believe, each with the reason for which it is not.

use super::*;

const ALG: &str = r#"{"alg":"HS256"}"#;

fn payload() -> String {
    claims().to_string()
}

/// Rightly signed, whatever it holds.
fn signed(header: &str, payload: &str) -> String {
    sign_bytes("HS256", SECRET, header.as_bytes(), payload.as_bytes())
}

/// The payload with one more member in front.
fn with_member(member: &str) -> String {
    payload().replacen('{', &format!("{{{member},"), 1)
}

/// Claims without `name`, and with `member` in its stead.
fn replaced(name: &str, member: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims.to_string().replacen('{', &format!("{{{member},"), 1)
}

fn assert_refused(table: &[(&str, String, &str)]) {
    let gateway = Gateway::new(config());
    for (what, token, reason) in table {
        assert_eq!(gateway.reason(token).as_deref(), Some(*reason), "{what}");
        assert_eq!(gateway.count("jwt_auth_allowed.provider.dashboard"), 0);
    }
}

#[test]
fn the_tokens_below_fail_for_their_own_reason_only() {
    let gateway = Gateway::new(config());
    assert_eq!(gateway.reason(&signed(ALG, &payload())), None);
    assert_eq!(gateway.reason(&signed(ALG, &with_member(r#""x":1"#))), None);
    assert_eq!(
        gateway.reason(&signed(ALG, &replaced("exp", r#""exp":1.9e9"#))),
        None
    );
}

#[test]
fn an_algorithm_that_is_none_or_not_ours_is_refused() {
    let names = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "hs256",
        "HS256 ",
        "HS255",
        "RS256",
        "ES256",
        "EdDSA",
        "PS256",
        "\u{212a}S256",
    ];
    let mut table = Vec::new();
    for name in names {
        let header = json!({"alg": name}).to_string();
        let unsigned = format!("{}.{}.", encode(&header), encode(payload()));
        table.push((name, unsigned, "algorithm"));
        table.push((name, signed(&header, &payload()), "algorithm"));
    }
    for header in [
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
        "{}",
        r#"{"typ":"JWT"}"#,
    ] {
        table.push((header, signed(header, &payload()), "malformed"));
    }
    assert_refused(&table);
}

#[test]
fn a_header_is_not_believed_about_keys_or_extensions() {
    let table = [
        (
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            "critical_header",
        ),
        (r#"{"alg":"HS256","crit":[]}"#, "critical_header"),
        (r#"{"alg":"HS256","crit":null}"#, "critical_header"),
        (
            r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
            "critical_header",
        ),
        (r#"{"alg":"HS256","alg":"none"}"#, "malformed"),
        (r#"{"alg":"none","alg":"HS256"}"#, "malformed"),
        (
            r#"{"alg":"HS256","kid":"a","kid":"dash-2026"}"#,
            "malformed",
        ),
        (r#"{"alg":"HS256","kid":7}"#, "malformed"),
        (
            r#"{"alg":"HS256","kid":"../../../../dev/null"}"#,
            "unknown_kid",
        ),
        (
            r#"{"alg":"HS256","kid":"x' UNION SELECT 'key' -- "}"#,
            "unknown_kid",
        ),
        (r#"{"alg":"HS256","kid":""}"#, "unknown_kid"),
        (r#"["HS256"]"#, "malformed"),
        (r#""HS256""#, "malformed"),
        ("", "malformed"),
    ];
    let table: Vec<_> = table
        .iter()
        .map(|(header, reason)| (*header, signed(header, &payload()), *reason))
        .collect();
    assert_refused(&table);

    // The attacker's own key, in the token that it signs.
    let attackers = "attackers-key-attackers-key-attackers-key";
    let jwk = json!({"kty": "oct", "k": encode(attackers)});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/x5u.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = with(json!({"alg": "HS256"}), name, value);
        assert_refused(&[(name, sign(attackers, &header, &claims()), "signature")]);
        let gateway = Gateway::new(config());
        assert_eq!(
            gateway.reason(&sign(SECRET, &header, &claims())),
            None,
            "{name} is ignored"
        );
    }
}

#[test]
fn a_long_kid_and_a_long_token_are_refused_for_what_they_are() {
    let header = json!({"alg": "HS256", "kid": "k".repeat(5000)}).to_string();
    let long = signed(
        ALG,
        &with_member(&format!(r#""x":"{}""#, "x".repeat(9 * 1024))),
    );
    assert_refused(&[
        ("kid", signed(&header, &payload()), "unknown_kid"),
        ("9 KiB", long, "too_large"),
        ("8 KiB and a byte", "a".repeat(8 * 1024 + 1), "too_large"),
        ("8 KiB", "a".repeat(8 * 1024), "malformed"),
    ]);
}

#[test]
fn a_token_is_three_segments_of_strict_base64url() {
    let good = signed(ALG, &payload());
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    let unpadded = encode(br#"{"alg":"HS256" }"#);
    assert_eq!(unpadded.len() % 4, 2, "so that there is something to pad");
    let last = |segment: &str, letter: char| {
        let mut segment = segment.to_owned();
        segment.pop();
        segment.push(letter);
        segment
    };
    // 32 bytes leave two bits of the last of 43 letters unused.
    let trailing = match signature.chars().last() {
        Some('A') => 'B',
        Some('Q') => 'R',
        Some(letter) => char::from(u8::try_from(letter).unwrap() + 1),
        None => panic!("no signature"),
    };
    let cases = [
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("one", header.to_owned()),
        ("two", format!("{header}.{claims}")),
        ("four", format!("{good}.")),
        ("five (JWE)", format!("{good}.{claims}.{signature}")),
        ("a thousand", vec!["a"; 1000].join(".")),
        ("padding", format!("{unpadded}==.{claims}.{signature}")),
        ("padded signature", format!("{good}=")),
        (
            "trailing bits",
            format!("{header}.{claims}.{}", last(signature, trailing)),
        ),
        ("space", format!("{header}.{claims}. {signature}")),
        ("inner space", format!("{header} .{claims}.{signature}")),
        ("newline", format!("{header}.{claims}\n.{signature}")),
        ("trailing space", format!("{good} ")),
        (
            "standard alphabet",
            format!("{header}.{claims}.{}", last(signature, '+')),
        ),
        (
            "slash",
            format!("{header}.{claims}.{}", last(signature, '/')),
        ),
        ("NUL", format!("{good}\0")),
        ("no header", format!(".{claims}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("not ASCII", format!("{good}\u{e4}")),
        ("two letters too many", format!("{good}AA")),
    ];
    assert_refused(&cases.map(|(what, token)| (what, token, "malformed")));
    assert_refused(&[("no signature", format!("{header}.{claims}."), "signature")]);
}

#[test]
fn a_payload_has_one_reading() {
    let nested = |depth: usize| format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
    let gateway = Gateway::new(config());
    assert_eq!(
        gateway.reason(&signed(ALG, &with_member(&nested(15)))),
        None
    );
    let cases = [
        (
            "duplicate iss",
            with_member(r#""iss":"https://id.example.com""#),
        ),
        ("duplicate sub", with_member(r#""sub":"root""#)),
        ("escaped duplicate", with_member(r#""s\u0075b":"root""#)),
        ("inner duplicate", with_member(r#""x":{"a":1,"a":2}"#)),
        ("16 deep", with_member(&nested(16))),
        ("2000 deep", with_member(&nested(2000))),
        ("1e400", replaced("exp", r#""exp":1e400"#)),
        ("NaN", replaced("exp", r#""exp":NaN"#)),
        ("two objects", format!("{0}{0}", payload())),
        ("a list", format!("[{}]", payload())),
        ("a text", "\"claims\"".to_owned()),
        ("nothing", String::new()),
        ("a byte order mark", format!("\u{feff}{}", payload())),
    ];
    assert_refused(&cases.map(|(what, payload)| (what, signed(ALG, &payload), "malformed")));
    let latin1 = payload().replace("alice", "ali").into_bytes();
    let latin1: Vec<u8> = latin1
        .into_iter()
        .map(|b| if b == b'l' { 0xe9 } else { b })
        .collect();
    let token = sign_bytes("HS256", SECRET, ALG.as_bytes(), &latin1);
    assert_refused(&[("not UTF-8", token, "malformed")]);
}

#[test]
fn dates_are_numbers_and_no_number_is_too_large_to_compare() {
    let cases = [
        ("exp", r#""exp":"1900000000""#, "claim_type"),
        ("exp", r#""exp":null"#, "claim_type"),
        ("exp", r#""x":1"#, "claim_missing"),
        ("exp", r#""exp":-1"#, "expired"),
        ("exp", r#""exp":0"#, "expired"),
        ("exp", r#""exp":-9223372036854775808"#, "expired"),
        ("exp", r#""exp":-1e308"#, "expired"),
        ("nbf", r#""nbf":9223372036854775807"#, "not_yet_valid"),
        ("nbf", r#""nbf":18446744073709551615"#, "not_yet_valid"),
        ("nbf", r#""nbf":99999999999999999999999"#, "not_yet_valid"),
        ("nbf", r#""nbf":"0""#, "claim_type"),
        ("iat", r#""iat":1e308"#, "issued_in_future"),
        ("iat", r#""iat":[0]"#, "claim_type"),
    ];
    assert_refused(
        &cases.map(|(name, member, why)| (member, signed(ALG, &replaced(name, member)), why)),
    );
}

#[test]
fn a_token_for_somebody_else_or_by_somebody_else_is_refused() {
    let company = with(claims(), "iss", json!(COMPANY));
    let company_header = json!({"alg": "HS256"});
    assert_refused(&[
        (
            "unknown issuer",
            token(&with(
                claims(),
                "iss",
                json!("https://auth.tradingsystem.local/"),
            )),
            "unknown_issuer",
        ),
        (
            "no issuer",
            token(&with(claims(), "iss", json!(null))),
            "unknown_issuer",
        ),
        (
            "a list of issuers",
            token(&with(claims(), "iss", json!([ISSUER]))),
            "unknown_issuer",
        ),
        (
            "an issuer of another's key",
            sign(SECRET, &company_header, &company),
            "signature",
        ),
        (
            "an algorithm of another's",
            sign(COMPANY_SECRET, &json!({"alg": "HS512"}), &company),
            "algorithm",
        ),
        (
            "too long a life",
            sign(
                COMPANY_SECRET,
                &company_header,
                &with(company.clone(), "exp", json!(NOW + 86_401)),
            ),
            "lifetime",
        ),
        (
            "another audience",
            token(&with(claims(), "aud", json!("billing"))),
            "audience",
        ),
        (
            "an empty secret",
            sign("", &json!({"alg": "HS256"}), &claims()),
            "signature",
        ),
        (
            "the issuer's name as secret",
            sign(ISSUER, &json!({"alg": "HS256"}), &claims()),
            "signature",
        ),
        (
            "a subject of two lines",
            token(&with(claims(), "sub", json!("a\r\nx-admin: 1"))),
            "claim_unsafe",
        ),
        (
            "a subject with a NUL",
            token(&with(claims(), "sub", json!("a\u{0}"))),
            "claim_unsafe",
        ),
    ]);
}

#[test]
fn a_bad_token_is_not_remembered() {
    let gateway = Gateway::new(config());
    let forged = sign("guessed", &json!({"alg": "HS256"}), &claims());
    for _ in 0..2 {
        assert_eq!(gateway.reason(&forged).as_deref(), Some("signature"));
    }
    assert_eq!(gateway.count("jwt_auth_cache_hits"), 0);
}

#[test]
fn a_remembered_token_lends_nothing_to_one_that_is_alike() {
    let gateway = Gateway::new(config());
    let good = token(&claims());
    assert_eq!(gateway.reason(&good), None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[0] ^= 1;
    let forged = format!("{signed}.{}", encode(bytes));
    assert_eq!(gateway.reason(&forged).as_deref(), Some("signature"));
    assert_eq!(gateway.reason(&good), None);
}
