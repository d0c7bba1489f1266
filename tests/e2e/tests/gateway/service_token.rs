//! `envoy/service_token.yaml`

use anyhow::Result;
use portcullis_e2e::{Gateway, INTER_SERVICE_SECRET};

use crate::common::{SEARCH, spelled_like};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_accepts_what_the_gateway_injects_and_a_client_changes_nothing_in_it()
-> Result<()> {
    let gateway = Gateway::with("service_token").workers(4).start().await?;
    for _ in 0..3 {
        assert_eq!(gateway.get(SEARCH).await?.status, 200);
    }
    for received in gateway.requests().all() {
        assert_eq!(
            received.only_value("x-service-token"),
            Some(INTER_SERVICE_SECRET)
        );
    }
    let admin = gateway.admin();
    admin.wait_for_metric("service_token_injected{}", 3).await?;
    admin.wait_for_metric("service_token_spoofed{}", 0).await?;
    a_forged_token_is_overwritten_however_it_is_spelled(&gateway).await?;
    admin.wait_for_metric("service_token_spoofed{}", 5).await?;
    let forged = ["service_token", "event=spoofed", "reason=forged"];
    gateway.output().wait_for(&forged).await?;
    a_client_can_not_have_the_token_dropped_on_the_way(&gateway).await?;

    let seen = gateway.requests().total();
    for twice in [
        ["x-service-token: a", "x-service-token: b"],
        ["x-service-token: a", "x_service_token: b"],
    ] {
        let refused = gateway.raw_get(SEARCH, &twice).await?;
        assert_eq!(refused.status, 400, "{twice:?}");
    }
    assert_eq!(gateway.requests().total(), seen);
    admin.wait_for_metric("service_token_spoofed{}", 7).await
}

async fn a_forged_token_is_overwritten_however_it_is_spelled(gateway: &Gateway) -> Result<()> {
    for line in [
        "x-service-token: forged",
        "X-SERVICE-TOKEN: forged",
        "x_service_token: forged",
        "X-Service_Token: forged",
        "x-service-token:",
    ] {
        let answer = gateway.raw_get(SEARCH, &[line]).await?;
        assert_eq!(answer.status, 200, "{line}");
        let received = gateway.requests().last(1);
        let mut tokens = spelled_like(&received[0], "x-service-token");
        tokens.retain(|value| !value.is_empty());
        assert_eq!(tokens, [INTER_SERVICE_SECRET], "{line}");
        assert_eq!(
            received[0].only_value("x-service-token"),
            Some(INTER_SERVICE_SECRET),
            "{line}"
        );
    }
    Ok(())
}

/// RFC 9110 section 7.6.1: a hop drops the headers that `connection` names.
async fn a_client_can_not_have_the_token_dropped_on_the_way(gateway: &Gateway) -> Result<()> {
    for line in [
        "connection: x-service-token",
        "connection: close, X-Service-Token",
    ] {
        let answer = gateway.raw_get(SEARCH, &[line]).await?;
        // Envoy cuts the name out of `connection` before any filter sees it.
        assert_eq!(answer.status, 200, "{line}");
        let received = gateway.requests().last(1);
        assert_eq!(
            received[0].only_value("x-service-token"),
            Some(INTER_SERVICE_SECRET)
        );
        assert_eq!(received[0].values("connection").concat(), "");
    }
    Ok(())
}
