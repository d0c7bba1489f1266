//! Makes requests fail, as asked by the fault in force or by the request itself.

use std::io::{self, Write as _};

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::app::App;
use crate::connection::{Cut, Line};
use crate::fault::{Fault, FaultKind, InvalidFault};
use crate::problem::Problem;

/// Asks for a fault for one request; heeded only when test routes are enabled.
const HEADER: &str = "x-demo-fault";

/// Middleware: lets the request fail, or pass when nothing is wrong with it.
pub(crate) async fn inject(
    State(app): State<App>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
    next: Next,
) -> Response {
    let fault = match asked(&app, request.headers()) {
        Ok(Some(fault)) => Some(fault),
        Ok(None) => app.0.faults.take(request.uri().path()),
        Err(invalid) => return Problem::invalid(format!("{HEADER}: {invalid}")).into_response(),
    };
    let Some(fault) = fault else {
        return next.run(request).await;
    };
    if !fault.wait().is_zero() {
        tokio::time::sleep(fault.wait()).await;
    }
    match fault.kind() {
        FaultKind::Status(status) => answer(status),
        FaultKind::Delay => next.run(request).await,
        FaultKind::BreakOff => break_off(next.run(request).await, line),
        FaultKind::Gzip => gzip(next.run(request).await),
        FaultKind::Drop => reset(&line),
        FaultKind::BlackHole => {
            // Ends earlier only if the client hangs up, by which this future is dropped.
            app.0.stopping.wait().await;
            reset(&line)
        }
    }
}

fn asked(app: &App, headers: &HeaderMap) -> Result<Option<Fault>, InvalidFault> {
    match headers.get(HEADER) {
        Some(value) if app.0.test_routes => {
            String::from_utf8_lossy(value.as_bytes()).parse().map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// These three have no body, so one must not be announced (RFC 9110, sections 8.6, 15.3.5, 15.3.6 and 15.4.5).
fn answer(status: StatusCode) -> Response {
    match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            status.into_response()
        }
        _ => Problem::new(status, "fault", "this answer was asked for").into_response(),
    }
}

/// Cuts the line. The server wants a response in return; it never gets onto the wire.
fn reset(line: &Line) -> Response {
    line.cut(Cut::Reset);
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// Sends the head and a part of the body, then cuts the line.
///
/// A body of known length is announced in full and halved. Of a stream, the first piece is sent.
fn break_off(response: Response, line: Line) -> Response {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact();
    if let Some(length) = length {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    let part = body
        .into_data_stream()
        .take(1)
        .map_err(io::Error::other)
        .map_ok(move |piece: Bytes| match length {
            Some(_) => piece.slice(..piece.len() / 2),
            None => piece,
        });
    let end = stream::once(async move {
        // Gives way once, for the server to flush what it has before it meets the error.
        tokio::task::yield_now().await;
        line.cut(Cut::Close);
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Response::from_parts(parts, Body::from_stream(part.chain(end)))
}

/// Compresses the body piece by piece, so that of a stream each comes when it is its turn.
fn gzip(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let encoder = GzEncoder::new(Vec::new(), Compression::default());
    let left = Some((body.into_data_stream(), encoder));
    let compressed = stream::unfold(left, async |left| {
        let (mut body, mut encoder) = left?;
        match body.next().await {
            Some(Ok(piece)) => {
                let written = encoder.write_all(&piece).and_then(|()| encoder.flush());
                let piece = written.map(|()| Bytes::from(std::mem::take(encoder.get_mut())));
                Some((piece, Some((body, encoder))))
            }
            Some(Err(error)) => Some((Err(io::Error::other(error)), None)),
            None => Some((encoder.finish().map(Bytes::from), None)),
        }
    });
    Response::from_parts(parts, Body::from_stream(compressed))
}
