//! `envoy/circuit_breaker.yaml` before an upstream that speaks HTTP/2: what the ends of gRPC calls
//! and of HTTP/2 streams are counted as, and how Envoy describes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, client, server};
use http::{HeaderMap, Request, Response};
use portcullis_e2e::{Bootstrap, Gateway, PATIENCE, until};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::circuit_breaker_scene::{
    Before, Counts, FAILURE, IGNORED, SUCCESS, closed_port, forward, watched,
};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Grpc,
    Plain,
}

/// When the client resets its stream, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    WithTheAnswer,
    BeforeItsHead,
    InMidStream,
    /// With the answer, to a request that it has not ended.
    StillSending,
}

/// Where a request goes, what it is, how its client behaves, what it is counted as, how Envoy says
/// that it ended (its flags and its `response.code_details`), and the statuses that the client gets:
/// HTTP's and gRPC's.
type Row = (
    &'static str,
    Kind,
    Leaves,
    Counts,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use Kind::{Grpc, Plain};
    use Leaves::{BeforeItsHead, InMidStream, StillSending, WithTheAnswer};
    vec![
        // A status in the head: the whole answer is one block of headers.
        ("/upstream/head-0", Grpc, WithTheAnswer, SUCCESS, "- via_upstream", "200 0"),
        ("/upstream/head-5", Grpc, WithTheAnswer, SUCCESS, "- via_upstream", "200 5"),
        ("/upstream/head-14", Grpc, WithTheAnswer, FAILURE, "- via_upstream", "200 14"),
        ("/upstream/head-14", Plain, WithTheAnswer, SUCCESS, "- via_upstream", "200 14"),
        // A status in the trailers.
        ("/upstream/trailers-0", Grpc, WithTheAnswer, SUCCESS, "- via_upstream", "200 0"),
        ("/upstream/trailers-5", Grpc, WithTheAnswer, SUCCESS, "- via_upstream", "200 5"),
        ("/upstream/trailers-14", Grpc, WithTheAnswer, FAILURE, "- via_upstream", "200 14"),
        ("/upstream/trailers-14", Plain, WithTheAnswer, SUCCESS, "- via_upstream", "200 14"),
        // An answer that does not wait for all of the request, and asks for no more of it.
        ("/upstream/early-0", Grpc, StillSending, SUCCESS, "- via_upstream", "200 0"),
        ("/upstream/early-14", Grpc, StillSending, FAILURE, "- via_upstream", "200 14"),
        // The gateway answers in gRPC: 200, and a status that looks like the upstream's.
        ("/refused", Grpc, WithTheAnswer, FAILURE,
            "UF upstream_reset_before_response_started{remote_connection_failure", "200 14"),
        ("/upstream/never", Grpc, WithTheAnswer, FAILURE, "UT response_timeout", "200 14"),
        // The upstream is silent for as long as the route lets a stream live. Of gRPC Envoy writes that into `grpc-timeout`,
        // where nobody can tell it from a client's own.
        ("/upstream/lives/never", Plain, WithTheAnswer, FAILURE, "- max_duration_timeout", "504 none"),
        ("/upstream/lives/never", Grpc, WithTheAnswer, IGNORED, "- max_duration_timeout", "200 4"),
        ("/empty", Grpc, WithTheAnswer, FAILURE, "UH no_healthy_upstream", "200 14"),
        ("/bounded", Grpc, WithTheAnswer, IGNORED,
            "UO upstream_reset_before_response_started{overflow}", "200 14"),
        // Streams that the upstream resets.
        ("/upstream/reset-before", Plain, WithTheAnswer, FAILURE,
            "UR upstream_reset_before_response_started{remote_reset", "503 none"),
        ("/upstream/reset-before", Grpc, WithTheAnswer, FAILURE,
            "UR upstream_reset_before_response_started{remote_reset", "200 14"),
        ("/upstream/refuse", Plain, WithTheAnswer, FAILURE,
            "UR upstream_reset_before_response_started{remote_refused_stream_reset", "503 none"),
        ("/upstream/reset-after", Plain, WithTheAnswer, FAILURE,
            "UR upstream_reset_after_response_started{remote_reset", "200 reset"),
        ("/upstream/reset-after", Grpc, WithTheAnswer, FAILURE,
            "UR upstream_reset_after_response_started{remote_reset", "200 reset"),
        // Streams that the client resets.
        ("/upstream/stream/never", Plain, BeforeItsHead, IGNORED, "DR http2.remote_reset", "gone"),
        ("/upstream/stream/never", Grpc, BeforeItsHead, IGNORED, "DR http2.remote_reset", "gone"),
        ("/upstream/stream", Plain, InMidStream, SUCCESS, "DR http2.remote_reset", "200 gone"),
        ("/upstream/stream", Grpc, InMidStream, SUCCESS, "DR http2.remote_reset", "200 gone"),
    ]
}

