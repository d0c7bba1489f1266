//! `envoy/edge.yaml`: all four plugins behind one host boundary.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Answer, Bootstrap, Gateway, INTER_SERVICE_SECRET, JWT_SECRET_KEY, until};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::circuit_breaker::{is_from_upstream, refusal_times};
use crate::common::{HEALTH, SEARCH, assert_problem, flood, spelled_like, token};
use crate::edge_seen::{every_metric_has_its_name_and_labels, quota};

const QUERY: &str = "/api/v1/rag/query?q=circuit+breaker";
const STATUS: &str = "/api/v1/rag/status/breakers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_request_passes_all_four_and_its_answer_is_streamed() -> Result<()> {
    let gateway = Gateway::with("edge").workers(4);
    let gateway = gateway.event_delay(Duration::from_millis(200));
    let gateway = gateway.start().await?;
    for remaining in [99, 98, 97] {
        let answer = gateway.get_as(&token(), SEARCH).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.json()?["results"].as_array().unwrap().is_empty());
        assert_eq!(answer.number("x-ratelimit-remaining"), Some(remaining));
        assert!(answer.header("x-request-id").is_some());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let received = &gateway.requests().last(1)[0];
        assert_eq!(
            received.only_value("x-service-token"),
            Some(INTER_SERVICE_SECRET)
        );
        assert_eq!(received.only_value("x-user-id"), Some("alice"));
        assert_eq!(received.only_value("x-user-scopes"), Some("rag:read"));
        assert_eq!(received.values("authorization").concat(), "");
        assert_eq!(
            received.only_value("x-request-id"),
            answer.header("x-request-id")
        );
    }
    let admin = gateway.admin();
    admin
        .wait_for_metric(r#"rate_limit_allowed{limit="per_ip"}"#, 3)
        .await?;
    admin
        .wait_for_metric(r#"jwt_auth_allowed{provider="dashboard"}"#, 3)
        .await?;
    admin.wait_for_metric("service_token_injected{}", 3).await?;
    admin
        .wait_for_metric(r#"circuit_breaker_state{breaker="rag_service"}"#, 0)
        .await?;
    every_metric_has_its_name_and_labels(&gateway).await?;
    states_are_for_those_who_may_read(&gateway).await?;
    assert_eq!(gateway.requests().total(), 3);
    an_answer_is_streamed_as_it_comes(&gateway).await
}

async fn states_are_for_those_who_may_read(gateway: &Gateway) -> Result<()> {
    assert_eq!(gateway.get(STATUS).await?.status, 401);
    let answer = gateway.get_as(&token(), STATUS).await?;
    assert_eq!(
        (answer.status, answer.json()?),
        (200, json!({ "rag_service": "closed" }))
    );
    Ok(())
}

/// The breaker hears by the details alone then how an answer has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_built_for_envoy_alone_decides_as_the_file_for_both() -> Result<()> {
    let gateway = Gateway::with("edge").edit(Bootstrap::load_builds_for_envoy);
    let gateway = gateway.event_delay(Duration::from_millis(200));
    let gateway = gateway.start().await?;
    an_answer_is_streamed_as_it_comes(&gateway).await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 401);
    // Answers that break off: their heads said 200.
    gateway.faults().set(Fault::break_off());
    until("it is open", async || {
        let answer = gateway.get_as(&token(), SEARCH).await;
        Ok(answer.is_ok_and(|answer| answer.status == 503))
    })
    .await
}

async fn an_answer_is_streamed_as_it_comes(gateway: &Gateway) -> Result<()> {
    let begun = Instant::now();
    let mut response = gateway
        .request(Method::GET, QUERY)
        .bearer_auth(token())
        .send()
        .await?;
    assert_eq!(response.status(), 200);
    let (mut first, mut events) = (None, String::new());
    while let Some(piece) = response.chunk().await? {
        first.get_or_insert(begun.elapsed());
        events.push_str(std::str::from_utf8(&piece)?);
    }
    let (first, last) = (first.unwrap(), begun.elapsed());
    assert!(
        events.contains("event: token") && events.contains("event: done"),
        "{events}"
    );
    // Seven pauses lie between the first event and the last.
    assert!(
        last - first > Duration::from_millis(1_000),
        "{first:?} {last:?}"
    );
    Ok(())
}

