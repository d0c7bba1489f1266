//! `envoy/service_token.yaml`

use anyhow::Result;
use portcullis_e2e::{Gateway, INTER_SERVICE_SECRET};
use serde_json::json;

use crate::common::{SEARCH, spelled_like};

with_one_and_four_workers! {
    async fn the_backend_accepts_what_the_gateway_injects(workers) {
        let gateway = Gateway::with("service_token").workers(workers).start().await?;
        for _ in 0..3 {
            assert_eq!(gateway.get(SEARCH).await?.status, 200);
        }
        for received in gateway.requests().all() {
            assert_eq!(received.only_value("x-service-token"), Some(INTER_SERVICE_SECRET));
        }
        gateway.admin().wait_for_metric("service_token_injected{}", 3).await?;
        gateway.admin().wait_for_metric("service_token_spoofed{}", 0).await?;
    }

    async fn a_forged_token_is_overwritten_however_it_is_spelled(workers) {
        let gateway = Gateway::with("service_token").workers(workers).start().await?;
        let forged = [
            "x-service-token: forged",
            "X-SERVICE-TOKEN: forged",
            "x_service_token: forged",
            "X-Service_Token: forged",
            "x-service-token:",
        ];
        for line in forged {
            assert_eq!(gateway.raw_get(SEARCH, &[line]).await?.status, 200, "{line}");
            let received = gateway.requests().last(1);
            let tokens = spelled_like(&received[0], "x-service-token");
            let tokens: Vec<_> = tokens.into_iter().filter(|value| !value.is_empty()).collect();
            assert_eq!(tokens, [INTER_SERVICE_SECRET], "{line}");
            assert_eq!(received[0].only_value("x-service-token"), Some(INTER_SERVICE_SECRET), "{line}");
        }
        gateway.admin().wait_for_metric("service_token_spoofed{}", 5).await?;
        gateway.output().wait_for(&["service_token", "event=spoofed", "reason=forged"]).await?;
    }

    async fn a_forged_token_that_comes_twice_is_refused(workers) {
        let gateway = Gateway::with("service_token").workers(workers).start().await?;
        for lines in [
            &["x-service-token: a", "x-service-token: b"][..],
            &["x-service-token: a", "x_service_token: b"],
        ] {
            assert_eq!(gateway.raw_get(SEARCH, lines).await?.status, 400, "{lines:?}");
        }
        assert_eq!(gateway.requests().total(), 0);
        gateway.admin().wait_for_metric("service_token_spoofed{}", 2).await?;
    }

    /// RFC 9110 section 7.6.1: a hop drops the headers that `connection` names.
    async fn a_client_can_not_have_the_token_dropped_on_the_way(workers) {
        let gateway = Gateway::with("service_token").workers(workers).start().await?;
        for line in ["connection: x-service-token", "connection: close, X-Service-Token"] {
            let answer = gateway.raw_get(SEARCH, &[line]).await?;
            // Envoy cuts the name out of `connection` before any filter sees it.
            assert_eq!(answer.status, 200, "{line}");
            let received = gateway.requests().last(1);
            assert_eq!(received[0].only_value("x-service-token"), Some(INTER_SERVICE_SECRET));
            assert_eq!(received[0].values("connection").concat(), "");
        }
    }

    async fn in_shadow_nothing_is_injected(workers) {
        let gateway = Gateway::with("service_token").workers(workers).edit(|bootstrap| {
            bootstrap.filter("service_token")?["mode"] = json!("shadow");
            Ok(())
        });
        let gateway = gateway.start().await?;
        // It is the backend that refuses.
        let answer = gateway.get(SEARCH).await?;
        assert_eq!((answer.status, &answer.json()?["error"]), (401, &json!("missing_service_token")));
        assert_eq!(gateway.get_with(SEARCH, &[("x-service-token", "forged")]).await?.status, 403);
        gateway.output().wait_for(&["service_token", "event=shadow_spoofed"]).await?;
    }
}

#[tokio::test]
async fn the_secret_is_shown_nowhere() -> Result<()> {
    let gateway = Gateway::with("service_token").start().await?;
    let answer = gateway
        .get_with(SEARCH, &[("x-service-token", "forged")])
        .await?;
    assert!(!format!("{answer:?}").contains(INTER_SERVICE_SECRET));
    for page in [
        "/config_dump",
        "/server_info",
        "/stats",
        "/stats/prometheus",
    ] {
        assert!(
            !gateway
                .admin()
                .get(page)
                .await?
                .contains(INTER_SERVICE_SECRET),
            "{page}"
        );
    }
    assert_eq!(gateway.output().with(&[INTER_SERVICE_SECRET]), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn outside_of_what_is_matched_a_clients_token_is_taken_away() -> Result<()> {
    let gateway = Gateway::with("service_token").edit(|bootstrap| {
        bootstrap.filter("service_token")?["inject"] =
            json!([{ "match": { "paths": [{ "prefix": "/api/v1" }] } }]);
        Ok(())
    });
    let gateway = gateway.start().await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 200);
    assert_eq!(
        gateway
            .get_with("/other", &[("x-service-token", "forged")])
            .await?
            .status,
        401
    );
    assert_eq!(
        spelled_like(&gateway.requests().last(1)[0], "x-service-token").concat(),
        ""
    );
    Ok(())
}

#[tokio::test]
async fn of_two_secrets_the_first_is_sent() -> Result<()> {
    let gateway = Gateway::with("service_token").edit(|bootstrap| {
        bootstrap.filter("service_token")?["credential"]["secrets"] = json!([
            { "id": "next", "env": "INTER_SERVICE_SECRET" },
            { "id": "last", "value": "the secret of last year, in its full length".replace(' ', "-") },
        ]);
        Ok(())
    });
    let gateway = gateway.start().await?;
    assert_eq!(gateway.get(SEARCH).await?.status, 200);
    gateway
        .output()
        .wait_for(&["service_token", "secret_id=next"])
        .await?;
    Ok(())
}
