//! The upstream: it answers from memory, and keeps connections open.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::ask::CHUNKS;

/// A path below which the answer is a stream; the connection's number follows.
pub const STREAM_PATH: &str = "/api/v1/rag/query/stream";
/// A path whose answer is 503.
pub const FAILING_PATH: &str = "/api/v1/rag/failing";

/// By which a client says that a chunk has come, by connection. The next one follows only then, so that no two reach the
/// gateway as one.
pub(super) type Received = Arc<Vec<Notify>>;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
    date: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-length: 184\r\n\r\n\
    {\"results\":[{\"id\":1,\"score\":0.91,\"text\":\"a circuit breaker stops asking an upstream that fails\"},\
    {\"id\":2,\"score\":0.87,\"text\":\"and asks again with a few probes\"}],\"took_ms\":3,\"total\":2}";
const FAILURE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// A word, as a model streams it.
const CHUNK: &[u8] = b"17\r\ndata: {\"text\":\"word\"}\n\n\r\n";
const LAST: &[u8] = b"0\r\n\r\n";

/// Accepts connections for ever.
pub(super) async fn serve(listener: TcpListener, received: Received) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        // A gateway that ends breaks its connections off.
        tokio::spawn(async move { answer(stream, &received).await.ok() });
    }
}

async fn answer(mut stream: TcpStream, received: &[Notify]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16_384);
    loop {
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let path = buffer
            .split(|byte| *byte == b' ')
            .nth(1)
            .unwrap_or_default();
        if let Some(connection) = streamed(path) {
            stream_to(&mut stream, received.get(connection)).await?;
        } else if path.starts_with(FAILING_PATH.as_bytes()) {
            stream.write_all(FAILURE).await?;
        } else {
            stream.write_all(ANSWER).await?;
        }
        buffer.clear();
    }
}

fn streamed(path: &[u8]) -> Option<usize> {
    let number = path
        .strip_prefix(STREAM_PATH.as_bytes())?
        .strip_prefix(b"/")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

async fn stream_to(stream: &mut TcpStream, received: Option<&Notify>) -> io::Result<()> {
    stream.write_all(STREAM).await?;
    for _ in 0..CHUNKS {
        stream.write_all(CHUNK).await?;
        if let Some(received) = received {
            received.notified().await;
        }
    }
    stream.write_all(LAST).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_is_as_long_as_it_says() {
        let body = |answer: &[u8]| {
            let text = String::from_utf8_lossy(answer).into_owned();
            text.split_once("\r\n\r\n").map(|(_, body)| body.len())
        };
        assert_eq!(body(ANSWER), Some(184));
        assert_eq!(body(FAILURE), Some(0));
        assert_eq!(CHUNK.len(), 0x17 + "17\r\n\r\n".len());
    }

    #[test]
    fn a_stream_is_told_by_its_path() {
        assert_eq!(streamed(b"/api/v1/rag/query/stream/12"), Some(12));
        assert_eq!(streamed(b"/api/v1/rag/search?q=x"), None);
    }
}
