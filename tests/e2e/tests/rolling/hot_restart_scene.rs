//! Envoys that hand over to each other.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use portcullis_e2e::{Bootstrap, PATIENCE, envoy_binary, filters, until, until_some};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::node::{client, environment};

/// How long an old Envoy asks its clients to close, and when it is ended.
const DRAIN: &str = "2";
const END: &str = "5";

/// What is common to the Envoys: where they find each other.
pub(crate) struct Family(TempDir);

/// One of them.
pub(crate) struct Generation {
    process: Child,
    admin: SocketAddr,
}

impl Family {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Starts the first one, or one that takes over from that of the `epoch` before.
    pub(crate) async fn start(&self, epoch: u32, mut bootstrap: Bootstrap) -> Result<Generation> {
        for filter in bootstrap.http_filters()? {
            let file = filter.pointer_mut("/typed_config/config/vm_config/code/local/filename");
            if let Some(file) = file {
                let name = PathBuf::from(file.as_str().unwrap_or_default());
                *file = json!(filters().join(name.file_name().context("no file")?));
            }
        }
        let config = self.file(&format!("{epoch}.json"));
        fs::write(&config, bootstrap.at("")?.to_string())?;
        let (address, base) = (self.file(&format!("{epoch}.admin")), self.file("base"));
        let mut command = Command::new(envoy_binary()?);
        command.arg("--config-path").arg(config);
        command.arg("--admin-address-path").arg(&address);
        command.args(["--concurrency", "2", "--log-level", "warning"]);
        command.args(["--drain-time-s", DRAIN, "--parent-shutdown-time-s", END]);
        if epoch == 0 {
            // One that no other family on this machine has.
            command.args(["--use-dynamic-base-id", "--base-id-path"]);
            command.arg(base);
        } else {
            let base = fs::read_to_string(base)?;
            command.args(["--restart-epoch", &epoch.to_string()]);
            command.args(["--base-id", base.trim()]);
        }
        let log = self.file(&format!("{epoch}.log"));
        command
            .envs(environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let ready = until_some("an Envoy that is ready", async || {
            let ended = process.try_wait()?;
            ensure!(ended.is_none(), "{}", fs::read_to_string(&log)?);
            let written = fs::read_to_string(&address).unwrap_or_default();
            let Ok(admin) = written.trim().parse::<SocketAddr>() else {
                return Ok(None);
            };
            let ready = read(admin, "/ready").await;
            Ok(ready
                .is_ok_and(|said| said.trim() == "LIVE")
                .then_some(admin))
        });
        let admin = ready.await?;
        Ok(Generation { process, admin })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Family {
    /// Envoy leaves what its generations share.
    fn drop(&mut self) {
        let Ok(base) = fs::read_to_string(self.file("base")) else {
            return;
        };
        // Envoy counts base ids by tens. That there is none is fine.
        let _ = fs::remove_file(format!("/dev/shm/envoy_shared_memory_{}0", base.trim()));
    }
}

impl Generation {
    /// The value of a metric, by its name and labels as they are shown.
    pub(crate) async fn metric(&self, name: &str) -> Result<Option<u64>> {
        let text = read(self.admin, "/stats/prometheus").await?;
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.find_map(|value| value.strip_prefix(' ')?.parse().ok());
        Ok(value)
    }

    /// Waits until a metric has this value.
    pub(crate) async fn wait_for_metric(&self, name: &str, value: u64) -> Result<()> {
        until(&format!("{name} to be {value}"), async || {
            Ok(self.metric(name).await? == Some(value))
        })
        .await
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ends(mut self) -> Result<()> {
        let status = timeout(PATIENCE, self.process.wait()).await;
        let status = status.context("the old Envoy does not end")??;
        ensure!(status.success(), "the old Envoy ended with {status}");
        Ok(())
    }
}

async fn read(admin: SocketAddr, path: &str) -> Result<String> {
    let response = client()?.get(format!("http://{admin}{path}")).send();
    Ok(response.await?.error_for_status()?.text().await?)
}
