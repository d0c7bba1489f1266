//! Whose request it is behind a proxy on the gateway's own host: what of Envoy's settings tells clients apart, as
//! `docs/rate_limit.md` has it.

use anyhow::Result;
use portcullis_e2e::Gateway;
use serde_json::{Value, json};

use crate::common::SEARCH;

/// The statuses of two clients' requests behind a proxy, with a limit of one request each: the first client, the second, the
/// first again, and the first again with an address that it made up.
async fn behind_proxy(client_address: Value, settings: Value) -> Result<[u16; 4]> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        let config = bootstrap.filter("rate_limit")?;
        config["limits"][0]["quota"] = json!(1);
        config["limits"][0]["window"] = json!("1h");
        config["client_address"] = client_address;
        let manager = bootstrap.connection_manager()?;
        for (name, value) in settings.as_object().into_iter().flatten() {
            manager[name] = value.clone();
        }
        Ok(())
    });
    let gateway = gateway.start().await?;
    let mut statuses = [0; 4];
    for (status, forwarded) in statuses.iter_mut().zip([
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.1",
        "203.0.113.9, 198.51.100.1",
    ]) {
        let headers = [("x-forwarded-for", forwarded)];
        *status = gateway.get_with(SEARCH, &headers).await?.status;
    }
    Ok(statuses)
}

const TOLD_APART: [u16; 4] = [200, 200, 429, 429];

#[tokio::test]
async fn envoy_finds_the_client_behind_as_many_proxies_as_it_is_told() -> Result<()> {
    let settings = json!({ "use_remote_address": true, "xff_num_trusted_hops": 1 });
    assert_eq!(behind_proxy(json!({}), settings).await?, TOLD_APART);
    Ok(())
}

#[tokio::test]
async fn the_filter_finds_it_where_envoy_does_not_write_the_header() -> Result<()> {
    let trusted = || json!({ "trusted_proxies": ["127.0.0.0/8"] });
    for settings in [
        json!({ "use_remote_address": true, "skip_xff_append": true }),
        json!({ "use_remote_address": false, "skip_xff_append": true }),
    ] {
        let statuses = behind_proxy(trusted(), settings.clone()).await?;
        assert_eq!(statuses, TOLD_APART, "{settings}");
    }
    Ok(())
}

/// That the others would notice: of a proxy on its own host Envoy appends not the proxy's address but one of its own, which is
/// then everybody's.
#[tokio::test]
async fn a_proxy_on_the_same_host_makes_one_client_of_all_where_envoy_appends_its_own_address()
-> Result<()> {
    let trusted = json!({ "trusted_proxies": ["127.0.0.0/8"] });
    let statuses = behind_proxy(trusted, json!({ "use_remote_address": true })).await?;
    assert_eq!(statuses, [200, 429, 429, 429]);
    Ok(())
}
