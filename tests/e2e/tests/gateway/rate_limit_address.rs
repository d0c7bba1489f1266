//! Whose request it is behind a proxy on the gateway's own host: what of Envoy's settings tells clients apart, as
//! `docs/rate_limit.md` has it.

use std::path::Path;

use anyhow::{Context as _, Result};
use portcullis_e2e::{Bootstrap, Gateway};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::common::SEARCH;

/// Two clients behind a proxy: the first, the second, the first again, and the first with an address that it made up.
const FORWARDED: [&str; 4] = [
    "198.51.100.1",
    "198.51.100.2",
    "198.51.100.1",
    "203.0.113.9, 198.51.100.1",
];

/// A limit of one request for each client.
fn one_each(bootstrap: &mut Bootstrap, client_address: Value) -> Result<()> {
    let config = bootstrap.filter("rate_limit")?;
    config["limits"][0]["quota"] = json!(1);
    config["limits"][0]["window"] = json!("1h");
    config["client_address"] = client_address;
    Ok(())
}

/// The statuses of two clients' requests behind a proxy, with a limit of one request each: the first client, the second, the
/// first again, and the first again with an address that it made up.
async fn behind_proxy(client_address: Value, settings: Value) -> Result<[u16; 4]> {
    let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
        one_each(bootstrap, client_address)?;
        let manager = bootstrap.connection_manager()?;
        for (name, value) in settings.as_object().into_iter().flatten() {
            manager[name] = value.clone();
        }
        Ok(())
    });
    let gateway = gateway.start().await?;
    let mut statuses = [0; 4];
    for (status, forwarded) in statuses.iter_mut().zip(FORWARDED) {
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

/// The status that a request gets over a unix socket.
async fn over(socket: &Path, forwarded: &str) -> Result<u16> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!(
        "GET {SEARCH} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-forwarded-for: {forwarded}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).context("no status")?;
    Ok(status.parse()?)
}

/// A listener on a unix socket beside the other one: whoever is at its end is one client, or a proxy that is trusted.
#[tokio::test]
async fn over_a_unix_socket_all_are_one_client_or_those_that_a_trusted_proxy_names() -> Result<()> {
    for (trusted, expected) in [
        (json!([]), [200, 429, 429, 429]),
        (json!(["unix"]), TOLD_APART),
    ] {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("gateway.sock");
        let gateway = Gateway::with("rate_limit").edit(|bootstrap| {
            one_each(bootstrap, json!({ "trusted_proxies": trusted }))?;
            bootstrap.connection_manager()?["use_remote_address"] = json!(true);
            let mut listener = bootstrap.at("/static_resources/listeners/0")?.clone();
            listener["name"] = json!("local");
            listener["address"] = json!({ "pipe": { "path": socket } });
            let listeners = bootstrap.at("/static_resources/listeners")?.as_array_mut();
            listeners
                .context("the listeners are no list")?
                .push(listener);
            Ok(())
        });
        let _gateway = gateway.start().await?;
        let mut statuses = [0; 4];
        for (status, forwarded) in statuses.iter_mut().zip(FORWARDED) {
            *status = over(&socket, forwarded).await?;
        }
        assert_eq!(statuses, expected, "{trusted}");
    }
    Ok(())
}
