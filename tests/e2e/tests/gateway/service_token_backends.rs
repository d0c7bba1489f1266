//! Backends in other languages, which check what the gateway sends with libraries of others:
//! `tests/backends`.

mod scene;

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use portcullis_e2e::{Answer, Token, exchange, repository};
use reqwest::Method;
use serde_json::{Value, json};

use scene::{
    AUDIENCE, Backend, Direct, HEADER, ISSUER, Language, NEW, OLD, assert_accepted, digest, gateway,
};

/// Defines scenarios as two tests each.
macro_rules! in_node_and_python {
    ($($(#[$doc:meta])* async fn $name:ident($language:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_node() -> Result<()> {
                scenario(Language::Node).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_python() -> Result<()> {
                scenario(Language::Python).await
            }

            async fn scenario($language: Language) -> Result<()> {
                $body
                Ok(())
            }
        }
    )*};
}

in_node_and_python! {
    async fn a_static_secret_is_checked(language) {
        let Some(backend) = Backend::start(language, "static").await? else {
            return Ok(());
        };
        let gateway = gateway("static", Some(&backend)).await?;
        assert_accepted(&gateway.get("/api/v1/rag").await?, None, None);
        assert_accepted(&gateway.get_with("/", &[(HEADER, "forged")]).await?, None, None);

        let longer = format!("{}-", NEW.1);
        for (lines, status) in [
            (&[][..], 401),
            // As Kong leaves it where it has taken one away.
            (&[""][..], 401),
            (&["forged"][..], 401),
            (&[longer.as_str()][..], 401),
            (&["gr\u{fc}n"][..], 401),
            (&[NEW.1, NEW.1][..], 401),
            (&[NEW.1][..], 200),
            (&[OLD.1][..], 200),
        ] {
            let request = Direct::get(&[]).with_header(HEADER, lines);
            assert_eq!(backend.status(&request).await?, status, "{lines:?}");
        }
    }

    async fn a_token_is_checked(language) {
        let Some(backend) = Backend::start(language, "jwt").await? else {
            return Ok(());
        };
        let gateway = gateway("jwt", Some(&backend)).await?;
        assert_accepted(&gateway.get("/api/v1/rag").await?, Some("gateway"), None);
        let answer = gateway.get_with("/", &[("x-user-id", "alice"), (HEADER, "forged")]).await?;
        assert_accepted(&answer, Some("alice"), Some("gateway"));

        assert_eq!(backend.status(&Direct::get(&[])).await?, 401);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let good = Token::of("gateway")
            .header("kid", json!(NEW.0))
            .claim("iss", json!(ISSUER))
            .claim("aud", json!(AUDIENCE))
            .claim("exp", json!(now + 60));
        let by = |secret: (&str, &str), token: Token| token.header("kid", json!(secret.0)).signed(secret.1);
        let claim = |name: &str, value: Value| by(NEW, good.clone().claim(name, value));
        let head = |name: &str, value: Value| good.clone().header(name, value).signed(NEW.1);
        for (what, token, status) in [
            ("good", by(NEW, good.clone()), 200),
            ("by the old secret", by(OLD, good.clone()), 200),
            ("ended within the leeway", claim("exp", json!(now - 10)), 200),
            ("of a time to come, within the leeway", claim("iat", json!(now + 15)), 200),
            ("no token", "forged".to_owned(), 401),
            ("by another secret", by((NEW.0, OLD.1), good.clone()), 401),
            ("by a secret of another name", by(("other", NEW.1), good.clone()), 401),
            ("by a secret without a name", head("kid", Value::Null), 401),
            ("unsigned", good.clone().header("alg", json!("none")).unsigned(), 401),
            ("of another algorithm", head("alg", json!("HS512")), 401),
            ("of another type", head("typ", json!("at+jwt")), 401),
            ("with a critical header", head("crit", json!(["x"])), 401),
            ("by another issuer", claim("iss", json!("https://other")), 401),
            ("without an issuer", claim("iss", Value::Null), 401),
            ("for another audience", claim("aud", json!("other")), 401),
            ("for no audience", claim("aud", Value::Null), 401),
            ("ended", claim("exp", json!(now - 40)), 401),
            ("without an end", claim("exp", Value::Null), 401),
            ("without a beginning", claim("iat", Value::Null), 401),
            ("of a time to come", claim("iat", json!(now + 50)), 401),
        ] {
            let request = Direct::get(&[(HEADER, token.as_str())]);
            assert_eq!(backend.status(&request).await?, status, "{what}");
        }
    }

    async fn a_signature_is_checked_whatever_the_request_is(language) {
        let Some(backend) = Backend::start(language, "http_signature").await? else {
            return Ok(());
        };
        let gateway = gateway("http_signature", Some(&backend)).await?;
        for target in [
            "/",
            "/api/v1/rag",
            "/api/v1/rag?",
            "/api/v1/rag?q=circuit+breaker&r=%20",
            "/a?q='x'&f[a]={b|c}^`\"<>\\",
            "/a/../b/./c%2Fd%2e",
            "//a//b",
            "/a{b}|c[d]\\e\"",
            "/a?b?c",
        ] {
            let answer = gateway.raw_get(target, &[]).await?;
            assert_eq!(answer.status, 200, "{target} {answer:?}");
        }
        for lines in [
            // Of another's signature both halves.
            &["signature: x=:AA==:", "signature-input: x=();created=1;tag=\"service-token\""][..],
            &["signature: service-token=:AA==:", "signature-input: service-token=();tag=\"service-token\""],
            &["x-name: Jos\u{e9}"],
        ] {
            let answer = gateway.raw_get("/", lines).await?;
            assert_eq!(answer.status, 200, "{lines:?} {answer:?}");
        }
        for host in ["gateway:80", "Gateway.Example", "gateway:8443", "[::1]:8080", "a_b"] {
            let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let answer = exchange(gateway.address(), request.as_bytes()).await?;
            assert_eq!(answer.status, 200, "{host} {answer:?}");
        }

        const BODY: &str = r#"{"query": "circuit breaker"}"#;
        let post = |digest_of: Option<&str>| {
            let request = gateway.request(Method::POST, "/api/v1/rag/search?limit=1").body(BODY);
            match digest_of {
                Some(body) => request.header("content-digest", digest(body)),
                None => request,
            }
        };
        assert_accepted(&Answer::to(post(Some(BODY))).await?, None, None);
        assert_accepted(&Answer::to(post(None)).await?, None, None);
        let answer = Answer::to(post(Some("another body"))).await?;
        assert_eq!(answer.status, 401, "{answer:?}");
        let chunks = futures_util::stream::iter([&BODY[..5], &BODY[5..]].map(Ok::<_, io::Error>));
        let chunked = post(Some(BODY)).body(reqwest::Body::wrap_stream(chunks));
        assert_accepted(&Answer::to(chunked).await?, None, None);
    }

    async fn a_captured_signature_is_good_for_that_request_and_once(language) {
        let Some(backend) = Backend::start(language, "http_signature").await? else {
            return Ok(());
        };
        assert_eq!(backend.status(&Direct::get(&[])).await?, 401);
        let forged = [
            ("signature-input", "service-token=(\"@method\" \"@authority\" \"@path\" \"@query\");tag=\"service-token\""),
            ("signature", "service-token=:AA==:"),
        ];
        assert_eq!(backend.status(&Direct::get(&forged)).await?, 401);

        let gateway = gateway("http_signature", None).await?;
        gateway.get("/api/v1/rag/search?q=a").await?;
        let request = gateway.request(Method::POST, "/api/v1/rag/search?q=a");
        Answer::to(request.header("content-digest", digest("a body")).body("a body")).await?;
        let received = gateway.requests().last(2);
        let [get, post] = [(&received[0], ""), (&received[1], "a body")]
            .map(|(received, body)| Direct::captured(received, body));

        let host = get.header("host")?;
        let moved = format!("{host}/api/v1");
        let other = post.header("signature")?;
        let renamed = get.header("signature-input")?.replace(NEW.0, OLD.0);
        let prolonged = get.header("signature-input")?.replace(";nonce=\"", ";nonce=\"x");
        for (what, changed) in [
            ("another path", get.clone().with(|r| r.target = "/api/v1/rag/other?q=a".to_owned())),
            ("another query", get.clone().with(|r| r.target.push('b'))),
            ("no query", get.clone().with(|r| r.target = "/api/v1/rag/search".to_owned())),
            ("another method", get.clone().with(|r| r.method = "DELETE".to_owned())),
            ("another host", get.clone().with_header("host", &["other"])),
            ("two hosts", get.clone().with_header("host", &[host, host])),
            (
                "a part of the path in the host",
                get.clone().with_header("host", &[&moved]).with(|r| r.target = "/rag/search?q=a".to_owned()),
            ),
            (
                "the whole target in the path",
                get.clone().with(|r| r.target = format!("http://{host}{}", r.target)),
            ),
            ("another signature", get.clone().with_header("signature", &[other])),
            ("no signature", get.clone().with_header("signature", &[])),
            ("another secret", get.clone().with_header("signature-input", &[&renamed])),
            ("another nonce", get.clone().with_header("signature-input", &[&prolonged])),
            ("a digest that was not there", get.clone().with_header("content-digest", &[&digest("")])),
            ("another digest", post.clone().with_header("content-digest", &[&digest("b body")])),
            ("no digest", post.clone().with_header("content-digest", &[])),
        ] {
            assert_eq!(backend.status(&changed).await?, 401, "{what}");
        }
        // Nothing of that has used the nonce up.
        for request in [get, post] {
            assert_eq!(backend.status(&request).await?, 200, "{request:?}");
            assert_eq!(backend.status(&request).await?, 401, "{request:?}");
        }
        let request = gateway.request(Method::POST, "/").header("content-digest", digest("a"));
        Answer::to(request.body("a")).await?;
        let other_body = Direct::captured(&gateway.requests().last(1)[0], "b");
        assert_eq!(backend.status(&other_body).await?, 401);
    }
}

