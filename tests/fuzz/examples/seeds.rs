//! Writes the seeds that are made by hand: `cargo run --example seeds`. Those that were found, and
//! have a hash for a name, stay as they are.

use std::fs;
use std::path::Path;

use portcullis_fuzz::{NOW, discovery, token};
use portcullis_issuer::{ALGORITHMS, Key, jwks, rfc};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    let seeds = [
        ("token", tokens()),
        ("jwks", key_sets()),
        ("discovery", descriptions()),
        ("module", events()),
        ("usage", answers()),
    ];
    for (target, seeds) in seeds {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target);
        fs::create_dir_all(&dir)?;
        for (name, seed) in seeds {
            fs::write(dir.join(name), seed)?;
        }
    }
    Ok(())
}

/// Anything is a run of events, and long ones are found sooner with some to begin with.
fn events() -> Vec<(String, String)> {
    let words = [
        "authorization",
        "edge/zone",
        "{}",
        "via_upstream",
        "192.0.2.1:1",
        "\u{1}\u{2}\u{3}\u{4}",
    ];
    let seed = |length: usize| {
        let text = words
            .iter()
            .cycle()
            .take(length)
            .copied()
            .collect::<String>();
        (format!("words_{length}"), text)
    };
    [1, 4, 16, 64].map(seed).into()
}

