//! What a path answers.

use std::future;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

/// How [`Answer::Huge`] begins and ends.
const HUGE: (&[u8], &[u8]) = (br#"{"keys":[{"kty":"RSA","kid":""#, br#""}]}"#);

/// What [`Answer::Huge`] is sent in.
const PIECE: usize = 16_384;

/// What a path answers, to any method.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 200 with this text, as `application/json`.
    Json(String),
    /// This status, without a body.
    Status(u16),
    /// 302 to this location.
    Redirect(String),
    /// The other answer, later.
    Slow(Duration, Box<Answer>),
    /// 200 with these bytes, as `application/json`.
    Garbage(Vec<u8>),
    /// 200 with so many bytes, as `application/json`. They are a key set with one key of a long name (unless too few
    /// for that, when its beginning), and their number is not announced.
    Huge(usize),
    /// 200, as `application/json`, with a length of one byte more than this text, after which the connection is closed.
    Cut(String),
    /// None. The connection stays open.
    Hang,
}

impl Answer {
    /// The response, as late as it is to be. One that can't be sent as HTTP becomes a 500 that says so.
    pub(crate) async fn response(self) -> Response<Body> {
        let mut answer = self;
        while let Self::Slow(delay, later) = answer {
            tokio::time::sleep(delay).await;
            answer = *later;
        }
        match answer {
            Self::Json(text) => json(Body::from(text)),
            Self::Garbage(bytes) => json(Body::from(bytes)),
            Self::Huge(length) => json(huge(length)),
            Self::Cut(text) => cut(text),
            Self::Status(code) => match StatusCode::from_u16(code) {
                // Those below 200 only announce another.
                Ok(status) if code >= 200 => with_status(status, Body::empty()),
                Ok(_) | Err(_) => unfit(format!("{code} is no status of a response")),
            },
            Self::Redirect(location) => match HeaderValue::from_str(&location) {
                Ok(value) => {
                    let mut response = with_status(StatusCode::FOUND, Body::empty());
                    response.headers_mut().insert(LOCATION, value);
                    response
                }
                Err(_) => unfit(format!("{location:?} is no value of a header")),
            },
            // The loop above leaves none of the first.
            Self::Slow(..) | Self::Hang => future::pending().await,
        }
    }
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn unfit(reason: String) -> Response<Body> {
    with_status(StatusCode::INTERNAL_SERVER_ERROR, Body::from(reason))
}

fn huge(length: usize) -> Body {
    let (begin, end) = HUGE;
    let begin = begin.get(..length).unwrap_or(begin);
    let rest = length.saturating_sub(begin.len());
    let end = if rest < end.len() { &[] } else { end };
    let name = rest.saturating_sub(end.len());
    // Piece by piece, so that a client who stops reading is not sent the rest.
    let pieces = stream::unfold(name, |left| async move {
        let piece = Bytes::from_static(&[b'a'; PIECE]).slice(..left.min(PIECE));
        let left = left.saturating_sub(piece.len());
        (!piece.is_empty()).then_some((piece, left))
    });
    let whole = stream::iter([Bytes::from_static(begin)])
        .chain(pieces)
        .chain(stream::iter([Bytes::from_static(end)]));
    Body::from_stream(whole.map(Ok::<_, io::Error>))
}

fn cut(text: String) -> Response<Body> {
    let announced = text.len().saturating_add(1);
    let part = stream::iter([Ok(Bytes::from(text))]);
    let end = stream::once(async {
        // Gives way once, for the server to flush what it has before it meets the error, upon which it closes.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    let mut response = json(Body::from_stream(part.chain(end)));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, announced.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(answer: Answer) -> Bytes {
        let body = answer.response().await.into_body();
        axum::body::to_bytes(body, usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn a_huge_answer_has_exactly_the_length_asked_for() {
        for length in [0, 1, 28, 29, 30, 33, 34, 100, PIECE, PIECE + 34, 100_000] {
            let body = body(Answer::Huge(length)).await;
            assert_eq!(body.len(), length);
            let known = length.min(HUGE.0.len());
            assert_eq!(body[..known], HUGE.0[..known]);
        }
    }

    #[tokio::test]
    async fn what_is_no_response_becomes_one_that_says_so() {
        for answer in [
            Answer::Status(99),
            Answer::Status(100),
            Answer::Status(1000),
            Answer::Redirect("\n".to_owned()),
        ] {
            let response = answer.clone().response().await;
            assert_eq!(response.status(), 500, "{answer:?}");
            assert!(!body(answer).await.is_empty());
        }
    }
}
