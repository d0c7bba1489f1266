//! Keys that one worker fetches for all: when, and what becomes of tokens meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use portcullis_e2e::{Answer, Gateway, until, until_some};
use portcullis_idp::{Answer as Served, Idp};
use portcullis_issuer::Key;
use reqwest::Method;
use serde_json::json;

use crate::common::{HEALTH, SEARCH, assert_problem};
use crate::jwks_scene::{
    HOST, KEYS, RAG, assert_sound, every_second, gateway, good_set, good_token, other_set,
    other_token, set, statuses, token, until_all, until_asked, until_fetched,
};

/// What a busy machine may add to what takes milliseconds.
const SLACK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refused_until_there_are_keys_and_pass_on_every_worker_then() -> Result<()> {
    let keys = [
        ("RS256", "rsa"),
        ("PS256", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("ES512", "p521"),
        ("EdDSA", "ed25519"),
    ];
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, Served::Hang);
    let gateway = gateway("jwt_auth", &idp, &[(RAG, every_second(RAG))])
        .start()
        .await?;
    until_asked(&idp, KEYS, 1).await?;
    let signed = |algorithm, kid| token(RAG, algorithm, kid, Key::of(algorithm));
    let early = gateway.get_as(&signed("RS256", "rsa"), SEARCH).await?;
    assert_problem(&early, 503, "unavailable");
    // One worker asks; another one may when the first has waited for 1 s.
    assert!(idp.requests(KEYS) <= 2, "{}", idp.requests(KEYS));
    assert_eq!(early.header("retry-after"), Some("5"), "{early:?}");
    assert_eq!(early.header("www-authenticate"), None, "{early:?}");
    let id = early.header("x-request-id").unwrap();
    let line = gateway.output().wait_for(&["event=refused", id]).await?;
    assert!(line.contains("reason=keys_unavailable "), "{line}");
    // What needs no key waits for none.
    assert_eq!(gateway.get(HEALTH).await?.status, 200);
    assert_eq!(gateway.get(SEARCH).await?.status, 401);

    // As many keys as are read, since workers hand large sets on in pieces; the RSA key is in
    // it once.
    let spare: Vec<_> = (0..59).map(|number| format!("spare-{number}")).collect();
    let spare = spare.iter().map(|kid| (kid.as_str(), Key::other("RS256")));
    let used = keys[1..]
        .iter()
        .map(|(algorithm, kid)| (*kid, Key::of(algorithm)));
    idp.serve(KEYS, set(&spare.chain(used).collect::<Vec<_>>()));
    let served = Instant::now();
    until_all(&gateway, 200, || signed("RS256", "rsa")).await?;
    // The fetch that hangs ends after 1 s, and the next one begins 1 s after it had begun.
    assert!(
        served.elapsed() < Duration::from_secs(2) + SLACK,
        "{:?}",
        served.elapsed()
    );
    for (algorithm, kid) in keys {
        let passed = statuses(&gateway, || signed(algorithm, kid)).await?;
        assert_eq!(passed, BTreeSet::from([200]), "{algorithm}");
        let forged = token(RAG, algorithm, kid, Key::other(algorithm));
        assert_eq!(
            gateway.get_as(&forged, SEARCH).await?.status,
            401,
            "{algorithm}"
        );
    }
    assert_eq!(shown(&gateway, "keys").await?, 64);
    let asked = idp.last_request(KEYS).unwrap();
    for expected in [("host", HOST), ("accept", "application/json")] {
        assert!(
            asked.iter().any(|(n, v)| (&**n, &**v) == expected),
            "{asked:?}"
        );
    }
    assert_sound(&gateway);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_serves_soon_after_its_first_token_and_the_old_one_no_longer() -> Result<()> {
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let mut remote = every_second(RAG);
    remote["refresh"] = json!("10m");
    let gateway = gateway("edge", &idp, &[(RAG, remote)]).start().await?;
    until_all(&gateway, 200, good_token).await?;
    let remembered = good_token();
    until_all(&gateway, 200, || remembered.clone()).await?;
    assert_eq!(
        statuses(&gateway, other_token).await?,
        BTreeSet::from([401])
    );

    idp.serve(KEYS, other_set());
    let rotated = Instant::now();
    until_all(&gateway, 200, other_token).await?;
    assert!(
        rotated.elapsed() < Duration::from_secs(1) + SLACK,
        "{:?}",
        rotated.elapsed()
    );
    assert_eq!(statuses(&gateway, good_token).await?, BTreeSet::from([401]));
    let old = statuses(&gateway, || remembered.clone()).await?;
    assert_eq!(
        old,
        BTreeSet::from([401]),
        "remembered, and its key is gone"
    );

    // Made-up names can't make the gateway ask more often than once in refetch_min_interval.
    idp.reset();
    let begun = Instant::now();
    let mut number = 0;
    until("two fetches", async || {
        number += 1;
        let made_up = token(RAG, "RS256", &format!("made-up-{number}"), Key::of("RS256"));
        assert_eq!(gateway.get_as(&made_up, SEARCH).await?.status, 401);
        Ok(idp.requests(KEYS) >= 2)
    })
    .await?;
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        statuses(&gateway, other_token).await?,
        BTreeSet::from([200])
    );
    assert_sound(&gateway);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_workers_ask_once_in_each_refresh() -> Result<()> {
    const REFRESHES: u32 = 3;
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let gateway = gateway("jwt_auth", &idp, &[(RAG, every_second(RAG))]);
    let gateway = gateway.start().await?;
    until_all(&gateway, 200, good_token).await?;
    idp.reset();
    until_asked(&idp, KEYS, 1).await?;
    let first = Instant::now();
    let mut last = first;
    let mut gaps = Vec::new();
    for refresh in 1..=REFRESHES {
        until_asked(&idp, KEYS, 1 + usize::try_from(refresh)?).await?;
        gaps.push(last.elapsed());
        last = Instant::now();
    }
    // A refresh comes up to a tenth earlier. Were each worker to ask for itself, all this would
    // take one second.
    let least = REFRESHES * Duration::from_millis(900) - Duration::from_millis(500);
    assert!(first.elapsed() >= least, "{gaps:?}");
    // And it comes when it is due: workers look ten times a second. One of the gaps may be longer,
    // since machines stall.
    gaps.sort();
    assert!(gaps[1] < Duration::from_millis(1_500), "{gaps:?}");
    // The one that brought the keys was before the reset.
    until_fetched(&gateway, RAG, "ok", 1 + u64::from(REFRESHES)).await?;
    assert_sound(&gateway);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_outage_keys_serve_for_max_stale_and_again_after_it() -> Result<()> {
    const REFRESH: Duration = Duration::from_secs(1);
    const MAX_STALE: Duration = Duration::from_secs(2);
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let mut remote = every_second(RAG);
    remote["max_stale"] = json!("2s");
    let gateway = gateway("jwt_auth", &idp, &[(RAG, remote)]).start().await?;
    until_all(&gateway, 200, good_token).await?;
    let remembered = good_token();
    until_all(&gateway, 200, || remembered.clone()).await?;

    idp.stop().await;
    let mut last_passed_at = Duration::ZERO;
    let refused = until_some("a token to be refused", async || {
        let asked_at = now();
        let answer = gateway.get_as(&good_token(), SEARCH).await?;
        if answer.status == 200 {
            last_passed_at = asked_at;
            return Ok(None);
        }
        Ok(Some(answer))
    });
    let refused = refused.await?;
    let refused_at = now();
    // In whole seconds.
    let fetched_at = Duration::from_secs(shown(&gateway, "fetched_at").await?);
    let stale_at = fetched_at + REFRESH + MAX_STALE;
    assert!(refused_at >= stale_at, "{refused_at:?} {stale_at:?}");
    let latest = stale_at + Duration::from_secs(1);
    assert!(last_passed_at < latest, "{last_passed_at:?} {latest:?}");
    assert_problem(&refused, 503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("5"), "{refused:?}");
    let id = refused.header("x-request-id").unwrap();
    let line = gateway.output().wait_for(&["event=refused", id]).await?;
    assert!(line.contains("reason=keys_stale "), "{line}");
    until_all(&gateway, 503, good_token).await?;
    let old = statuses(&gateway, || remembered.clone()).await?;
    assert_eq!(
        old,
        BTreeSet::from([503]),
        "remembered, and its key is stale"
    );
    until_fetched(&gateway, RAG, "unreachable", 1).await?;

    idp.resume().await?;
    until_all(&gateway, 200, || remembered.clone()).await?;
    assert_eq!(statuses(&gateway, good_token).await?, BTreeSet::from([200]));
    assert_sound(&gateway);
    Ok(())
}

/// What the gateway shows of the provider's keys.
async fn shown(gateway: &Gateway, what: &str) -> Result<u64> {
    let name = format!("wasmcustom.jwt_auth_jwks_{what}.provider.{RAG}");
    Ok(gateway.admin().stat(&name).await?.unwrap_or_default())
}

/// The time as the gateway sees it, since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_keys_that_are_on_their_way_and_lose_nothing_of_their_bodies()
-> Result<()> {
    let idp = Idp::start(HOST).await?;
    let slowly = |set| Served::Slow(Duration::from_millis(900), Box::new(set));
    idp.serve(KEYS, slowly(good_set()));
    let mut remote = every_second(RAG);
    (remote["refresh"], remote["timeout"]) = (json!("10m"), json!("5s"));
    remote["wait"] = json!("5s");
    let gateway = gateway("edge", &idp, &[(RAG, remote)]).start().await?;
    until_asked(&idp, KEYS, 1).await?;
    let body = format!(r#"{{"q":"circuit breaker"{}}}"#, " ".repeat(40_000));
    let posted = gateway.request(Method::POST, "/api/v1/rag/query");
    let posted = posted.header("content-type", "application/json").body(body);
    let posted = Answer::to(posted.bearer_auth(good_token()));
    let good = good_token();
    let (first, posted) = tokio::try_join!(gateway.get_as(&good, SEARCH), posted)?;
    assert_eq!(
        (first.status, posted.status),
        (200, 200),
        "{first:?} {posted:?}"
    );
    assert!(first.took > Duration::from_millis(300), "{:?}", first.took);

    // A key that is new is waited for, too, and one that nobody has is asked for once.
    tokio::time::sleep(Duration::from_secs(1)).await;
    idp.serve(KEYS, slowly(other_set()));
    let new = gateway.get_as(&other_token(), SEARCH).await?;
    assert_eq!(new.status, 200, "{new:?}");
    let made_up = token(RAG, "RS256", "made-up", Key::of("RS256"));
    assert_eq!(gateway.get_as(&made_up, SEARCH).await?.status, 401);
    assert_sound(&gateway);
    Ok(())
}

/// What Envoy answers by itself comes back into the module before the next request is gone on with: were all of them gone on
/// with at once, V8's stack would not hold it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_wait_for_a_made_up_key_are_all_answered_and_take_nothing_down() -> Result<()>
{
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let mut remote = every_second(RAG);
    (remote["refresh"], remote["wait"]) = (json!("10m"), json!("5s"));
    for filter in ["jwt_auth", "edge"] {
        let gateway = gateway(filter, &idp, &[(RAG, remote.clone())]);
        let gateway = gateway.workers(1).start().await?;
        until("keys", async || {
            Ok(gateway.get_as(&good_token(), SEARCH).await?.status == 200)
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let slowly = Served::Slow(Duration::from_millis(800), Box::new(good_set()));
        idp.serve(KEYS, slowly);
        let made_up = token(RAG, "RS256", "made-up", Key::of("RS256"));
        let asked = (0..400).map(|_| gateway.get_as(&made_up, SEARCH));
        for answer in futures_util::future::try_join_all(asked).await? {
            assert_eq!(answer.status, 401, "{filter}: {answer:?}");
        }
        idp.serve(KEYS, good_set());
        assert_eq!(
            gateway.get_as(&good_token(), SEARCH).await?.status,
            200,
            "{filter}"
        );
        assert_sound(&gateway);
    }
    Ok(())
}