fn answers() -> Vec<(String, String)> {
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":4}}"#;
    let chat =
        format!(r#"{{"choices":[{{"message":{{"content":"Gr\u00fc\ud83d\ude00"}}}}],{usage}}}"#);
    let delta = r#"{"choices":[{"delta":{"content":"a\"b"}}]}"#;
    let lines = "{\"response\":\"The\"}\r\n\n{\"prompt_eval_count\":26,\"eval_count\":2.59e2}\n";
    let events = format!(
        "\u{feff}: ping\n\ndata: {delta}\n\nevent: x\r\ndata:{{\r\ndata: {usage}}}\r\n\r\ndata: [DONE]\n\n"
    );
    let list = r#"[{"usageMetadata":{"candidatesTokenCount":3,"thoughtsTokenCount":7}},null,[true,false]]"#;
    let seed = |name: &str, kind: char, text: &str| (name.to_owned(), format!("{kind}\u{5}{text}"));
    vec![
        seed("whole", '\0', &chat),
        seed("list", '\0', list),
        seed("lines", '\u{1}', lines),
        seed("events", '\u{2}', &events),
    ]
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": "rag-api", "exp": NOW + 3600, "iat": NOW, "scope": "rag:read"})
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

fn tokens() -> Vec<(String, String)> {
    let mut seeds = Vec::new();
    let mut seed = |name: &str, text: String| seeds.push((name.to_owned(), text));
    for algorithm in ALGORITHMS {
        let secret = algorithm.starts_with("HS");
        let issuer = if secret {
            token::BY_SECRET
        } else {
            token::BY_KEY_PAIR
        };
        let text = Key::of(algorithm).token(algorithm, json!({}), &claims(issuer));
        seed(&algorithm.to_lowercase(), format!("h{text}"));
        let forged = Key::other(algorithm).token(algorithm, json!({}), &claims(issuer));
        seed(
            &format!("{}_forged", algorithm.to_lowercase()),
            format!("h{forged}"),
        );
    }
    let claims = claims(token::BY_SECRET);
    let good = Key::of("HS256").token("HS256", json!({"kid": token::KID}), &claims);
    seed("cookie", format!("c{good}; theme=dark"));
    seed("cookie_odd", format!("c{good};; theme=\t\u{1};=;"));
    seed("cookie_twice", format!("c{good}; session={good}"));
    seed("query", format!("q{good}&page=2"));
    seed("query_twice", format!("q{good}&access%5Ftoken={good}"));
    seed("none", format!("h{}", rfc::UNSECURED));
    seed("four_segments", format!("h{good}.{good}"));
    seed("padded", format!("h{good}="));

    let hs256 = json!({"alg": "HS256"});
    for (name, field, value) in [
        ("crit", "crit", json!(["exp"])),
        ("kid", "kid", json!(token::KID)),
        ("kid_unknown", "kid", json!("../../dev/null")),
        ("typ", "typ", json!("at+jwt")),
        ("jwk", "jwk", Key::other("ES256").jwk()),
        ("hs512_header", "alg", json!("HS512")),
    ] {
        let header = with(hs256.clone(), field, value);
        seed(&format!("signed_{name}"), format!("s{header}\n{claims}"));
    }
    for (name, field, value) in [
        ("sub", "sub", json!("Zo\u{eb} \"Z\" M")),
        ("sub_number", "sub", json!(-7)),
        ("sub_two_lines", "sub", json!("a\r\nx-admin: 1")),
        ("sub_nested", "sub", json!({"a": [1, {"b": null}]})),
        ("groups", "groups", json!(["a", 1, true, 2.5])),
        ("tenant", "tenant", json!({"id": "t-1", "tier": "gold"})),
        ("aud_list", "aud", json!(["other", "rag-api"])),
        ("aud_other", "aud", json!("other")),
        ("scope_list", "scope", json!(["rag:read"])),
        ("exp_float", "exp", json!(1.9e9)),
        ("exp_over", "exp", json!(NOW - 30)),
        ("exp_huge", "exp", json!(1e300)),
        ("exp_text", "exp", json!("1900000000")),
        ("nbf", "nbf", json!(NOW + 31)),
        ("iat", "iat", json!(-1e300)),
    ] {
        let claims = with(claims.clone(), field, value);
        seed(&format!("signed_{name}"), format!("s{hs256}\n{claims}"));
    }
    let open = claims.to_string().replacen('{', "", 1);
    seed("signed_twice", format!("s{hs256}\n{{\"iss\":\"x\",{open}"));
    seed(
        "signed_escaped",
        format!("s{hs256}\n{{\"s\\u0075b\":\"\\u00e4\\ud83d\\ude00\",{open}"),
    );
    seed(
        "signed_spaces",
        format!("s {{ \"alg\" : \"HS256\" }} \n \t{claims} \r\n"),
    );
    let scp = claims
        .to_string()
        .replace("\"scope\":\"rag:read\"", "\"scp\":[\"rag:read\"]");
    seed("signed_scp", format!("s{hs256}\n{scp}"));
    for depth in [15, 16] {
        let deep = "[".repeat(depth) + &"]".repeat(depth);
        seed(
            &format!("signed_nested_{depth}"),
            format!("s{hs256}\n{{\"x\":{deep},{open}"),
        );
    }
    seeds
}

fn key_sets() -> Vec<(String, String)> {
    let mut seeds = Vec::new();
    let mut seed = |name: &str, text: String| seeds.push((name.to_owned(), text));
    let kinds = ["HS256", "RS256", "ES256", "ES384", "ES512", "EdDSA"];
    for algorithm in kinds {
        let set = jwks(&[("k", Key::of(algorithm))]);
        seed(
            &format!("one_{}", algorithm.to_lowercase()),
            set.to_string(),
        );
    }
    let all: Vec<_> = kinds.iter().map(|kind| (*kind, Key::of(kind))).collect();
    seed("all", jwks(&all).to_string());
    seed("good", jwks(&[("good", Key::of("EdDSA"))]).to_string());
    let short: Vec<_> = all
        .iter()
        .filter(|(kind, _)| matches!(*kind, "ES256" | "EdDSA"))
        .copied()
        .collect();
    seed("two", jwks(&short).to_string());
    seed("rsa_1024", jwks(&[("k", Key::rsa_1024())]).to_string());
    seed(
        "private",
        json!({"keys": [Key::of("ES256").private_jwk()]}).to_string(),
    );
    let es256 = Key::of("ES256").jwk();
    for (name, field, value) in [
        ("use_enc", "use", json!("enc")),
        ("key_ops", "key_ops", json!(["verify"])),
        ("key_ops_sign", "key_ops", json!(["sign"])),
        ("alg", "alg", json!("ES256")),
        ("alg_other", "alg", json!("ES384")),
        ("crv_other", "crv", json!("P-384")),
        ("kid_number", "kid", json!(1)),
        ("x5c", "x5c", json!(["MIIB"])),
        ("off_curve", "x", es256["y"].clone()),
        ("point_zero", "x", json!("A".repeat(43))),
    ] {
        let key = with(es256.clone(), field, value);
        seed(name, json!({"keys": [key]}).to_string());
    }
    let rsa = Key::of("RS256").jwk();
    let modulus = rsa["n"].as_str().unwrap_or_default();
    for (name, field, value) in [
        ("rsa_sign_byte", "n", format!("AAAA{modulus}")),
        (
            "rsa_even",
            "n",
            format!("{}g", &modulus[..modulus.len() - 1]),
        ),
        ("rsa_8192", "n", "_".repeat(1365) + "w"),
        ("rsa_e_one", "e", "AQ".to_owned()),
        ("rsa_e_long", "e", "_".repeat(11)),
        ("rsa_e_even", "e", "AQAA".to_owned()),
    ] {
        seed(
            name,
            json!({"keys": [with(rsa.clone(), field, json!(value))]}).to_string(),
        );
    }
    let weak = json!({"kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43)});
    seed("ed25519_weak", json!({"keys": [weak]}).to_string());
    seed(
        "x25519",
        json!({"keys": [{"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)}]}).to_string(),
    );
    seed("none", json!({"keys": []}).to_string());
    seed("twice", "{\"keys\":[],\"keys\":[{}]}".to_owned());
    seed("not_a_set", json!({"keys": {"k": es256}}).to_string());
    seed("html", "<!doctype html>".to_owned());
    seeds
}

fn descriptions() -> Vec<(String, String)> {
    let mut seeds = vec![
        ("good".to_owned(), discovery::good()),
        ("empty".to_owned(), "{}".to_owned()),
    ];
    for (name, uri) in [
        ("port", "HTTPS://ID.example.com:443/certs"),
        ("other_port", "https://id.example.com:8443/certs"),
        ("http", "http://id.example.com/certs"),
        ("other_host", "https://keys.example.net/certs"),
        ("user", "https://id.example.com@evil.example/certs"),
        ("user_slash", "https://user:pass@id.example.com/certs"),
        ("backslash", "https://id.example.com\\@evil.example/certs"),
        ("longer_host", "https://id.example.com.evil.example/certs"),
        ("dot", "https://id.example.com./certs"),
        ("double_slash", "https://id.example.com//evil.example/certs"),
        ("dots", "https://id.example.com/a/../certs?x=%0d%0a&y=1"),
        ("fragment", "https://id.example.com/certs#x"),
        (
            "two_lines",
            "https://id.example.com/certs HTTP/1.1\r\nx-admin: 1",
        ),
        ("not_ascii", "https://id.example.com/ce\u{308}rts"),
        ("no_path", "https://id.example.com"),
        ("relative", "/certs"),
    ] {
        let description = json!({"issuer": discovery::ISSUER, "jwks_uri": uri});
        seeds.push((name.to_owned(), description.to_string()));
    }
    let good: Value = serde_json::from_str(&discovery::good()).unwrap_or_default();
    for (name, field, value) in [
        ("issuer_slash", "issuer", json!("https://id.example.com/")),
        ("issuer_number", "issuer", json!(1)),
        (
            "uri_list",
            "jwks_uri",
            json!(["https://id.example.com/certs"]),
        ),
        (
            "uri_long",
            "jwks_uri",
            json!(format!("https://id.example.com/{}", "x".repeat(1023))),
        ),
        (
            "more",
            "scopes_supported",
            json!(["openid", {"a": [[null, true, 1.5]]}]),
        ),
    ] {
        seeds.push((
            name.to_owned(),
            with(good.clone(), field, value).to_string(),
        ));
    }
    let twice = discovery::good().replacen('{', r#"{"issuer":"https://id.example.com","#, 1);
    seeds.push(("twice".to_owned(), twice));
    seeds
}
