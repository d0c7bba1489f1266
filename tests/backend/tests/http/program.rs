use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::{End, Raw, at, status};

const SECRET: &str = "8c1f0b7d8c1f0b7d8c1f0b7d8c1f0b7d8c1f0b7d8c1f0b7d8c1f0b7d8c1f0b7d";

fn program(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portcullis-backend"))
        .args(args)
        .env("BACKEND_TEST_SECRET", SECRET)
        .env("BACKEND_TEST_EMPTY", "")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The line that says where it listens.
async fn ready(child: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .await
        .unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn it_says_when_it_is_ready_logs_refusals_without_the_token_and_stops_on_sigterm() {
    let mut child = program(&[
        "--listen",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--test-routes",
        "--service-token-env",
        "BACKEND_TEST_SECRET",
    ]);
    let ready = ready(&mut child).await;
    let addr = ready["listening"].as_str().unwrap().parse().unwrap();
    let control = ready["control"].as_str().unwrap().parse().unwrap();

    let health = |token: &str| {
        at(reqwest::Method::GET, addr, "/api/v1/rag/status/health").header("x-service-token", token)
    };
    assert_eq!(status(health(SECRET)).await, 200);
    assert_eq!(status(health("a-guess-to-keep-out-of-the-log")).await, 403);
    assert_eq!(
        status(at(reqwest::Method::GET, control, "/_test/count")).await,
        200
    );
    let request = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-service-token: {SECRET}\r\nx-demo-fault: drop\r\n\r\n"
    );
    assert_eq!(Raw::send(addr, &request).await.rest().await.1, End::Reset);

    let pid = child.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", output.status);
    let log = String::from_utf8(output.stderr).unwrap();
    let refused: Value = serde_json::from_str(log.trim()).expect("one line");
    assert_eq!(refused["reason"], "wrong_service_token");
    assert_eq!(refused["path"], "/api/v1/rag/status/health");
    assert!(!log.contains(SECRET) && !log.contains("a-guess"), "{log}");
}

#[tokio::test]
async fn it_does_not_start_without_the_secret_it_was_told_to_use() {
    for name in ["BACKEND_TEST_UNSET", "BACKEND_TEST_EMPTY"] {
        let output = program(&["--listen", "127.0.0.1:0", "--service-token-env", name])
            .wait_with_output()
            .await
            .unwrap();
        assert!(!output.status.success(), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
        assert!(!output.stderr.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn it_asks_itself_for_its_health() {
    let mut child = program(&[
        "--listen",
        "127.0.0.1:0",
        "--service-token-env",
        "BACKEND_TEST_SECRET",
    ]);
    let ready = ready(&mut child).await;
    let addr = ready["listening"].as_str().unwrap();
    let port = addr.rsplit(':').next().unwrap();
    let token = ["--service-token-env", "BACKEND_TEST_SECRET"];
    let everywhere = format!("0.0.0.0:{port}");
    let missing = format!("http://{addr}/api/v1/rag/none");
    let well = async |args: &[&str]| {
        program(args)
            .wait_with_output()
            .await
            .unwrap()
            .status
            .success()
    };
    assert!(well(&["--listen", &everywhere, token[0], token[1], "health"]).await);
    assert!(
        !well(&["--listen", &everywhere, "health"]).await,
        "without the token"
    );
    assert!(!well(&[token[0], token[1], "health", &missing]).await);
    child.kill().await.unwrap();
    assert!(
        !well(&["--listen", addr, token[0], token[1], "health"]).await,
        "nobody is there"
    );
}

#[tokio::test]
async fn a_role_is_chosen_by_an_option() {
    for (role, path) in [("ollama", "/api/version"), ("qdrant", "/readyz")] {
        let mut child = program(&["--listen", "127.0.0.1:0", "--role", role]);
        let ready = ready(&mut child).await;
        let addr = ready["listening"].as_str().unwrap();
        assert_eq!(
            status(at(reqwest::Method::GET, addr.parse().unwrap(), path)).await,
            200
        );
        let health = program(&["--listen", addr, "--role", role, "health"]);
        assert!(
            health.wait_with_output().await.unwrap().status.success(),
            "{role}"
        );
    }
}
