//! The stack: started by the first test, and left to `cargo xtask test --docker` to take away.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, Result, bail};
use portcullis_e2e::{Answer, Token, repository, until};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::kind::{Kind, filters};

/// How long a breaker stays open here, instead of 30 s.
pub(super) const OPEN_FOR: &str = "2s";
/// How long an upstream may take here, instead of 30 s.
const TIMEOUT: &str = "4s";
/// The same, as Kong wants it.
const TIMEOUT_MS: u32 = 4_000;

pub(super) const SEARCH: &str = "/api/v1/rag/search?q=circuit+breaker&limit=2";
pub(super) const COLLECTIONS: &str = "/api/v1/rag/collections";
pub(super) const HEALTH: &str = "/api/v1/rag/status/health";
pub(super) const BREAKERS: &str = "/api/v1/rag/status/breakers";

/// One test at a time: they break what the others need.
static STACK: Mutex<Option<Stack>> = Mutex::const_new(None);

/// The stack, for one test alone.
pub(super) type Alone = MappedMutexGuard<'static, Stack>;

pub(super) struct Stack {
    pub(super) kind: Kind,
    /// `docker compose`, in words.
    compose: Vec<String>,
    project: String,
    base: String,
    jwt_secret: String,
    /// Where the edge's configuration is mounted from.
    config: PathBuf,
    /// How often the edge was given another configuration.
    version: u32,
}

/// The stack as a test finds it: everything is there and well.
pub(super) async fn stack() -> Result<Alone> {
    let mut stack = STACK.lock().await;
    if stack.is_none() {
        *stack = Some(Stack::start().await?);
    }
    let stack = MutexGuard::try_map(stack, Option::as_mut);
    let stack = stack.ok().context("it was started")?;
    stack.well().await?;
    Ok(stack)
}

impl Stack {
    async fn start() -> Result<Self> {
        let var = |name: &str| {
            env::var(name)
                .with_context(|| format!("{name} is not set: run `cargo xtask test --docker`"))
        };
        let compose = var("PORTCULLIS_COMPOSE")?;
        let stack = Self {
            kind: Kind::here()?,
            compose: compose.split(' ').map(str::to_owned).collect(),
            project: var("COMPOSE_PROJECT_NAME")?,
            base: format!("http://127.0.0.1:{}", var("PORTCULLIS_PORT")?),
            jwt_secret: var("JWT_SECRET_KEY")?,
            config: var("PORTCULLIS_EDGE_CONFIG")?.into(),
            version: 0,
        };
        for (file, name) in stack.kind.edge() {
            fs::write(stack.config.join(name), shipped(file)?.to_string())?;
        }
        stack.put(&stack.rules(|_| ())?)?;
        let egress = PathBuf::from(var("PORTCULLIS_EGRESS_CONFIG")?);
        for (file, name) in stack.kind.egress() {
            fs::write(egress.join(name), shipped(file)?.to_string())?;
        }
        stack.compose(&["up", "--detach", "--no-build"]).await?;
        Ok(stack)
    }

    /// Waits until every container is well and no breaker is open.
    pub(super) async fn well(&self) -> Result<()> {
        let ids = self.docker(&["ps", "--all", "--quiet", "--filter", &self.label()]);
        let ids = ids.await?;
        let ids: Vec<&str> = ids.lines().collect();
        until("all containers to be healthy", async || {
            let format = ["inspect", "--format", "{{.State.Health.Status}}"];
            let all = self.docker(&[&format[..], &ids].concat()).await?;
            Ok(all.lines().all(|status| status == "healthy"))
        })
        .await?;
        until("the chain of services to answer", async || {
            // Another one each time, so that nobody asks too often.
            let caller = self.caller();
            let search = caller.get(SEARCH).await?;
            let collections = caller.get(COLLECTIONS).await?;
            Ok(search.status == 200 && collections.status == 200)
        })
        .await?;
        until("the egress to know all nodes of Qdrant", async || {
            let healthy = r#"envoy_cluster_membership_healthy{envoy_cluster_name="qdrant"} 3"#;
            Ok(self.kind == Kind::Kong || self.metrics("egress").await?.contains(healthy))
        })
        .await?;
        let calm = all_closed();
        until("the breakers to be closed", async || {
            Ok(self.caller().get(BREAKERS).await?.json()? == calm)
        })
        .await
    }

