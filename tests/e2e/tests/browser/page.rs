//! The servers of pages, and what their scripts do.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use portcullis_e2e::Gateway;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::browser::Browser;

/// The origin that `envoy/edge.yaml` names.
pub(crate) const DASHBOARD: &str = "localhost:3103";

/// Another one, of the same site.
pub(crate) const NEIGHBOUR: &str = "localhost:3104";

/// Another one, of another site.
pub(crate) const STRANGER: &str = "dashboard.example:3103";

/// What a script gets to see, and no more: a body that it may not read is an error, as the network's
/// are.
const ASK: &str = "
    const [url, options, done] = arguments;
    fetch(url, options).then(
        async answer => done({
            status: answer.status,
            headers: Object.fromEntries(answer.headers),
            body: await answer.text(),
        }),
        error => done({ error: String(error) }),
    );
";

/// A browser at a page, and the server of that page. The server stands at a free port, and the browser
/// takes it for one at the port of its name.
pub(crate) struct Page {
    browser: Browser,
    gateway: String,
    _server: JoinSet<()>,
}

/// What a script was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Answer(Answer),
    /// `fetch` failed. Why is not for scripts.
    Nothing,
}

/// What a script could read.
#[derive(Debug, Deserialize, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Page {
    /// A page of `host`; `None` where there is no browser.
    pub(crate) async fn of(host: &str, gateway: &Gateway) -> Result<Option<Self>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let page = Html("<!doctype html><title>A page</title><link rel=icon href='data:,'>");
        let page = Router::new().route("/", get(async move || page));
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It ends with the value that started it.
            let _ = axum::serve(listener, page).await;
        });
        let Some(browser) = Browser::start(&[(host, port)]).await? else {
            return Ok(None);
        };
        browser.open(&format!("http://{host}/")).await?;
        Ok(Some(Self {
            browser,
            // By name, as the dashboard calls it: cookies of a name go to all of its ports.
            gateway: format!("http://localhost:{}", gateway.address().port()),
            _server: server,
        }))
    }

    /// What the page's script is told when it fetches from the gateway, with credentials.
    pub(crate) async fn fetch(&self, path: &str, mut options: Value) -> Result<Told> {
        options["credentials"] = json!("include");
        let told = self.run(ASK, path, options).await?;
        if told["error"] == "TypeError: Failed to fetch" {
            return Ok(Told::Nothing);
        }
        Ok(Told::Answer(serde_json::from_value(told)?))
    }

    /// What the page's script can read of what it fetches from the gateway.
    pub(crate) async fn read(&self, path: &str, options: Value) -> Result<Answer> {
        match self.fetch(path, options).await? {
            Told::Answer(answer) => Ok(answer),
            Told::Nothing => bail!("the script could read nothing of {path}"),
        }
    }

    /// Runs a script with a URL of the gateway.
    pub(crate) async fn run(&self, script: &str, path: &str, options: Value) -> Result<Value> {
        let url = json!(format!("{}{path}", self.gateway));
        self.browser.run(script, vec![url, options]).await
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.browser.close().await
    }
}

impl Answer {
    /// A header that the script can read.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        match self.headers.get(name) {
            Some(value) => value,
            None => panic!("the script can't read {name}: {self:?}"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Options of a GET with a token.
pub(crate) fn as_user(token: &str) -> Value {
    json!({ "headers": { "authorization": format!("Bearer {token}") } })
}

/// Options of a POST of a question, with a token.
pub(crate) fn post(token: &str, question: &Value) -> Value {
    let mut options = as_user(token);
    options["method"] = json!("POST");
    options["headers"]["content-type"] = json!("application/json");
    options["body"] = json!(question.to_string());
    options
}
