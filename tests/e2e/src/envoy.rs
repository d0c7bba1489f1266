//! An Envoy process.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::{Admin, Bootstrap, Output, paths, until};

/// How long a start may take: compiling the filter on a busy machine takes seconds.
const START: Duration = Duration::from_secs(60);

/// What an Envoy is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary.
    pub program: PathBuf,
    /// Its configuration.
    pub bootstrap: Bootstrap,
    /// Worker threads.
    pub workers: u32,
    /// Variables for it, beyond those of this process.
    pub env: Vec<(OsString, OsString)>,
    /// Where its listeners come from.
    pub listeners: Listeners,
    /// How long what is replaced serves the connections that it has; as long as Envoy says by itself where there is none.
    pub drain: Option<Duration>,
}

/// Where an Envoy's listeners come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listeners {
    /// From the bootstrap.
    #[default]
    Static,
    /// From a file that it watches, so that they can be replaced while it runs.
    Watched,
}

/// An Envoy that serves until it is dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    gateway: SocketAddr,
    admin: Admin,
    files: TempDir,
}

/// An Envoy that ended instead of serving, as it does with a configuration that it refuses.
#[derive(Debug)]
pub struct Refused {
    /// What it printed.
    pub output: Output,
    status: ExitStatus,
}

impl Envoy {
    /// Starts an Envoy and waits until it serves.
    ///
    /// # Errors
    /// [`Refused`] when it ended, anything else when it could not be started.
    pub async fn start(options: Options) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let mut process = Process::spawn(options, files.path())?;
        let deadline = Instant::now() + START;
        let admin = loop {
            if let Some(status) = process.child.try_wait()? {
                let output = process.finish();
                return Err(Refused { output, status }.into());
            }
            if let Some(admin) = admin(&files.path().join(ADMIN)) {
                let admin = Admin::at(admin)?;
                if admin.is_ready().await {
                    break admin;
                }
            }
            if Instant::now() >= deadline {
                bail!(
                    "Envoy does not serve after {} s:\n{}",
                    START.as_secs(),
                    process.output.tail(40)
                );
            }
            sleep(Duration::from_millis(10)).await;
        };
        let gateway = admin.listener().await?;
        Ok(Self {
            process,
            gateway,
            admin,
            files,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Its administration.
    #[must_use]
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.process.output
    }

    /// Replaces its listeners, which it must watch, by those of `bootstrap`, and waits until they are
    /// in force or refused.
    ///
    /// # Errors
    /// They were refused; those from before stay in force then.
    pub async fn reload(&self, mut bootstrap: Bootstrap) -> Result<()> {
        let counted = async |what: &str| -> Result<u64> {
            let name = format!("listener_manager.lds.{what}");
            let stats = self.admin.get(&format!("/stats?filter=^{name}$")).await?;
            let value = stats.trim().rsplit(' ').next().and_then(|n| n.parse().ok());
            value.with_context(|| format!("Envoy does not tell {name}"))
        };
        bootstrap.find_filters()?;
        if paths::natively() {
            bootstrap.run_natively()?;
        }
        let listeners = bootstrap.take_listeners(&self.files.path().join(LISTENERS))?;
        let (taken, refused) = (
            counted("update_success").await?,
            counted("update_rejected").await?,
        );
        put_listeners(self.files.path(), &listeners)?;
        let mut outcome = Ok(());
        until("Envoy to have read its listeners", async || {
            if counted("update_rejected").await? > refused {
                outcome = Err(anyhow::anyhow!(
                    "Envoy refused the listeners:\n{}",
                    self.process.output.tail(40)
                ));
                return Ok(true);
            }
            Ok(counted("update_success").await? > taken)
        })
        .await?;
        outcome
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.child.try_wait()?.is_none())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Envoy did not start ({}):\n{}",
            self.status,
            self.output.tail(40)
        )
    }
}

impl std::error::Error for Refused {}

const ADMIN: &str = "admin";
const LISTENERS: &str = "listeners.json";

/// Envoy looks for a file that is moved there, so that it never reads half of one.
fn put_listeners(folder: &Path, listeners: &str) -> Result<()> {
    let next = folder.join("listeners.next.json");
    fs::write(&next, listeners)?;
    Ok(fs::rename(&next, folder.join(LISTENERS))?)
}

/// A child that ends with this value.
#[derive(Debug)]
struct Process {
    child: Child,
    output: Output,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    fn spawn(options: Options, files: &Path) -> Result<Self> {
        let Options {
            program,
            mut bootstrap,
            workers,
            env,
            listeners,
            drain,
        } = options;
        bootstrap.find_filters()?;
        if paths::natively() {
            bootstrap.run_natively()?;
        }
        if listeners == Listeners::Watched {
            let listeners = bootstrap.take_listeners(&files.join(LISTENERS))?;
            put_listeners(files, &listeners)?;
        }
        let config = files.join("bootstrap.json");
        fs::write(&config, bootstrap.to_json())?;
        let mut command = Command::new(&program);
        command.arg("--config-path").arg(&config);
        command.arg("--admin-address-path").arg(files.join(ADMIN));
        command.args(["--concurrency", &workers.to_string()]);
        // Hot restart would tie Envoys of one machine together by shared memory.
        command.arg("--disable-hot-restart");
        // Of Envoy's own lines only what is wrong; of the filters' all.
        command.args([
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:info,dynamic_modules:info",
        ]);
        // The access log at once and not every ten seconds.
        command.args(["--file-flush-interval-msec", "20"]);
        if let Some(drain) = drain {
            command.args(["--drain-time-s", &drain.as_secs().to_string()]);
        }
        command
            .env("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", paths::filters())
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let output = Output::default();
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stream| output.follow(stream)));
        readers.extend(child.stderr.take().map(|stream| output.follow(stream)));
        Ok(Self {
            child,
            output,
            readers,
        })
    }

    /// Reads on to the end of a process that has ended.
    fn finish(&mut self) -> Output {
        for reader in self.readers.drain(..) {
            // A reader that panicked has nothing more to read.
            let _ = reader.join();
        }
        self.output.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that Envoy wrote to a file, once it has.
fn admin(file: &Path) -> Option<SocketAddr> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
