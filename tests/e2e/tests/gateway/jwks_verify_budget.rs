//! `verify_budget`: a client with many bad signatures is not listened to for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_e2e::{Answer, Gateway, until, until_some};
use portcullis_idp::Idp;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{SEARCH, assert_problem};
use crate::jwks_scene::{
    HOST, KEYS, Latencies, RAG, WORKERS, assert_sound, every_second, gateway, good_set, good_token,
    jwt_auth, on_every_worker, until_all,
};

/// How many bad signatures of a client a worker looks at.
const FAILURES: u32 = 5;

/// In what time: so long that nothing of it comes back during a test.
const WINDOW: Duration = Duration::from_secs(300);

const FLOODER: &str = "198.51.100.1";
const NEIGHBOUR: &str = "198.51.100.2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bad_signatures_costs_nobody_but_its_sender() -> Result<()> {
    let idp = Idp::start(HOST).await?;
    idp.serve(KEYS, good_set());
    let gateway = gateway("edge", &idp, &[(RAG, every_second(RAG))]).edit(|bootstrap| {
        let config = jwt_auth(bootstrap, "edge")?;
        let window = format!("{}s", WINDOW.as_secs());
        config["verify_budget"] = json!({ "failures": FAILURES, "window": window });
        config["client_address"] = json!({ "trusted_proxies": ["127.0.0.1/32"] });
        // Envoy would append an address of this machine, where a real proxy's peer is not
        // local.
        bootstrap.connection_manager()?["skip_xff_append"] = json!(true);
        Ok(())
    });
    let gateway = gateway.start().await?;
    until_all(&gateway, 200, good_token).await?;
    let remembered = good_token();
    until_all(&gateway, 200, || remembered.clone()).await?;

    let flood = Flood::begin(&gateway)?;
    let sent = || flood.sent.load(Ordering::Relaxed);
    until("the flood to be one", async || Ok(sent() > 100)).await?;
    // While it lasts: tokens that none of the workers has seen, from another address.
    let neighbour = async || as_from(&gateway, NEIGHBOUR, &good_token()).await;
    let mut latencies = Latencies::default();
    for _ in 0..4 {
        for answer in &on_every_worker(&gateway, neighbour).await? {
            assert_eq!(answer.status, 200, "{answer:?}");
            latencies.note(answer);
        }
    }
    latencies.assert_quick();
    // It need not have reached all workers. Until each of them has heard enough:
    let good = good_token();
    let mut number = 0;
    let mut listened_to = 0;
    let refused = until_some("each worker to have heard enough", async || {
        let answers = on_every_worker(&gateway, async || {
            number += 1;
            as_from(&gateway, FLOODER, &bad_token(&good, number)).await
        });
        let answers = answers.await?;
        let listened = answers.iter().filter(|answer| answer.status == 401).count();
        listened_to += listened;
        Ok((listened == 0).then_some(answers))
    });
    let refused = refused.await?;
    let (sent, listened) = flood.end().await?;
    listened_to += listened;
    for answer in &refused {
        assert_problem(answer, 429, "too-many-requests");
        let wait = answer.number("retry-after").unwrap();
        assert!(
            (1..=WINDOW.as_secs() / u64::from(FAILURES)).contains(&wait),
            "{answer:?}"
        );
        assert_eq!(answer.header("www-authenticate"), None, "{answer:?}");
    }
    assert_eq!(
        listened_to,
        usize::try_from(WORKERS * FAILURES)?,
        "of more than {sent}"
    );

    // What was good before is remembered and costs nothing; what was not seen yet would.
    let old = async || as_from(&gateway, FLOODER, &remembered).await;
    let old = on_every_worker(&gateway, old).await?;
    assert!(old.iter().all(|answer| answer.status == 200), "{old:?}");
    let new = async || as_from(&gateway, FLOODER, &good_token()).await;
    let new = on_every_worker(&gateway, new).await?;
    assert!(new.iter().all(|answer| answer.status == 429), "{new:?}");
    let denied = "wasmcustom.jwt_auth_denied.reason.verify_budget";
    let counted = gateway.admin().stat(denied).await?;
    assert!(counted.is_some_and(|counted| counted > 0), "{counted:?}");
    // Without a signature to check there is nothing to wait for.
    let tokenless = gateway
        .get_with(SEARCH, &[("x-forwarded-for", FLOODER)])
        .await?;
    assert_eq!(tokenless.status, 401, "{tokenless:?}");
    assert_sound(&gateway);
    Ok(())
}

async fn as_from(gateway: &Gateway, address: &str, token: &str) -> Result<Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [("x-forwarded-for", address), ("authorization", &bearer)];
    gateway.get_with(SEARCH, &headers).await
}

/// A token with the header and the claims of a good one, and a signature that is as long as its own
/// but not good: so it costs as much as a token can.
fn bad_token(good: &str, number: usize) -> String {
    let signed = good.rsplit_once('.').map_or("", |(signed, _)| signed);
    let mut signature = [0x5a; 256];
    signature[248..].copy_from_slice(&number.to_be_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A client that sends bad tokens over several connections until it is ended.
struct Flood {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    clients: JoinSet<Result<usize>>,
}

impl Flood {
    fn begin(gateway: &Gateway) -> Result<Self> {
        let (ended, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let mut clients = JoinSet::new();
        let good = good_token();
        for _ in 0..8 {
            let client = reqwest::Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(1)
                .build()?;
            let (url, ended, sent) = (gateway.url(SEARCH), ended.clone(), sent.clone());
            let good = good.clone();
            clients.spawn(async move {
                let mut listened_to = 0;
                while !ended.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let token = bad_token(&good, number);
                    let request = client.request(Method::GET, &url).bearer_auth(token);
                    let answer = Answer::to(request.header("x-forwarded-for", FLOODER)).await?;
                    match answer.status {
                        401 => listened_to += 1,
                        status => assert_eq!(status, 429, "{answer:?}"),
                    }
                }
                Ok(listened_to)
            });
        }
        Ok(Self {
            ended,
            sent,
            clients,
        })
    }

    /// How many it has sent, and how many of them were listened to.
    async fn end(mut self) -> Result<(usize, usize)> {
        self.ended.store(true, Ordering::Relaxed);
        let mut listened_to = 0;
        while let Some(client) = self.clients.join_next().await {
            listened_to += client??;
        }
        Ok((self.sent.load(Ordering::Relaxed), listened_to))
    }
}
