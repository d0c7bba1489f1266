//! The stand-ins as the dependencies' own clients meet them.
//!
//! ```sh
//! pip install --target target/clients qdrant-client==1.20.0 ollama==0.6.3
//! PORTCULLIS_CLIENTS=target/clients cargo test -p portcullis-backend -- --ignored
//! ```

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use portcullis_backend::{Backend, Role};
use tokio::process::Command;

async fn takes(role: Role, script: &str) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let clients =
        std::env::var_os("PORTCULLIS_CLIENTS").expect("PORTCULLIS_CLIENTS names a folder");
    let backend = Backend::builder().role(role).event_delay(Duration::ZERO);
    let backend = backend.start().await.unwrap();
    let output = Command::new("python3")
        .arg(package.join("tests/clients").join(script))
        .arg(format!("http://{}", backend.addr()))
        .env("PYTHONPATH", package.join("../..").join(clients))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "needs qdrant-client from PyPI, in the folder that PORTCULLIS_CLIENTS names"]
async fn qdrants_client_takes_what_the_stand_in_answers() {
    takes(Role::Qdrant, "qdrant.py").await;
}

#[tokio::test]
#[ignore = "needs ollama from PyPI, in the folder that PORTCULLIS_CLIENTS names"]
async fn ollamas_client_takes_what_the_stand_in_answers() {
    takes(Role::Ollama, "ollama_client.py").await;
}
