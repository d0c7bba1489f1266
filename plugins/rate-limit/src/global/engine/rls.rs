//! Envoy's rate limit service (`envoy.service.ratelimit.v3`, gRPC over HTTP/2).
//!
//! A withdrawal is its `hits_addend`. The service gives all of it or nothing, and counts it either way. One call is about one key:
//! services differ in whether descriptors of one call may have numbers of their own.

use portcullis_policy::{CallReply, Span};
use prost::Message;

use super::{Asked, Item, LONGEST_ANSWER, Unread, told_whole};
use crate::quota::{Spending, Told};
use crate::sizing::Sizing;
use crate::terms::Terms;

const PATH: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// `RateLimitRequest`
#[derive(Message)]
struct RateLimitRequest {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(message, repeated, tag = "2")]
    descriptors: Vec<RateLimitDescriptor>,
    #[prost(uint32, tag = "3")]
    hits_addend: u32,
}

/// `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`
#[derive(Message)]
struct RateLimitDescriptor {
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

/// `RateLimitResponse`
#[derive(Message)]
struct RateLimitResponse {
    #[prost(int32, tag = "1")]
    overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    statuses: Vec<DescriptorStatus>,
}

#[derive(Message)]
struct DescriptorStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(uint32, tag = "3")]
    limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    duration_until_reset: Option<Duration>,
}

/// `google.protobuf.Duration`
#[derive(Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

const OK: i32 = 1;
const OVER_LIMIT: i32 = 2;

/// A message's length stands before it, behind a byte that says that it is not compressed (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

pub(super) fn ask(domain: &str, item: &Item<'_>, sizing: &Sizing) -> Asked {
    let wanted = sizing.ask_whole(item.terms.quota, item.need, &item.spending);
    let entry = |key: &str, value: String| Entry {
        key: key.to_owned(),
        value,
    };
    let request = RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: vec![RateLimitDescriptor {
            entries: vec![
                entry("limit", item.terms.limit.clone()),
                entry("key", item.key.hex()),
            ],
        }],
        hits_addend: wanted.saturating_add(item.spending.debt),
    };
    let message = request.encode_to_vec();
    let mut body = vec![0];
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    body.extend(length.to_be_bytes());
    body.extend(message);
    Asked {
        path: PATH.to_owned(),
        headers: vec![("content-type", "application/grpc"), ("te", "trailers")],
        body,
        wanted: vec![wanted],
    }
}

pub(super) fn read(
    (terms, spending, wanted): &(Terms, Spending, u32),
    status: u16,
    reply: &dyn CallReply,
) -> Result<Told, Unread> {
    if status != 200 {
        return Err(Unread::Failed("status"));
    }
    let body = reply.body(LONGEST_ANSWER);
    let body = body.map_err(|_| Unread::Failed("body"))?;
    // An error comes without a message.
    let (Some(0), Some(message)) = (body.first(), body.get(PREFIX..)) else {
        return Err(Unread::Failed("grpc_status"));
    };
    let response =
        RateLimitResponse::decode(message).map_err(|_| Unread::Failed("not_understood"))?;
    let (granted, of_key) = match (response.overall_code, response.statuses.first()) {
        (OK, of_key) => (true, of_key),
        (OVER_LIMIT, of_key) => (false, of_key),
        _ => return Err(Unread::Failed("not_understood")),
    };
    // Without a limit of this name the service says yes to all.
    let of_key = of_key.filter(|of_key| of_key.code == OK || of_key.code == OVER_LIMIT);
    let of_key = of_key.ok_or(Unread::Failed("not_understood"))?;
    let reset = of_key.duration_until_reset.as_ref();
    let reset = reset.and_then(|reset| u64::try_from(reset.seconds).ok());
    let reset = reset.map(Span::from_secs);
    if granted && reset.is_none() {
        return Err(Unread::Failed("no_such_limit"));
    }
    let left = Some(of_key.limit_remaining);
    let told = told_whole(terms, spending, *wanted, granted, left, reset);
    // It counts what it refuses, too.
    Ok(Told {
        settled: spending.debt,
        ..told
    })
}