    /// What a gateway shows to Prometheus, inside of the network.
    pub(super) async fn metrics(&self, gateway: &str) -> Result<String> {
        let ask = "exec 3<>/dev/tcp/127.0.0.1/9902 && \
                   printf 'GET /stats/prometheus HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n' >&3 && cat <&3";
        let id = self.container(gateway).await?;
        self.docker(&["exec", &id, "bash", "-c", ask]).await
    }

    /// Somebody with an address and a token of their own.
    pub(super) fn caller(&self) -> Caller {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Caller {
            http: Client::builder().no_proxy().build().unwrap(),
            base: self.base.clone(),
            address: format!("198.51.{high}.{low}"),
            token: Some(Token::of("alice").signed(&self.jwt_secret)),
        }
    }

    pub(super) fn token(&self, change: impl FnOnce(Token) -> Token) -> String {
        change(Token::of("alice")).signed(&self.jwt_secret)
    }

    /// Gives the edge another configuration, as a user would. Comes back when every worker has it.
    pub(super) async fn reconfigure(&mut self, change: impl Fn(&mut Value)) -> Result<()> {
        self.version += 1;
        let version = self.version.to_string();
        self.put(&self.rules(change)?)?;
        if self.kind == Kind::Kong {
            let id = self.container("gateway").await?;
            self.docker(&["exec", &id, "kong", "reload"]).await?;
        }
        let caller = self.caller();
        until("the edge to take its configuration", async || {
            // Another connection each time, so that all workers are asked.
            for _ in 0..8 {
                let answer = self.caller().at(&caller.address).get(HEALTH).await?;
                if answer.header("x-test-version") != Some(version.as_str()) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// The edge's rules as they are shipped, but for what would make a test wait.
    fn rules(&self, change: impl Fn(&mut Value)) -> Result<Value> {
        let (file, _) = self.kind.edge().first().context("no file")?;
        let mut value = shipped(file)?;
        self.kind.mark(&mut value, self.version)?;
        let mut found = Vec::new();
        filters(&mut value, &mut found);
        for filter in found {
            // So that each test is a client of its own.
            filter["rate_limit"]["client_address"] =
                json!({ "trusted_proxies": ["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"] });
            change(filter);
        }
        Ok(value)
    }

    /// Puts the edge's rules where they are mounted. Envoy reads a file that is moved into the directory,
    /// not one that is written there.
    fn put(&self, rules: &Value) -> Result<()> {
        let (_, name) = self.kind.edge().first().context("no file")?;
        let fresh = self.config.join(".fresh");
        fs::write(&fresh, rules.to_string())?;
        fs::rename(fresh, self.config.join(name))?;
        Ok(())
    }

    /// The container of a service.
    pub(super) async fn container(&self, service: &str) -> Result<String> {
        let service = format!("label=com.docker.compose.service={service}");
        let ids = self.docker(&[
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &self.label(),
            "--filter",
            &service,
        ]);
        let ids = ids.await?;
        let id = ids
            .lines()
            .next()
            .with_context(|| format!("no {service}"))?;
        Ok(id.to_owned())
    }

    fn label(&self) -> String {
        format!("label=com.docker.compose.project={}", self.project)
    }

    /// The network that all containers are in.
    pub(super) fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// The ports of this machine that lead into the stack: whose, and which.
    pub(super) async fn published(&self) -> Result<Vec<(String, String)>> {
        let format = r#"{{.Label "com.docker.compose.service"}} {{.Ports}}"#;
        let lines = ["ps", "--filter", &self.label(), "--format", format];
        let lines = self.docker(&lines).await?;
        let ports = lines.lines().filter_map(|line| line.split_once(' '));
        let ports = ports.flat_map(|(service, ports)| {
            let mapped = ports.split(", ").filter(|port| port.contains("->"));
            mapped.map(|port| (service.to_owned(), port.to_owned()))
        });
        Ok(ports.collect())
    }

    pub(super) fn docker(
        &self,
        arguments: &[&str],
    ) -> impl Future<Output = Result<String>> + use<> {
        let mut command = Command::new("docker");
        command.args(arguments);
        said(command)
    }

    pub(super) async fn compose(&self, arguments: &[&str]) -> Result<String> {
        let (program, words) = self.compose.split_first().context("no compose")?;
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--file", self.kind.compose_file()]);
        command.args(arguments).current_dir(repository());
        said(command).await
    }
}

/// A client of the gateway.
#[derive(Clone)]
pub(super) struct Caller {
    http: Client,
    base: String,
    address: String,
    token: Option<String>,
}

impl Caller {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn at(mut self, address: &str) -> Self {
        self.address = address.to_owned();
        self
    }

    pub(super) fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = request.header("x-forwarded-for", &self.address);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, path)).await
    }
}

/// A file of the repository, without what would make a test wait.
fn shipped(name: &str) -> Result<Value> {
    let path = repository().join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut value = serde_saphyr::from_str(&text)?;
    quicken(&mut value);
    Ok(value)
}

/// Shortens what a test would have to wait for: how long breakers stay open, and time-outs of routes.
fn quicken(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("open_for", Value::Object(open_for)) => {
                        open_for.insert("initial".to_owned(), json!(OPEN_FOR));
                    }
                    ("timeout" | "per_try_idle_timeout", Value::String(text)) if is_long(text) => {
                        *text = TIMEOUT.to_owned();
                    }
                    ("read_timeout" | "write_timeout", value) => *value = json!(TIMEOUT_MS),
                    (_, value) => quicken(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(quicken),
        _ => {}
    }
}

/// What the status path shows when all is well.
pub(super) fn all_closed() -> Value {
    json!({ "rag_service": "closed", "rag_query": "closed", "rag_collections_service": "closed" })
}

/// More than what a test can wait for several times. 0 s is no bound at all.
fn is_long(duration: &str) -> bool {
    let secs = duration
        .strip_suffix('s')
        .and_then(|secs| secs.parse::<f64>().ok());
    secs.is_some_and(|secs| secs > 5.0)
}

/// What a command prints.
async fn said(mut command: Command) -> Result<String> {
    let output = command.output().await?;
    if !output.status.success() {
        bail!(
            "{:?}: {}",
            command.as_std(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Something that was done to a container, and is undone at the end.
pub(super) struct Broken {
    undo: Vec<String>,
}

impl Broken {
    /// The container stops at once.
    pub(super) async fn kill(stack: &Stack, service: &str) -> Result<Self> {
        let id = stack.container(service).await?;
        stack.docker(&["kill", &id]).await?;
        Ok(Self::undone_by(&["start", &id]))
    }

    /// The container stands still: connections to it are made, and nothing answers.
    pub(super) async fn pause(stack: &Stack, service: &str) -> Result<Self> {
        let id = stack.container(service).await?;
        stack.docker(&["pause", &id]).await?;
        Ok(Self::undone_by(&["unpause", &id]))
    }

    /// The container is in no network.
    pub(super) async fn cut_off(stack: &Stack, service: &str) -> Result<Self> {
        let id = stack.container(service).await?;
        let network = stack.network();
        let disconnect = ["network", "disconnect", &network, &id];
        stack.docker(&disconnect).await?;
        Ok(Self::undone_by(&[
            "network", "connect", "--alias", service, &network, &id,
        ]))
    }

    fn undone_by(arguments: &[&str]) -> Self {
        Self {
            undo: arguments.iter().map(|&word| word.to_owned()).collect(),
        }
    }

    /// Undoes it now.
    pub(super) fn mend(self) {}
}

impl Drop for Broken {
    fn drop(&mut self) {
        let mut docker = std::process::Command::new("docker");
        let done = docker.args(&self.undo).output();
        if !done.is_ok_and(|output| output.status.success()) {
            eprintln!("docker {} failed", self.undo.join(" "));
        }
    }
}
