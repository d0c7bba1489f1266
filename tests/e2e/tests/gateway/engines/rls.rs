//! A rate limit service as envoyproxy/ratelimit is one: `envoy.service.ratelimit.v3` by gRPC, fixed windows, and what is refused
//! stays counted. It keeps its counts in its own memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bytes::Bytes;
use futures_util::stream;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Message)]
struct RateLimitRequest {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(message, repeated, tag = "2")]
    descriptors: Vec<Descriptor>,
    #[prost(uint32, tag = "3")]
    hits_addend: u32,
}

#[derive(Message)]
struct Descriptor {
    #[prost(message, repeated, tag = "1")]
    entries: Vec<Entry>,
}

#[derive(Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<Status>,
}

#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(uint32, tag = "3")]
    limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    duration_until_reset: Option<Seconds>,
}

#[derive(Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Default)]
struct Counts(Mutex<BTreeMap<(String, u64), u32>>);

/// A service.
pub(crate) struct Rls {
    at: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Rls {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Rls {
    /// One that knows this limit, so many in windows of so many seconds.
    pub(crate) async fn start(limit: &'static str, quota: u32, window: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = Arc::clone(&counts);
                let service = service_fn(move |request| {
                    let counts = Arc::clone(&counts);
                    async move { answer(request, &counts, limit, quota, window).await }
                });
                tokio::spawn(async move {
                    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = serving.await;
                });
            }
        });
        Ok(Self { at, serving })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.at
    }
}

type Body =
    http_body_util::StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(
    request: Request<Incoming>,
    counts: &Counts,
    limit: &str,
    quota: u32,
    window: u64,
) -> Result<Response<Body>, anyhow::Error> {
    use http_body_util::BodyExt as _;
    assert_eq!(
        request.uri().path(),
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    );
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = request.into_body().collect().await?.to_bytes();
    let request = RateLimitRequest::decode(&body[5..])?;
    let [descriptor] = request.descriptors.as_slice() else {
        anyhow::bail!("one descriptor at a time");
    };
    let named: Vec<(&str, &str)> = descriptor
        .entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_str()))
        .collect();
    let [("limit", name), ("key", key)] = named.as_slice() else {
        anyhow::bail!("{named:?}");
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let status = if *name == limit {
        let of_key = (format!("{} {name} {key}", request.domain), now / window);
        let mut counts = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(of_key).or_default();
        // As INCRBY does it: first counted, then compared.
        *count = count.saturating_add(request.hits_addend.max(1));
        Status {
            code: if *count <= quota { 1 } else { 2 },
            limit_remaining: quota.saturating_sub(*count),
            duration_until_reset: Some(Seconds {
                seconds: i64::try_from(window - now % window)?,
            }),
        }
    } else {
        Status {
            code: 1,
            limit_remaining: 0,
            duration_until_reset: None,
        }
    };
    let response = RateLimitResponse {
        overall_code: status.code,
        statuses: vec![status],
    };
    let message = response.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len())?.to_be_bytes());
    framed.extend(message);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames = vec![
        Ok(Frame::data(Bytes::from(framed))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = http_body_util::StreamBody::new(stream::iter(frames));
    let mut response = Response::new(body);
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    Ok(response)
}
