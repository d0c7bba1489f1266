use std::time::Duration;

use portcullis_backend::{Backend, StartError};
use tokio::net::TcpStream;

use crate::client::{End, Raw, get, status};

#[tokio::test]
async fn a_stop_lets_an_answer_in_progress_finish_and_frees_the_port() {
    let backend = Backend::builder()
        .event_delay(Duration::from_millis(2))
        .start()
        .await
        .unwrap();
    let addr = backend.addr();
    let mut caller = Raw::get(addr, "/api/v1/rag/query?q=breaker").await;
    caller.until("\n\n").await;
    let ((), (rest, end)) = tokio::join!(backend.stop(), caller.rest());
    assert!(rest.contains("event: done\n"), "{rest}");
    assert_eq!(end, End::Orderly);
    assert!(TcpStream::connect(addr).await.is_err());

    let again = Backend::builder().bind(addr).start().await.unwrap();
    assert_eq!(status(get(&again, "/api/v1/rag/status/health")).await, 200);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections() {
    let backend = Backend::builder().start().await.unwrap();
    let mut silent = Raw::send(backend.addr(), "").await;
    let mut idle = Raw::get(backend.addr(), "/api/v1/rag/status/health").await;
    idle.until("}").await;
    backend.stop().await;
    assert_eq!(silent.rest().await, (String::new(), End::Orderly));
    assert_eq!(idle.rest().await, (String::new(), End::Orderly));
}

#[tokio::test]
async fn many_backends_run_side_by_side_and_share_nothing() {
    let mut backends = Vec::new();
    for _ in 0..4 {
        backends.push(Backend::builder().start().await.unwrap());
    }
    for (n, backend) in backends.iter().enumerate() {
        for _ in 0..n {
            assert_eq!(status(get(backend, "/api/v1/rag/collections")).await, 200);
        }
    }
    let totals: Vec<u64> = backends
        .iter()
        .map(|backend| backend.requests().total())
        .collect();
    assert_eq!(totals, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_taken_address_is_named_in_the_error() {
    let first = Backend::builder().start().await.unwrap();
    let error = Backend::builder()
        .bind(first.addr())
        .start()
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&error, StartError::Bind { addr, .. } if *addr == first.addr().to_string()),
        "{error}"
    );
}
