//! The built filter in a real Envoy, and Envoy's own `jwt_authn` beside it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use portcullis_issuer::ALGORITHMS;
use serde_json::Value;
use tempfile::TempDir;

use crate::bootstrap::{CACHED, ENVOYS_OWN, UNCACHED, bootstrap};
use crate::client::{Client, Clients};
use crate::credentials::{self, CREDENTIALS};
use crate::measure::{Side, Subject};
use crate::scene::{GUARDED_PATH, OPEN_PATH, Scene};

/// How long a start may take: compiling the filter on a busy machine takes seconds.
const START: Duration = Duration::from_secs(60);

/// The algorithms that Envoy's own filter is measured with.
pub const ENVOYS: [&str; 2] = ["RS256", "ES256"];

/// What a subject of Envoy's own filter is called.
#[must_use]
pub fn envoys_name(algorithm: &str) -> String {
    format!("{algorithm} by jwt_authn")
}

/// An Envoy with one worker, which serves until it is dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    files: TempDir,
    log: File,
    listeners: Value,
}

impl Envoy {
    /// Starts this Envoy with the filters of this folder and waits until it serves.
    ///
    /// # Errors
    /// It does not start; the message holds what it printed last.
    pub fn start(program: &Path, filters: &Path) -> Result<Self> {
        for name in ["jwt_auth.wasm", "service_token.wasm"] {
            let filter = filters.join(name);
            if !filter.is_file() {
                bail!("{} is not there; run `cargo xtask build`", filter.display());
            }
        }
        let files = tempfile::tempdir()?;
        let config = files.path().join("bootstrap.json");
        fs::write(&config, bootstrap(filters).to_string())?;
        let log = files.path().join(LOG);
        let log = File::options().append(true).create(true).open(log)?;
        let child = Command::new(program)
            .arg("--config-path")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(files.path().join(ADMIN))
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone()?)
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let mut envoy = Self {
            child,
            files,
            log,
            listeners: Value::Null,
        };
        let started = envoy.wait();
        started.with_context(|| format!("Envoy does not serve:\n{}", envoy.last_lines()))?;
        Ok(envoy)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended ({status})");
            }
            // One that is about to end may still have the port open.
            if let Some(mut admin) = self.admin()
                && admin.get("/ready").is_ok_and(|ready| ready.is_some())
            {
                let listeners = admin.get("/listeners?format=json")?;
                self.listeners = serde_json::from_slice(&listeners.context("no listeners")?)?;
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("it is not ready after {} s", START.as_secs());
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Its administration, once it is there.
    fn admin(&self) -> Option<Client> {
        let address = fs::read_to_string(self.files.path().join(ADMIN)).ok()?;
        Client::connect(address.trim().parse().ok()?).ok()
    }

    fn last_lines(&self) -> String {
        let log = fs::read_to_string(self.files.path().join(LOG)).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(20)..)
            .unwrap_or_default()
            .join("\n")
    }

    fn connect(&self, listener: &str) -> Result<Clients> {
        let statuses = self.listeners["listener_statuses"].as_array();
        let status = statuses.and_then(|all| all.iter().find(|status| status["name"] == listener));
        let address = status.map(|status| &status["local_address"]["socket_address"]);
        let port = address.and_then(|address| address["port_value"].as_u64());
        let port = port.with_context(|| format!("there is no listener {listener}"))?;
        Clients::connect(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?)))
    }

    /// All subjects: each algorithm, a cached token, an expired one, Envoy's own filter, and each
    /// kind of credential.
    ///
    /// # Errors
    /// A listener can't be reached.
    pub fn subjects(&self, scene: &Scene) -> Result<Vec<Subject<'_>>> {
        let mut subjects = Vec::new();
        for algorithm in ALGORITHMS {
            let token = scene.token(algorithm);
            subjects.push(self.subject(algorithm.to_owned(), UNCACHED, &token, 200)?);
        }
        let (good, expired) = (scene.token("RS256"), scene.expired_token("RS256"));
        subjects.push(self.subject("cached".to_owned(), CACHED, &good, 200)?);
        subjects.push(self.subject("expired".to_owned(), UNCACHED, &expired, 401)?);
        for algorithm in ENVOYS {
            let token = scene.token(algorithm);
            subjects.push(self.subject(envoys_name(algorithm), ENVOYS_OWN, &token, 200)?);
        }
        for (name, _) in CREDENTIALS {
            subjects.push(self.credential(name)?);
        }
        Ok(subjects)
    }

    /// A request that gets a credential on its way.
    fn credential(&self, name: &str) -> Result<Subject<'_>> {
        let caller = credentials::caller(name);
        let header = format!("x-user-id: {caller}");
        self.measured(name.to_owned(), name, &header, 200)
    }

    /// A request with this token, which gets this status where a token is needed.
    fn subject(
        &self,
        name: String,
        listener: &str,
        token: &str,
        status: u16,
    ) -> Result<Subject<'_>> {
        let header = format!("authorization: Bearer {token}");
        self.measured(name, listener, &header, status)
    }

    /// A request with this header, which gets this status on the guarded path.
    fn measured(
        &self,
        name: String,
        listener: &str,
        header: &str,
        status: u16,
    ) -> Result<Subject<'_>> {
        let mut client = self.connect(listener)?;
        let request =
            |path: &str| format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n{header}\r\n\r\n");
        let (asked, without) = (request(GUARDED_PATH), request(OPEN_PATH));
        let run = move |side, times| {
            let (request, expected) = match side {
                Side::Asked => (&asked, status),
                Side::Without => (&without, 200),
            };
            let begun = self.cpu_time()?;
            client.send(request.as_bytes(), times, expected)?;
            let took = self.cpu_time()?.saturating_sub(begun);
            // A line for every refusal adds up.
            self.log.set_len(0)?;
            Ok(took)
        };
        Ok(Subject {
            name,
            has_without: true,
            run: Box::new(run),
        })
    }

    /// What all of its threads have computed so far. To the nanosecond, unlike the ticks of
    /// `/proc/<pid>/stat`; of a thread that sleeps it is exact.
    fn cpu_time(&self) -> Result<Duration> {
        // What the worker does after the last answer belongs to that answer.
        sleep(Duration::from_millis(2));
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let tasks = fs::read_dir(tasks).context("CPU time is measured by Linux's /proc")?;
        let mut total = Duration::ZERO;
        for task in tasks {
            let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanos = schedstat
                .split(' ')
                .next()
                .and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.context("an unknown form of schedstat")?);
        }
        Ok(total)
    }
}

impl Drop for Envoy {
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
    let version = text
        .rsplit("version: ")
        .next()
        .and_then(|text| text.split('/').nth(1));
    let version = version.context("it does not tell its version")?;
    Ok(version.to_owned())
}
