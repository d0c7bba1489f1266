//! The bench measures what it says it measures.

use std::time::Duration;

use anyhow::Result;
use portcullis_bench::native::credentials::CREDENTIALS;
use portcullis_bench::native::measure::{Plan, measure};
use portcullis_bench::native::{self, tokens};
use portcullis_bench::scene::{GUARDED_PATH, OPEN_PATH, Scene};
use portcullis_issuer::ALGORITHMS;

/// The status of a request.
fn status(cached_tokens: u32, scene: &Scene, path: &str, sent: &[&str]) -> Result<u16> {
    let worker = tokens::worker(scene, cached_tokens)?;
    let mut status = 0;
    for token in sent {
        let authorization = format!("Bearer {token}");
        let headers = [
            (":method", "GET"),
            (":path", path),
            ("authorization", &authorization),
        ];
        status = worker.request("192.0.2.1:4711", &headers).0.status();
    }
    Ok(status)
}

/// The same token with another signature of the same length.
fn forged(token: &str) -> String {
    let dot = token.rfind('.').unwrap_or_default();
    let (signed, signature) = token.split_at(dot + 11);
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}{other}{}", signature.get(1..).unwrap_or_default())
}

#[test]
fn every_algorithm_is_verified() -> Result<()> {
    let scene = Scene::now();
    for algorithm in ALGORITHMS {
        let token = scene.token(algorithm);
        let forged = forged(&token);
        assert_eq!(
            status(0, &scene, GUARDED_PATH, &[&token])?,
            200,
            "{algorithm}"
        );
        assert_eq!(
            status(0, &scene, GUARDED_PATH, &[&token, &forged])?,
            401,
            "{algorithm}"
        );
        assert_eq!(
            status(0, &scene, OPEN_PATH, &[&forged])?,
            200,
            "{algorithm}"
        );
        let expired = scene.expired_token(algorithm);
        assert_eq!(
            status(4096, &scene, GUARDED_PATH, &[&expired])?,
            401,
            "{algorithm}"
        );
    }
    Ok(())
}

#[test]
fn everything_has_its_price() -> Result<()> {
    let plan = Plan {
        slice: Duration::from_millis(1),
        rounds: 3,
        at_most: Duration::from_secs(60),
    };
    let mut rounds = 0;
    let figures = measure(native::subjects(&Scene::now())?, &plan, |_, _| rounds += 1)?;
    assert_eq!(rounds, 3);
    let prices = ALGORITHMS.len() + 2 + tokens::JWT_COMPACT.len() + CREDENTIALS.len();
    assert_eq!(figures.len(), prices);
    for figure in &figures {
        assert!(
            figure.price > 0.0 && figure.whole >= figure.price,
            "{figure:?}"
        );
        assert_eq!(figure.rounds, 3);
    }
    let price = |name| {
        figures
            .iter()
            .find(|figure| figure.name == name)
            .map(|f| f.price)
    };
    assert!(price("cached") < price("RS256"), "{figures:?}");
    Ok(())
}
