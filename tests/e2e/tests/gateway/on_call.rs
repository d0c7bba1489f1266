//! `docs/on-call.md`: its commands, as they are printed, against a gateway in the state that they are for.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::http::StatusCode;
use portcullis_e2e::backend::Fault;
use portcullis_e2e::{Bootstrap, Gateway, JWT_SECRET_KEY, Token, page, repository, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{SEARCH, token};

const CONTROL_TOKEN: &str = "on-call-control-token-of-32-bytes-or-more";

fn controlled(bootstrap: &mut Bootstrap) -> Result<()> {
    bootstrap.filter("edge")?["control"] =
        json!({ "path": "/-/control", "token": { "env": "CONTROL_TOKEN" } });
    Ok(())
}

/// A gateway on four workers whose control path is open, and whose limit is five requests.
async fn gateway() -> Result<Gateway> {
    let few = |bootstrap: &mut Bootstrap| {
        bootstrap.filter("edge")?["rate_limit"]["limits"][0]["quota"] = json!(5);
        controlled(bootstrap)
    };
    start(few).await
}

async fn start(edit: impl FnOnce(&mut Bootstrap) -> Result<()>) -> Result<Gateway> {
    let gateway = Gateway::with("edge").workers(4).edit(edit);
    gateway.env("CONTROL_TOKEN", CONTROL_TOKEN).start().await
}

/// A shell of somebody who is on call for a gateway.
struct Shell<'g> {
    gateway: &'g Gateway,
    folder: TempDir,
}

impl<'g> Shell<'g> {
    fn at(gateway: &'g Gateway) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { gateway, folder })
    }

    /// Runs one block of the page for this state, and returns the lines that it prints.
    fn run(&self, state: &str, place: usize, variables: &[(&str, &str)]) -> Result<Vec<String>> {
        let log = self.folder.path().join("gateway.log");
        fs::write(&log, self.gateway.output().lines().join("\n"))?;
        let url = self.gateway.url("");
        let setup = &page::blocks("on-call.md", "on call: setup")?[0];
        let blocks = page::blocks("on-call.md", &format!("on call: {state}"))?;
        let block = blocks
            .get(place)
            .with_context(|| format!("{state} {place}"))?;
        let variables = variables.iter().copied();
        let variables = variables.chain([
            ("GATEWAY", url.trim_end_matches('/')),
            ("LOG", log.to_str().context("no path")?),
            ("CONTROL_TOKEN", CONTROL_TOKEN),
        ]);
        let script = format!("set -uo pipefail\n{setup}\n{block}\n");
        let said = shell(&script, self.folder.path(), variables)?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// The same of a block that prints an answer of the control path for each of its lines.
    fn ask(&self, state: &str, place: usize, variables: &[(&str, &str)]) -> Result<Vec<Value>> {
        let lines = self.run(state, place, variables)?;
        let parsed = lines
            .iter()
            .map(|line| serde_json::from_str(line).context(line.clone()));
        parsed.collect()
    }
}

fn shell<'v>(
    script: &str,
    folder: &Path,
    variables: impl Iterator<Item = (&'v str, &'v str)>,
) -> Result<String> {
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .envs(variables)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!(
            "{script}\n{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(said)
}

fn field<'l>(line: &'l str, name: &str) -> Result<&'l str> {
    let (_, rest) = line
        .split_once(&format!(" {name}="))
        .with_context(|| format!("{name}: {line}"))?;
    Ok(rest.split(' ').next().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_with_429_is_found_and_reset() -> Result<()> {
    let gateway = gateway().await?;
    let shell = Shell::at(&gateway)?;
    let mut refused = None;
    for _ in 0..6 {
        refused = Some(gateway.get_as(&token(), SEARCH).await?);
    }
    let refused = refused.context("an answer")?;
    assert_eq!(refused.status, 429);
    let id = refused.header("x-request-id").context("an id")?;
    gateway.output().wait_for(&["event=refused", id]).await?;
    let lines = shell.run("limited", 0, &[("REQUEST_ID", id)])?;
    let line = lines.iter().find(|line| line.contains("event=refused"));
    let line = line.with_context(|| format!("{lines:?}"))?;
    assert_eq!(field(line, "limit")?, "per_ip");
    let caller = field(line, "caller")?;

    let address = [("ADDRESS", "127.0.0.1"), ("CALLER", caller)];
    let left = &shell.ask("limited", 1, &address)?[0]["rate_limit"]["per_ip"];
    assert_eq!(
        (&left["remaining"], &left["caller"]),
        (&json!(0), &json!(caller)),
        "{left}"
    );
    assert!(left["retry_after"].as_u64() > Some(0), "{left}");
    for by_address_and_by_caller in [2, 3] {
        let reset = &shell.ask("limited", by_address_and_by_caller, &address)?[0];
        assert_eq!(reset["rate_limit"]["per_ip"]["remaining"], 5, "{reset}");
        for _ in 0..5 {
            assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 200);
        }
        assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 429);
    }
    let uses = gateway
        .output()
        .with(&["event=control ", "action=reset", "result=done"]);
    assert_eq!(uses.len(), 2, "{uses:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_uses_up_the_quota_is_known_of_all_workers() -> Result<()> {
    let gateway = gateway().await?;
    let shell = Shell::at(&gateway)?;
    crate::common::flood(&gateway, 8, 40, |request| request.bearer_auth(token())).await?;
    until("all workers to have told", async || {
        let said = shell.run("busy", 0, &[])?;
        Ok(said
            .iter()
            .any(|line| line.starts_with("per_ip 40 asked 35 refused 127.0.0.1 k.")))
    })
    .await?;
    // Without the control path.
    gateway.output().wait_for(&["\"client\"", "429"]).await?;
    until("the access log", async || {
        let said = shell.run("busy", 1, &[])?;
        // The questions are among them.
        let (count, client) = said[0].trim().split_once(' ').context("a count")?;
        Ok(client == "\"client\":\"127.0.0.1\"" && count.parse::<u32>()? > 40)
    })
    .await
}

