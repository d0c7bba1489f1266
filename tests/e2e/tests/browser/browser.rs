//! A Chromium without a window, and the driver that it is told what to do by.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use portcullis_e2e::PATIENCE;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Chromium runs as whoever runs the tests, root in a container among them; it fetches nothing of its
/// own, and keeps what it remembers in a folder that goes with it.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    // Commands by a pipe instead of a port. Chromium ends when the pipe does, hence with the driver,
    // however that ends.
    "--remote-debugging-pipe",
];

/// A browser with one empty page, which ends with this value.
pub(crate) struct Browser {
    client: Client,
    // In the order in which they end.
    _driver: Child,
    _output: Lines<BufReader<ChildStdout>>,
    _profile: TempDir,
}

impl Browser {
    /// A browser that finds the servers of `hosts`, such as `localhost:3103`, at ports of this machine;
    /// `None` where there is no browser, which is said aloud.
    pub(crate) async fn start(hosts: &[(&str, u16)]) -> Result<Option<Self>> {
        let (Some(chromium), Some(driver)) = (
            program("CHROME_BIN", "chromium")?,
            program("CHROMEDRIVER_BIN", "chromedriver")?,
        ) else {
            return Ok(None);
        };
        let profile = tempfile::tempdir()?;
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let output = driver.stdout.take().context("it has no output")?;
        let mut output = BufReader::new(output).lines();
        let port = timeout(PATIENCE, port(&mut output));
        let port = port.await.context("the driver does not start")??;

        let rules = hosts
            .iter()
            .map(|(host, port)| format!("MAP {host} 127.0.0.1:{port}"));
        let rules: Vec<String> = rules.collect();
        let mut args: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.push(format!("--host-resolver-rules={}", rules.join(",")));
        let capabilities = json!({
            "goog:chromeOptions": { "binary": chromium, "args": args },
            "timeouts": { "script": PATIENCE.as_millis(), "pageLoad": PATIENCE.as_millis() },
        });
        let Value::Object(capabilities) = capabilities else {
            bail!("capabilities are an object");
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let driver_at = format!("http://127.0.0.1:{port}");
        // Its first start on a busy machine takes seconds.
        let client = timeout(3 * PATIENCE, builder.connect(&driver_at)).await;
        Ok(Some(Self {
            client: client.context("Chromium does not start")??,
            _driver: driver,
            _output: output,
            _profile: profile,
        }))
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Runs a script in the page, which calls its last argument with what comes of it.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Result<Value> {
        Ok(self.client.execute_async(script, arguments).await?)
    }

    /// Closes it. One that is dropped ends as well, but later.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.client.clone().close().await?;
        self._driver.kill().await?;
        Ok(())
    }
}

/// A program: the one that a variable names, or the one on `PATH`.
fn program(variable: &str, name: &str) -> Result<Option<PathBuf>> {
    if let Some(named) = env::var_os(variable) {
        return Ok(Some(named.into()));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = env::split_paths(&path).map(|folder| folder.join(name));
    if let Some(found) = found.find(|file| file.is_file()) {
        return Ok(Some(found));
    }
    let why = format!(
        "there is no {name} on PATH, and {variable} names none (Debian: `apt install chromium \
         chromium-driver`)"
    );
    if env::var_os("CI").is_some() {
        bail!(why);
    }
    // Not by a macro: what those write is shown of failed tests only.
    writeln!(io::stderr(), "a test in a browser did not run: {why}")?;
    Ok(None)
}

/// The port that the driver has taken, which it prints.
async fn port(output: &mut Lines<BufReader<ChildStdout>>) -> Result<u16> {
    while let Some(line) = output.next_line().await? {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().context(line);
        }
    }
    bail!("the driver ended")
}