fn ways(bootstrap: &mut Bootstrap, upstream: SocketAddr, refused: SocketAddr) -> Result<()> {
    watched(bootstrap)?;
    bootstrap.add_cluster("upstream", &[upstream])?["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        },
    });
    bootstrap.add_cluster("refused", &[refused])?;
    bootstrap.add_cluster("empty", &[])?;
    bootstrap.add_cluster("bounded", &[refused])?["circuit_breakers"] =
        json!({ "thresholds": [{ "max_requests": 0, "max_pending_requests": 0 }] });
    for cluster in ["upstream", "refused", "empty", "bounded"] {
        let mut route = forward(&format!("/api/v1/rag/{cluster}"), cluster);
        route["route"]["timeout"] = json!("0.4s");
        bootstrap.add_route(route)?;
    }
    let mut lives = forward("/api/v1/rag/upstream/lives", "upstream");
    lives["route"]["timeout"] = json!("0s");
    lives["route"]["max_stream_duration"] = json!({ "max_stream_duration": "0.4s" });
    bootstrap.add_route(lives)?;
    // Nobody else ends a stream that the client is to leave.
    let mut stream = forward("/api/v1/rag/upstream/stream", "upstream");
    stream["route"]["timeout"] = json!("0s");
    bootstrap.add_route(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_of_a_call_is_counted_once_and_as_what_it_was() -> Result<()> {
    let (_held, refused) = closed_port()?;
    let upstream = upstream().await?;
    let gateway = Gateway::with("circuit_breaker")
        .workers(4)
        .edit(|bootstrap| ways(bootstrap, upstream, refused))
        .start()
        .await?;
    let mut wrong = Vec::new();
    for (path, kind, leaves, expected, end, told) in rows() {
        let what = format!("{path} {kind:?} {leaves:?}");
        let before = Before::of(&gateway).await?;
        let path = format!("/api/v1/rag{path}");
        let answer = call(&gateway, &path, kind, leaves);
        let answer = timeout(PATIENCE, answer).await.context(what.clone())??;
        let seen = before
            .until_settled(&gateway, 1)
            .await
            .context(what.clone())?;
        if seen.counts != expected || !seen.ends[0].starts_with(end) || answer != told {
            wrong.push(format!("{what}: {answer}, {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// Makes a call over a connection of its own; gives back the HTTP status, and the gRPC status
/// wherever it stood.
async fn call(gateway: &Gateway, path: &str, kind: Kind, leaves: Leaves) -> Result<String> {
    let stream = TcpStream::connect(gateway.address()).await?;
    let (client, connection) = client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut client = client.ready().await?;
    let request = Request::post(gateway.url(path));
    let request = match kind {
        Kind::Grpc => request
            .header("content-type", "application/grpc")
            .header("te", "trailers"),
        Kind::Plain => request,
    };
    let (response, mut body) = client.send_request(request.body(())?, false)?;
    // An empty message: no compression, no length. The answer may be there already, and then nobody
    // wants it.
    let last = leaves != Leaves::StillSending;
    let _ = body.send_data(Bytes::from_static(b"\0\0\0\0\0"), last);
    if let Leaves::BeforeItsHead = leaves {
        until("the upstream to have the request", async || {
            let active = gateway
                .admin()
                .stat("cluster.upstream.upstream_rq_active")
                .await?;
            Ok(active > Some(0))
        })
        .await?;
        body.send_reset(Reason::CANCEL);
        return Ok("gone".to_owned());
    }
    let response = response.await?;
    let status = response.status().as_u16();
    let grpc = |headers: &HeaderMap| {
        let status = headers.get("grpc-status")?.to_str().ok()?;
        Some(status.to_owned())
    };
    let in_head = grpc(response.headers());
    let mut answer = response.into_body();
    let rest = async {
        while let Some(data) = answer.data().await {
            data?;
            if let Leaves::InMidStream = leaves {
                body.send_reset(Reason::CANCEL);
                return Ok(Some("gone".to_owned()));
            }
        }
        let trailers = answer.trailers().await?;
        Ok::<_, h2::Error>(trailers.as_ref().and_then(grpc))
    };
    Ok(match rest.await {
        Ok(in_trailers) => {
            let grpc = in_head.or(in_trailers).unwrap_or("none".to_owned());
            format!("{status} {grpc}")
        }
        Err(_) => format!("{status} reset"),
    })
}

/// An upstream that answers as the end of the path says.
async fn upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = server::handshake(stream).await?;
                while let Some(request) = connection.accept().await {
                    let (request, response) = request?;
                    let way = request.uri().path().rsplit('/').next().map(str::to_owned);
                    tokio::spawn(answer(way.unwrap_or_default(), response));
                }
                Ok::<_, h2::Error>(())
            });
        }
    });
    Ok(address)
}

async fn answer(way: String, mut response: SendResponse<Bytes>) -> Result<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    let message = Bytes::from_static(b"\0\0\0\0\0");
    match way.split_once('-').unwrap_or((&way, "")) {
        ("head", status) => {
            let head = head.header("grpc-status", status).body(())?;
            response.send_response(head, true)?;
        }
        // Of an early answer a reset follows, since nobody reads the request to its end.
        ("trailers" | "early", status) => {
            let mut body = response.send_response(head.body(())?, false)?;
            body.send_data(message, false)?;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", status.parse()?);
            body.send_trailers(trailers)?;
        }
        ("refuse", _) => response.send_reset(Reason::REFUSED_STREAM),
        ("reset", "before") => response.send_reset(Reason::INTERNAL_ERROR),
        ("reset", "after") => {
            let mut body = response.send_response(head.body(())?, false)?;
            body.send_data(message, false)?;
            // What has been sent is on its way before the reset, which would overtake it.
            tokio::time::sleep(Duration::from_millis(50)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        ("stream", _) => {
            let mut body = response.send_response(head.body(())?, false)?;
            body.send_data(message, false)?;
            std::future::pending::<()>().await;
        }
        // As long as the test lasts.
        _ => std::future::pending().await,
    }
    Ok(())
}