async fn trip(gateway: &Gateway) -> Result<()> {
    let failing = Fault::status(StatusCode::INTERNAL_SERVER_ERROR).times(5);
    gateway.faults().set(failing);
    for _ in 0..5 {
        assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 500);
    }
    gateway.faults().clear();
    assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 503);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_answers_503_is_named_and_the_breaker_is_turned() -> Result<()> {
    let gateway = start(controlled).await?;
    let shell = Shell::at(&gateway)?;
    trip(&gateway).await?;
    gateway.output().wait_for(&["\"status\":503"]).await?;
    let said = shell.run("unavailable", 0, &[])?;
    let said: Vec<_> = said.iter().map(|line| line.trim()).collect();
    let details = [
        "5 \"details\":\"via_upstream\"",
        "1 \"details\":\"circuit_breaker{rag_service}\"",
    ];
    assert_eq!(said, details);
    let state = &shell.ask("unavailable", 1, &[])?[0];
    assert_eq!(
        state["circuit_breaker"]["rag_service"]["state"], "open",
        "{state}"
    );
    assert_eq!(
        state["jwt_auth"]["providers"]["dashboard"]["ready"], true,
        "{state}"
    );

    let states = shell.ask("open", 0, &[])?;
    let states: Vec<_> = states
        .iter()
        .map(|answer| &answer["circuit_breaker"]["rag_service"])
        .collect();
    let words: Vec<_> = states
        .iter()
        .map(|s| (s["state"].as_str(), s["forced"].as_bool()))
        .collect();
    let (open, closed) = (Some("open"), Some("closed"));
    let expected = [
        (open, None),
        (closed, None),
        (closed, Some(true)),
        (open, Some(true)),
        (closed, None),
    ];
    assert_eq!(words, expected, "{states:?}");
    assert_eq!(states[0]["reason"], "consecutive_failures");
    for _ in 0..8 {
        assert_eq!(
            gateway.get_as(&token(), SEARCH).await?.status,
            200,
            "on any worker"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_told_from_others_and_its_owner_is_found() -> Result<()> {
    let gateway = gateway().await?;
    let shell = Shell::at(&gateway)?;
    let expired = Token::of("alice")
        .claim("exp", json!(1))
        .signed(JWT_SECRET_KEY);
    let refused = gateway.get_as(&expired, SEARCH).await?;
    assert_eq!(refused.status, 401);
    let id = refused.header("x-request-id").context("an id")?;
    let line = gateway.output().wait_for(&["event=refused", id]).await?;
    let claimed = field(&line, "claimed")?;
    let variables = [("REQUEST_ID", id), ("TOKEN", &expired), ("CALLER", claimed)];
    let said = shell.run("token", 0, &variables)?;
    let at = said.iter().position(|line| line.contains("reason=expired"));
    assert!(at.is_some(), "{said:?}");
    let said: Vec<_> = said.iter().filter(|line| !line.contains(id)).collect();
    assert_eq!(*said[0], field(&line, "token")?, "{said:?}");
    let answers = [1, 2].map(|at| serde_json::from_str::<Value>(said[at]));
    let [who, called] = answers;
    assert_eq!(
        who?["jwt_auth"],
        json!({ "provider": "dashboard", "sub": "alice" })
    );
    assert_eq!(called?["jwt_auth"]["callers"]["dashboard"], claimed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowness_is_the_gateways_or_the_services() -> Result<()> {
    let gateway = start(controlled).await?;
    let shell = Shell::at(&gateway)?;
    gateway
        .faults()
        .set(Fault::delay(Duration::from_millis(200)));
    for _ in 0..5 {
        assert_eq!(gateway.get_as(&token(), SEARCH).await?.status, 200);
    }
    until("the access log", async || {
        let said = shell.run("slow", 0, &[])?;
        let median = |who: &str| {
            let line = said
                .iter()
                .find(|line| line.contains(who) && line.ends_with("of 5"))?;
            line.split("median ")
                .nth(1)?
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        };
        Ok(match (median(" gateway "), median(" service ")) {
            (Some(gateway), Some(service)) => gateway < 100.0 && service >= 200.0,
            _ => false,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_becomes_two_and_a_change_of_the_second_is_taken_while_envoy_runs() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let name = folder.path().join("gateway");
    let name = name.to_str().context("no path")?;
    let blocks = page::blocks("on-call.md", "on call: lds")?;
    let (split, run) = blocks[0].split_once('\n').context("two lines")?;
    assert_eq!(run, "envoy -c gateway/envoy.yaml");
    let split = split.replace(" gateway ", &format!(" {name} "));
    shell(&split, &repository(), std::iter::empty())?;

    // Ports that are free here, in place of those of the file.
    let ports: Vec<_> = (0..2)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect();
    let ports = ports.into_iter().map(|port| Ok(port?.local_addr()?.port()));
    let ports: Vec<u16> = ports.collect::<Result<_>>()?;
    let [bootstrap, listeners] =
        ["envoy.yaml", "listeners/listeners.yaml"].map(|file| format!("{name}/{file}"));
    for file in [&bootstrap, &listeners] {
        let text = fs::read_to_string(file)?
            .replace("port_value: 8000", &format!("port_value: {}", ports[0]))
            .replace("port_value: 9901", &format!("port_value: {}", ports[1]));
        fs::write(file, text)?;
    }
    let log = fs::File::create(folder.path().join("log"))?;
    let mut envoy = Command::new(portcullis_e2e::envoy_binary()?)
        .args([
            "-c",
            &bootstrap,
            "--use-dynamic-base-id",
            "--concurrency",
            "2",
        ])
        .current_dir(repository())
        .envs([
            ("JWT_SECRET_KEY", JWT_SECRET_KEY),
            ("INTER_SERVICE_SECRET", JWT_SECRET_KEY),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let outcome = taken(ports[0], name).await;
    envoy.kill()?;
    envoy.wait()?;
    outcome.with_context(|| fs::read_to_string(folder.path().join("log")).unwrap_or_default())
}

async fn taken(port: u16, name: &str) -> Result<()> {
    let quota = async || -> Result<Option<String>> {
        let url = format!("http://127.0.0.1:{port}{SEARCH}");
        let Ok(answer) = reqwest::get(url).await else {
            return Ok(None);
        };
        let quota = answer.headers().get("x-ratelimit-limit-minute");
        Ok(quota
            .and_then(|quota| quota.to_str().ok())
            .map(str::to_owned))
    };
    until("the gateway", async || {
        Ok(quota().await?.as_deref() == Some("100"))
    })
    .await?;
    let change = &page::blocks("on-call.md", "on call: change")?[0];
    let change = change.replace(" gateway/", &format!(" {name}/"));
    shell(&change, &repository(), std::iter::empty())?;
    until("the change", async || {
        Ok(quota().await?.as_deref() == Some("50"))
    })
    .await
}