/// Each code block of the documentation behind a line `<!-- from: … -->`, with the file that it names.
fn blocks(page: &str) -> Result<Vec<(&str, &str)>> {
    let blocks = page.split("<!-- from: ").skip(1).map(|rest| {
        let (file, rest) = rest.split_once(" -->\n```").context("no block behind it")?;
        let (_, rest) = rest.split_once('\n').context("no line behind it")?;
        let (block, _) = rest.split_once("```\n").context("the block has no end")?;
        anyhow::Ok((file, block))
    });
    blocks.collect()
}

#[test]
fn the_documentation_shows_the_code_that_runs_here() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/service_token.md"))?;
    let blocks = blocks(&page)?;
    for (file, block) in &blocks {
        let text =
            fs::read_to_string(repository().join(file)).with_context(|| (*file).to_owned())?;
        // Whole lines of it.
        assert!(
            !block.is_empty() && format!("\n{text}").contains(&format!("\n{block}")),
            "{file}:\n{block}"
        );
    }
    for file in ["node/verify.mjs", "python/verify.py"] {
        let file = format!("tests/backends/{file}");
        let text = fs::read_to_string(repository().join(&file))?;
        assert!(
            blocks.contains(&(file.as_str(), text.as_str())),
            "{file} is not shown as it is"
        );
    }
    Ok(())
}
