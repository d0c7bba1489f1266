//! Two gateways behind one address, of which one is replaced, and whose issuer takes its time to hand out its keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use portcullis_e2e::{Answer, Bootstrap, until};
use portcullis_idp::{Answer as Served, Idp};
use portcullis_issuer::{Key, jwks};
use serde_json::json;

use crate::front::{Asks, Front};
use crate::node::{PAUSE, Place, READY, SEARCH, backend, bootstrap, client, start, stop, tell};
use crate::traffic::{Seen, Traffic};

const HOST: &str = "id.example.com";
const ISSUER: &str = "https://id.example.com/realms/rag";
const KEYS: &str = "/realms/rag/keys";

/// How long the issuer takes.
const LATE: Duration = Duration::from_millis(1500);

/// What became of the requests while a gateway was replaced, behind a front that asks so.
async fn replaced_behind(asks: Asks) -> Result<Seen> {
    let backend = backend(PAUSE).await?;
    let idp = Idp::start(HOST).await?;
    let set = jwks(&[("rsa-1", Key::of("RS256"))]).to_string();
    idp.serve(KEYS, Served::Slow(LATE, Box::new(Served::Json(set))));
    let with_keys = |name, place| fetches(bootstrap(name, place, backend.addr())?, &idp);

    let places = [Place::free()?, Place::free()?];
    let old = start(with_keys("a", places[0])?).await?;
    let survivor = start(with_keys("b", places[1])?).await?;
    for gateway in [&old, &survivor] {
        until("all keys", async || {
            Ok(ready(gateway.gateway()).await?.status == 200)
        })
        .await?;
    }
    let front = Front::asking(&places, asks).await?;
    let traffic = Traffic::with_token(&front.url(SEARCH), &token())?;
    traffic.passes(100, |by, _| by == "a").await?;

    tell(old.admin().address(), "/healthcheck/fail").await?;
    front.has_ready(1).await?;
    traffic.passes(100, |by, _| by == "b").await?;
    stop(old).await?;

    let new = start(with_keys("a", places[0])?).await?;
    let early = ready(new.gateway()).await?;
    ensure!(early.status == 503, "{early:?}");
    assert_eq!(
        early.json()?,
        json!({ "ready": false, "missing": ["company"] })
    );
    front.has_ready(2).await?;
    traffic.passes(300, |by, _| by == "a").await?;
    Ok(traffic.end().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_gets_no_request_before_it_has_the_keys_of_its_issuers() -> Result<()> {
    let seen = replaced_behind(Asks::Filter).await?;
    println!("replaced, with late keys: {}", seen.shown());
    seen.assert_none_failed();
    Ok(())
}

/// That the other test can see a request that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_that_asks_envoy_alone_sends_it_requests_that_it_can_not_decide_on() -> Result<()> {
    let seen = replaced_behind(Asks::Administration).await?;
    println!("the same, by Envoy's own /ready: {}", seen.shown());
    assert!(
        seen.failed.iter().any(|why| why.contains("503")),
        "{}",
        seen.shown()
    );
    Ok(())
}

/// With an issuer whose keys are fetched, in the stead of the one whose secret is known.
fn fetches(mut bootstrap: Bootstrap, idp: &Idp) -> Result<Bootstrap> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, idp.port()));
    bootstrap.add_tls_cluster("idp", address, HOST, idp.ca_pem())?;
    let jwt_auth = &mut bootstrap.filter("edge")?["jwt_auth"];
    let mut company = jwt_auth["providers"]["dashboard"].clone();
    company["issuer"] = json!(ISSUER);
    company["algorithms"] = json!(["RS256"]);
    company["keys"] =
        json!([{ "remote_jwks": { "upstream": "idp", "authority": HOST, "path": KEYS } }]);
    jwt_auth["providers"] = json!({ "company": company });
    jwt_auth["rules"][1]["require"]["any_of"] = json!(["company"]);
    Ok(bootstrap)
}

fn token() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = now.as_secs();
    let claims = json!({
        "iss": ISSUER, "aud": "rag-api", "sub": "alice", "scope": "rag:read", "iat": now, "exp": now + 600
    });
    Key::of("RS256").token("RS256", json!({ "kid": "rsa-1" }), &claims)
}

async fn ready(gateway: SocketAddr) -> Result<Answer> {
    Answer::to(client()?.get(format!("http://{gateway}{READY}"))).await
}