/// The configuration comes as JSON text here, and does what it does as a struct.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_a_request_is_refused_and_counted() -> Result<()> {
    let gateway = Gateway::with("edge").workers(4).edit(|bootstrap| {
        quota(bootstrap, 3)?;
        bootstrap.as_json_text("edge")
    });
    let gateway = gateway.start().await?;
    assert_eq!(gateway.get(HEALTH).await?.status, 200);
    assert_eq!(
        gateway.requests().last(1)[0].only_value("x-service-token"),
        Some(INTER_SERVICE_SECRET)
    );
    for remaining in [1, 0] {
        let refused = gateway.get(SEARCH).await?;
        assert_problem(&refused, 401, "unauthenticated");
        assert_eq!(
            refused.header("www-authenticate"),
            Some(r#"Bearer realm="rag""#)
        );
        assert_eq!(refused.number("x-ratelimit-remaining"), Some(remaining));
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    }
    // So that guessing at tokens comes to an end, also with a good guess.
    assert_problem(&gateway.get(SEARCH).await?, 429, "quota-exceeded");
    assert_problem(
        &gateway.get_as(&token(), SEARCH).await?,
        429,
        "quota-exceeded",
    );
    assert_eq!(gateway.requests().total(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_a_minute_are_admitted_of_400_over_32_connections() -> Result<()> {
    let gateway = Gateway::with("edge").workers(4).start().await?;
    let statuses = flood(&gateway, 32, 416, |request| request.bearer_auth(token())).await?;
    assert_eq!(statuses, BTreeMap::from([(200, 100), (429, 316)]));
    assert_eq!(gateway.requests().total(), 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_and_claims_are_overwritten_ambiguous_paths_refused_and_no_secret_shown()
-> Result<()> {
    let gateway = Gateway::with("edge").workers(4).start().await?;
    let bearer = format!("authorization: Bearer {}", token());
    for forged in [
        ["x-service-token: forged", "x-user-id: root"],
        ["X_Service_Token: forged", "X_User_Id: root"],
        ["x-service_token: forged", "x-user_id: root"],
    ] {
        let answer = gateway
            .raw_get(SEARCH, &[&bearer, forged[0], forged[1]])
            .await?;
        assert_eq!(answer.status, 200, "{forged:?}");
        assert!(!format!("{answer:?}").contains(INTER_SERVICE_SECRET));
        let received = &gateway.requests().last(1)[0];
        let mut tokens = spelled_like(received, "x-service-token");
        tokens.retain(|value| !value.is_empty());
        assert_eq!(tokens, [INTER_SERVICE_SECRET], "{forged:?}");
        let mut users = spelled_like(received, "x-user-id");
        users.retain(|value| !value.is_empty());
        assert_eq!(users, ["alice"], "{forged:?}");
    }
    let seen = gateway.requests().total();
    for twice in [
        ["x-service-token: a", "X_Service_Token: b"],
        ["x-user-id: a", "x-user-id: b"],
    ] {
        let answer = gateway
            .raw_get(SEARCH, &[&bearer, twice[0], twice[1]])
            .await?;
        assert_eq!(answer.status, 400, "{twice:?}");
    }
    // Two parsers could read these differently: refused before any rule.
    for target in [
        "/api/v1/rag/status/health/../../search",
        "/api/v1/rag/status%2fhealth",
        "//api/v1/rag/status/health",
    ] {
        let answer = gateway.raw_get(target, &[]).await?;
        assert_eq!(answer.status, 400, "{target}");
        let kind = "urn:portcullis:problem/ambiguous-path";
        assert!(answer.body.contains(kind), "{answer:?}");
    }
    assert_eq!(gateway.requests().total(), seen);
    gateway
        .admin()
        .wait_for_metric("service_token_spoofed{}", 4)
        .await?;
    no_secret_is_shown(&gateway).await
}

/// Neither by Envoy's administration nor in a log.
async fn no_secret_is_shown(gateway: &Gateway) -> Result<()> {
    let secrets = [JWT_SECRET_KEY, INTER_SERVICE_SECRET];
    for page in [
        "/config_dump?include_eds",
        "/stats",
        "/stats/prometheus",
        "/clusters",
        "/server_info",
    ] {
        let shown = gateway.admin().get(page).await?;
        assert!(!secrets.iter().any(|it| shown.contains(it)), "{page}");
    }
    let dump = gateway.admin().get("/config_dump").await?;
    assert!(
        dump.contains("x-service-token"),
        "the dump shows the filter"
    );
    gateway.output().wait_for(&["event=spoofed"]).await?;
    for secret in secrets {
        assert_eq!(gateway.output().with(&[secret]), [""; 0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_breaker_opens_refuses_in_less_than_a_millisecond_and_recovers() -> Result<()> {
    let gateway = Gateway::with("edge").workers(4).edit(soon).start().await?;
    trip(&gateway).await?;
    let refused = gateway.get_as(&token(), SEARCH).await?;
    assert_problem(&refused, 503, "circuit-open");
    assert_eq!(refused.header("retry-after"), Some("2"));
    assert!(refused.header("ratelimit").is_some());
    until_half_open(&gateway).await?;
    // What is refused takes no probe.
    for _ in 0..5 {
        assert_eq!(gateway.get(SEARCH).await?.status, 401);
    }
    let ambiguous = gateway.raw_get("/api/v1/rag/../rag/search", &[]).await?;
    assert_eq!(ambiguous.status, 400);
    assert_eq!(state(&gateway).await?, "half_open");
    // Long enough for all 20 to arrive while the probe is on its way.
    gateway
        .faults()
        .set(Fault::delay(Duration::from_millis(1_500)));
    let seen = gateway.requests().total();
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let request = gateway.request(Method::GET, SEARCH).bearer_auth(token());
        requests.spawn(async { anyhow::Ok(Answer::to(request).await?.status) });
    }
    let mut statuses = BTreeMap::<u16, usize>::new();
    while let Some(status) = requests.join_next().await {
        *statuses.entry(status??).or_default() += 1;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 1), (503, 19)]));
    assert_eq!(gateway.requests().total(), seen + 1);
    gateway.faults().clear();
    assert_eq!(state(&gateway).await?, "closed");
    assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 200);

    let log = gateway.output();
    until("the refusals in the access log", async || {
        Ok(refusal_times(&log.access_log()).len() >= 19)
    })
    .await?;
    let mut times = refusal_times(&log.access_log());
    times.sort_unstable();
    assert!(times[times.len() / 2] < 1_000, "{times:?} µs");
    Ok(())
}

fn soon(bootstrap: &mut Bootstrap) -> Result<()> {
    let config = bootstrap.filter("edge")?;
    config["circuit_breaker"]["breakers"][0]["open_for"]["initial"] = json!("2s");
    config["rate_limit"]["limits"][0]["quota"] = json!(100_000);
    Ok(())
}

async fn trip(gateway: &Gateway) -> Result<()> {
    gateway
        .faults()
        .set(Fault::status(StatusCode::SERVICE_UNAVAILABLE).times(5));
    for _ in 0..5 {
        let failed = gateway.get_as(&token(), SEARCH).await?;
        assert!(is_from_upstream(&failed, 503), "{failed:?}");
    }
    gateway.faults().clear();
    Ok(())
}

async fn state(gateway: &Gateway) -> Result<String> {
    let states = gateway.get_as(&token(), STATUS).await?.json()?;
    Ok(states["rag_service"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn until_half_open(gateway: &Gateway) -> Result<()> {
    until("the breaker to be half-open", async || {
        Ok(state(gateway).await? == "half_open")
    })
    .await
}
