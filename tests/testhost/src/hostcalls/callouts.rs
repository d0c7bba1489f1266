//! HTTP calls made by the filter.

use crate::Dialect;
use crate::callout::PendingCall;
use crate::guest::{Called, Guest};
use crate::headers;
use crate::log::LogLevel;
use crate::state::{BAD_ARGUMENT, INTERNAL_FAILURE, Phase, Refusal, SERIALIZATION_FAILURE};

pub(crate) fn http_call(
    guest: &mut Guest<'_>,
    upstream: (u32, u32),
    headers: (u32, u32),
    body: (u32, u32),
    timeout_ms: u32,
    token_at: u32,
) -> Called {
    let upstream = guest.read_text(upstream.0, upstream.1)?;
    let bytes = guest.read(headers.0, headers.1)?;
    let headers = headers::decode(&bytes).ok_or(Refusal::Status(SERIALIZATION_FAILURE))?;
    let body = guest.read(body.0, body.1)?;
    let dialect = guest.dialect();
    let state = guest.state();
    let (worker, instance, context, phase) =
        (state.worker, state.instance, state.context, state.phase);
    let may = matches!(
        phase,
        Phase::RequestHeaders | Phase::RequestBody | Phase::Tick | Phase::CallResponse
    );
    if dialect == Dialect::Kong && !may {
        return Err(Refusal::Trap(format!(
            "can't send HTTP dispatch in {phase:?}"
        )));
    }
    if dialect == Dialect::Kong && phase == Phase::CallResponse {
        return Err(Refusal::Crash(
            "HTTP dispatch while an answer is handed over: its connection is gone".to_owned(),
        ));
    }
    if dialect == Dialect::Envoy && !knows(guest, &upstream) {
        return Err(Refusal::Status(BAD_ARGUMENT));
    }
    let missing = [":method", ":path", ":authority"]
        .into_iter()
        .find(|needed| {
            !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(needed))
        });
    if let Some(missing) = missing {
        return Err(match dialect {
            Dialect::Envoy => Refusal::Status(BAD_ARGUMENT),
            Dialect::Kong => {
                guest.note(LogLevel::Error, format!("dispatch failed: no {missing}"));
                Refusal::Status(INTERNAL_FAILURE)
            }
        });
    }
    let shared = guest.shared();
    let token = shared.next_token;
    shared.next_token = token.wrapping_add(1).max(1);
    shared.pending.push(PendingCall {
        token,
        worker,
        context,
        upstream,
        headers,
        body,
        timeout_ms,
        instance,
    });
    guest.write_u32(token_at, token)
}

fn knows(guest: &mut Guest<'_>, cluster: &str) -> bool {
    let clusters = guest.shared().clusters.as_ref();
    clusters.is_none_or(|clusters| clusters.iter().any(|known| known == cluster))
}
