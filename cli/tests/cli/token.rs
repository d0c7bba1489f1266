//! `portcullis token`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::command::{fixture, json, text};
use crate::try_request::shipped;

const SECRET: &str = "hunter2hunter2hunter2hunter2hunter2";
const AT: &str = "2026-01-01T00:00:00Z";

fn token(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .arg("token")
        .args(arguments)
        .env("JWT_SECRET_KEY", SECRET);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = command.spawn().expect("it runs");
    let mut input = running.stdin.take().expect("an input");
    // Who does not read may be gone.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    running.wait_with_output().expect("it ends")
}

fn minted(arguments: &[&str]) -> String {
    let output = token(&[&["mint", "--at", AT], arguments].concat(), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// `reason: what is said` of the first check that fails.
fn explained(config: &str, arguments: &[&str], text: &str) -> String {
    let all = [
        &["explain", config, "--at", AT, "--format", "json"],
        arguments,
    ]
    .concat();
    let output = token(&all, text);
    let told = json(&output);
    let fails = &told["fails"];
    assert_eq!(output.status.code(), Some(i32::from(!fails.is_null())));
    match fails.is_null() {
        true => "good".to_owned(),
        false => {
            let said = |name: &str| fails[name].as_str().expect("text").to_owned();
            format!("{}: {}", said("reason"), said("says"))
        }
    }
}

#[test]
fn a_token_that_fails_says_at_what_and_what_would_be_required() {
    let config = shipped("envoy/edge.yaml");
    for (arguments, expected) in [
        (&["--claim", "sub=alice"][..], "good"),
        (
            &["--claim", "exp=1767225000"],
            "expired: exp is 2025-12-31T23:50:00Z; required: later than 2025-12-31T23:59:30Z",
        ),
        (
            &["--claim", "nbf=1767225700"],
            "not_yet_valid: nbf is 2026-01-01T00:01:40Z; required: not later than 2026-01-01T00:00:30Z",
        ),
        (
            &["--claim", "iat=1767229000"],
            "issued_in_future: iat is 2026-01-01T00:56:40Z; required: not later than 2026-01-01T00:00:30Z",
        ),
        (
            &["--ttl", "48h"],
            "lifetime: from iat to exp it is 48h; required: `max_lifetime` 24h at most",
        ),
        (
            &["--claim", "iat=null"],
            "claim_missing: iat is missing, which `max_lifetime` is measured from",
        ),
        (
            &["--claim", "exp=\"soon\""],
            "claim_type: exp is soon, which is of the wrong type",
        ),
        (
            &["--audience", "other"],
            "audience: aud is other; required: one of rag-api",
        ),
        (
            &["--issuer", "https://x"],
            "unknown_issuer: iss is https://x; required: one of https://auth.tradingsystem.local",
        ),
        (
            &["--kid", "other"],
            "unknown_kid: no key of the provider is named other",
        ),
        (
            &["--claim", "cnf={}"],
            "bound_token: it has `cnf`, and is bound to a key of its holder's; required: a token without, or `bound_tokens: accept`",
        ),
    ] {
        let minted = minted(&[&["--config", &*config], arguments].concat());
        assert_eq!(
            explained(&config, &["--env"], &minted),
            expected,
            "{arguments:?}"
        );
    }
    let other = minted(&[
        "--key",
        &fixture("cases/p256.pem"),
        "--issuer",
        "https://auth.tradingsystem.local",
    ]);
    assert_eq!(
        explained(&config, &[], &other),
        "algorithm: alg is ES256; required: one of HS256 that a key of the provider serves"
    );
    assert!(explained(&config, &[], "no token").starts_with("malformed: "));
}

#[test]
fn a_signature_is_looked_at_where_its_key_is_known() {
    let config = shipped("kong/kong.yml");
    let minted = minted(&["--config", &config]);
    let (signed, signature) = minted.rsplit_once('.').expect("a signature");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(explained(&config, &["--env"], &minted), "good");
    assert_eq!(
        explained(&config, &["--env"], &forged),
        "signature: no key of the provider has signed it"
    );
    // Where the secret is not known, nothing is said of the signature.
    let output = token(&["explain", &config, "--at", AT], &forged);
    let told = text(&output.stdout);
    assert!(told.contains("JWT_SECRET_KEY is assumed; --env"), "{told}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn keys_of_a_set_are_those_of_the_file_that_is_named() {
    let config = fixture("cases/keys.yaml");
    let key = fixture("cases/p256.pem");
    let alone = ["--filter", "jwt_auth"];
    let minted = minted(&[&["--config", &config, "--key", &key], &alone[..]].concat());
    let output = token(
        &[&["explain", &config, "--at", AT], &alone[..]].concat(),
        &minted,
    );
    let told = text(&output.stdout);
    assert!(
        told.contains("the key set is not fetched; --keys URL=FILE"),
        "{told}"
    );
    let keys = format!("https://i.example/keys={}", fixture("cases/jwks.json"));
    let arguments = [&alone[..], &["--keys", &keys]].concat();
    assert_eq!(explained(&config, &arguments, &minted), "good");
}

#[test]
fn each_rule_says_whether_a_token_is_enough() {
    let config = shipped("envoy/edge.yaml");
    for (scope, expected) in [
        ("scope=rag:read", "rules[1] (line 207): enough"),
        (
            "scope=rag:list",
            "rules[1] (line 207): insufficient_scope: scope is rag:list; required: rag:read in it",
        ),
    ] {
        let minted = minted(&["--config", &config, "--claim", scope]);
        let output = token(&["explain", &config, "--at", AT], &minted);
        let told = text(&output.stdout);
        let line = expected.split(" (line").next().expect("a word");
        let said = told
            .lines()
            .find(|told| told.contains(line))
            .expect("a line");
        let (_, behind) = expected.split_once("): ").expect("two parts");
        assert!(said.ends_with(behind), "{told}");
        assert!(told.contains("rules[0] (line "), "{told}");
    }
}

#[test]
fn neither_the_secret_nor_the_signature_is_shown() {
    let config = shipped("envoy/edge.yaml");
    let minted = minted(&["--config", &config, "--claim", "scope=rag:read"]);
    let signature = minted.rsplit('.').next().expect("a signature");
    for format in ["human", "json"] {
        let output = token(
            &["explain", &config, "--env", "--at", AT, "--format", format],
            &minted,
        );
        let told = text(&output.stdout);
        assert!(
            !told.contains("hunter") && !told.contains(signature),
            "{told}"
        );
    }
}

#[test]
fn what_cannot_be_made_or_explained_is_said() {
    let edge = shipped("envoy/edge.yaml");
    let limits = shipped("envoy/rate_limit.yaml");
    for (arguments, said) in [
        (
            &["mint"][..],
            "nothing signs it; expected --config, --secret-env, --secret-file or --key",
        ),
        (
            &["mint", "--secret-env", "NO_SUCH_VARIABLE"],
            "NO_SUCH_VARIABLE is not set",
        ),
        (
            &["mint", "--config", &edge, "--provider", "x"],
            "\"x\" is no provider; expected one of dashboard",
        ),
        (
            &[
                "mint",
                "--secret-env",
                "JWT_SECRET_KEY",
                "--algorithm",
                "RS256",
            ],
            "does not sign by RS256, but by HS256",
        ),
        (
            &["mint", "--key", &fixture("jwks.json")],
            "a JWK of kty \"\"",
        ),
        (&["explain", &limits], "no filter in it has a `jwt_auth`"),
    ] {
        let output = token(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(said), "{error}");
    }
}
