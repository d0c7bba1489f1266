//! A gateway: an Envoy of its own, which serves until it is dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::traffic::Traffic;
use crate::{launch, machine};

/// How long a start may take: compiling a filter on a busy machine takes seconds, and several start at a time.
const START: Duration = Duration::from_secs(120);

/// Where Envoy looks for modules that are native code.
const MODULES: &str = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH";

/// What gateways are started from.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// An Envoy.
    pub envoy: &'a Path,
    /// The folder of the built filters.
    pub filters: &'a Path,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    files: TempDir,
    log: File,
    listeners: Value,
}

impl Gateway {
    /// Starts one with so many workers. It does not serve before [`Gateway::wait`] returns.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(program: Program<'_>, bootstrap: &Value, workers: u32) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let config = files.path().join("bootstrap.json");
        fs::write(&config, bootstrap.to_string())?;
        let log = files.path().join(LOG);
        let log = File::options().append(true).create(true).open(log)?;
        let child = launch::command(program.envoy)?
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(files.path().join(ADMIN))
            .args([
                "--concurrency",
                &workers.to_string(),
                "--disable-hot-restart",
            ])
            .env(MODULES, program.filters)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("can't start {}", program.envoy.display()))?;
        Ok(Self {
            child,
            files,
            log,
            listeners: Value::Null,
        })
    }

    /// Waits until it serves, and keeps it on these cores from then on.
    ///
    /// # Errors
    /// It does not serve; the message holds what it printed last.
    pub fn wait(&mut self, traffic: &Traffic, cores: &[usize]) -> Result<()> {
        let started = self.ready(traffic);
        started.with_context(|| format!("Envoy does not serve:\n{}", self.last_lines()))?;
        machine::keep_on(self.child.id(), cores)
    }

    fn ready(&mut self, traffic: &Traffic) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status})");
            }
            // One that is about to end may still have the port open.
            if let Some(admin) = self.admin()
                && traffic
                    .page(admin, "/ready")
                    .is_ok_and(|page| page.is_some())
            {
                let listeners = traffic.page(admin, "/listeners?format=json")?;
                self.listeners = serde_json::from_slice(&listeners.context("no listeners")?)?;
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {} s", START.as_secs());
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Where its administration is, once it is there.
    fn admin(&self) -> Option<SocketAddr> {
        let address = fs::read_to_string(self.files.path().join(ADMIN)).ok()?;
        address.trim().parse().ok()
    }

    /// What it printed last.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let log = fs::read_to_string(self.files.path().join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..);
        last.unwrap_or_default().join("\n")
    }

    /// Where one of its listeners is.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn address(&self, listener: &str) -> Result<SocketAddr> {
        let statuses = self.listeners["listener_statuses"].as_array();
        let status = statuses.and_then(|all| all.iter().find(|status| status["name"] == listener));
        let address = status.map(|status| &status["local_address"]["socket_address"]);
        let port = address.and_then(|address| address["port_value"].as_u64());
        let port = port.with_context(|| format!("there is no listener {listener}"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?)))
    }

    /// What all of its threads have computed so far.
    ///
    /// # Errors
    /// It has ended, or there is no Linux.
    pub fn cpu_time(&self) -> Result<Duration> {
        // What a worker does after the last answer belongs to that answer.
        sleep(Duration::from_millis(2));
        machine::cpu_time(self.child.id())
    }

    /// Empties its log: a line for every refusal adds up.
    ///
    /// # Errors
    /// The file can't be emptied.
    pub fn forget_log(&self) -> Result<()> {
        Ok(self.log.set_len(0)?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADMIN: &str = "admin";
const LOG: &str = "log";

/// An Envoy's version, as it says it.
///
/// # Errors
/// It can't be started.
pub fn version(program: &Path) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("can't start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // <program>  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    let version = text.rsplit("version: ").next();
    let version = version.and_then(|text| text.split('/').nth(1));
    let version = version.context("it does not tell its version")?;
    Ok(version.to_owned())
}
