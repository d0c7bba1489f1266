use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use portcullis_backend::{Backend, Fault, Running};
use reqwest::StatusCode;
use tokio::io::AsyncReadExt;

use crate::client::{End, Raw, get, status};

const SEARCH: &str = "/api/v1/rag/search?q=breaker";
const HEALTH: &str = "/api/v1/rag/status/health";

async fn backend() -> Running {
    Backend::builder()
        .test_routes(true)
        .event_delay(Duration::ZERO)
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_status_is_answered_on_its_paths_as_often_as_asked() {
    let backend = backend().await;
    backend.faults().set(
        Fault::status(StatusCode::SERVICE_UNAVAILABLE)
            .on("/api/v1/rag/search")
            .times(2),
    );
    assert_eq!(status(get(&backend, SEARCH)).await, 503);
    assert_eq!(status(get(&backend, HEALTH)).await, 200);
    assert_eq!(status(get(&backend, SEARCH)).await, 503);
    assert_eq!(status(get(&backend, SEARCH)).await, 200);
}

#[tokio::test]
async fn a_dropped_connection_is_reset_before_any_byte() {
    let backend = backend().await;
    backend.faults().set(Fault::drop_connection().times(1));
    let seen = Raw::get(backend.addr(), SEARCH).await.rest().await;
    assert_eq!(seen, (String::new(), End::Reset));
    assert_eq!(status(get(&backend, SEARCH)).await, 200);
}

#[tokio::test]
async fn a_request_with_a_body_is_dropped_as_well() {
    let backend = backend().await;
    backend.faults().set(Fault::drop_connection());
    let request = "POST /api/v1/rag/search HTTP/1.1\r\nhost: backend\r\ncontent-length: 11\r\n\r\n{\"q\":\"a b\"}";
    assert_eq!(
        Raw::send(backend.addr(), request).await.rest().await,
        (String::new(), End::Reset)
    );
}

#[tokio::test]
async fn an_answer_of_known_length_breaks_off_halfway() {
    let backend = backend().await;
    let whole = get(&backend, SEARCH)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    backend.faults().set(Fault::break_off());
    let (seen, end) = Raw::get(backend.addr(), SEARCH).await.rest().await;
    assert_eq!(end, End::Orderly);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains(&format!("content-length: {}", whole.len())),
        "{head}"
    );
    assert_eq!(body, &whole[..whole.len() / 2]);
}

#[tokio::test]
async fn a_stream_breaks_off_after_its_first_event() {
    let backend = backend().await;
    backend.faults().set(Fault::break_off());
    let (seen, end) = Raw::get(backend.addr(), "/api/v1/rag/query?q=breaker")
        .await
        .rest()
        .await;
    assert_eq!(end, End::Orderly);
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body.matches("event: ").count(), 1, "{body}");
    assert!(
        body.ends_with("\n\n\r\n"),
        "the first chunk is whole, the last is missing: {body:?}"
    );
}

#[tokio::test]
async fn a_delay_comes_before_the_usual_answer() {
    let backend = backend().await;
    let delay = Duration::from_millis(60);
    backend.faults().set(Fault::delay(delay));
    let before = Instant::now();
    assert_eq!(status(get(&backend, SEARCH)).await, 200);
    assert!(before.elapsed() >= delay);
    backend
        .faults()
        .set(Fault::status(StatusCode::BAD_GATEWAY).after(delay));
    let before = Instant::now();
    assert_eq!(status(get(&backend, SEARCH)).await, 502);
    assert!(before.elapsed() >= delay);
}

#[tokio::test]
async fn a_black_hole_never_answers_and_is_reset_when_the_backend_stops() {
    let backend = backend().await;
    backend
        .faults()
        .set(Fault::black_hole().on("/api/v1/rag/search"));
    let mut lost = Raw::get(backend.addr(), SEARCH).await;
    backend.requests().wait_for_total(1).await;
    assert_eq!(status(get(&backend, HEALTH)).await, 200);
    assert_eq!(
        lost.0.try_read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    backend.faults().clear();
    assert_eq!(status(get(&backend, SEARCH)).await, 200);
    assert_eq!(
        lost.0.try_read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    backend.stop().await;
    assert_eq!(
        lost.0.read_u8().await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn an_answer_is_compressed_although_nobody_asked_for_it_and_a_stream_stays_one() {
    let backend = backend().await;
    for path in [SEARCH, "/api/v1/rag/query?q=breaker"] {
        let plain = get(&backend, path).send().await.unwrap();
        assert_eq!(plain.headers().get("content-encoding"), None);
        let plain = plain.bytes().await.unwrap();
        let asked = get(&backend, path).header("accept-encoding", "identity");
        let answer = asked.header("x-demo-fault", "gzip").send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let compressed = answer.bytes().await.unwrap();
        let mut text = String::new();
        GzDecoder::new(compressed.as_ref())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.as_bytes(), plain, "{path}");
        assert!(compressed.len() < plain.len(), "{path}");
    }
    // The first event is there before the last has been written.
    let slow = Backend::builder().event_delay(Duration::from_secs(60));
    let slow = slow.start().await.unwrap();
    slow.faults().set(Fault::gzip());
    let mut answer = get(&slow, "/api/v1/rag/query?q=breaker")
        .send()
        .await
        .unwrap();
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    while !decoder.get_ref().ends_with(b"\n\n") {
        let piece = answer.chunk().await.unwrap().unwrap();
        std::io::Write::write_all(&mut decoder, &piece).unwrap();
        std::io::Write::flush(&mut decoder).unwrap();
    }
}

#[tokio::test]
async fn a_request_can_ask_for_its_own_fault() {
    let backend = backend().await;
    assert_eq!(
        status(get(&backend, SEARCH).header("x-demo-fault", "status=503")).await,
        503
    );
    assert_eq!(
        status(get(&backend, SEARCH).header("x-demo-fault", "nonsense")).await,
        400
    );
    assert!(
        get(&backend, SEARCH)
            .header("x-demo-fault", "drop")
            .send()
            .await
            .is_err()
    );
    assert_eq!(status(get(&backend, SEARCH)).await, 200);

    let plain = Backend::builder().start().await.unwrap();
    assert_eq!(
        status(get(&plain, SEARCH).header("x-demo-fault", "status=503")).await,
        200
    );
}

#[tokio::test]
async fn a_status_without_a_body_announces_none() {
    let backend = backend().await;
    for code in [204, 304] {
        let request = format!(
            "GET {SEARCH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-demo-fault: status={code}\r\n\r\n"
        );
        let (seen, _) = Raw::send(backend.addr(), &request).await.rest().await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {code} ")), "{seen}");
        assert!(
            seen.ends_with("\r\n\r\n") && !seen.contains("content-length"),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn struck_requests_are_in_the_log() {
    let backend = backend().await;
    backend.faults().set(Fault::drop_connection());
    Raw::get(backend.addr(), SEARCH).await.rest().await;
    assert_eq!(backend.requests().count("/api/v1/rag/search"), 1);
}
