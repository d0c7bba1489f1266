//! Log, time, ticks, contexts and buffers.

use crate::Dialect;
use crate::guest::{Called, Guest};
use crate::log::{LogLevel, LogLine};
use crate::state::{BAD_ARGUMENT, NOT_FOUND, Phase, Refusal};

const HTTP_REQUEST_BODY: u32 = 0;
const HTTP_RESPONSE_BODY: u32 = 1;
const HTTP_CALL_RESPONSE_BODY: u32 = 4;
const VM_CONFIGURATION: u32 = 6;
const PLUGIN_CONFIGURATION: u32 = 7;

pub(crate) fn log(guest: &mut Guest<'_>, level: u32, text: (u32, u32)) -> Called {
    let text = guest.read_text(text.0, text.1)?;
    let level = LogLevel::from_abi(level).ok_or(Refusal::Status(BAD_ARGUMENT))?;
    let worker = guest.state().worker;
    guest.shared().logs.push(LogLine {
        level,
        text,
        worker,
        from_host: false,
    });
    Ok(())
}

/// As if the gateway logged from "info" on.
pub(crate) fn get_log_level(guest: &mut Guest<'_>, at: u32) -> Called {
    guest.write_u32(at, 2)
}

pub(crate) fn get_time(guest: &mut Guest<'_>, at: u32) -> Called {
    let now = guest.shared().clock;
    guest.write_u64(at, now)
}

/// Envoy sets the period again as often as it is told; Kong has one timer per root context and traps.
pub(crate) fn set_tick_period(guest: &mut Guest<'_>, period: u32) -> Called {
    let kong = guest.dialect() == Dialect::Kong;
    let state = guest.state();
    if kong && state.context != state.root {
        return Err(Refusal::Trap(
            "can only set tick_period in root context".to_owned(),
        ));
    }
    if kong && state.tick_ms != 0 {
        return Err(Refusal::Trap("tick_period already set".to_owned()));
    }
    state.tick_ms = period;
    Ok(())
}

/// Kong says yes and does nothing.
pub(crate) fn set_effective_context(guest: &mut Guest<'_>, id: u32) -> Called {
    if guest.dialect() == Dialect::Kong {
        return Ok(());
    }
    let state = guest.state();
    if id != state.root && !state.streams.contains_key(&id) {
        return Err(Refusal::Status(BAD_ARGUMENT));
    }
    state.context = id;
    Ok(())
}

pub(crate) fn get_buffer(
    guest: &mut Guest<'_>,
    kind: u32,
    start: u32,
    max: u32,
    out: (u32, u32),
) -> Called {
    let dialect = guest.dialect();
    let state = guest.state();
    let bytes = match kind {
        VM_CONFIGURATION => Vec::new(),
        // Envoy shows the configuration while it configures, and not before or after.
        PLUGIN_CONFIGURATION if dialect == Dialect::Kong || state.phase == Phase::Configure => {
            state.configuration.to_vec()
        }
        HTTP_CALL_RESPONSE_BODY if state.call_reply.is_some() => state
            .call_reply
            .as_ref()
            .map(|seen| seen.body.clone())
            .unwrap_or_default(),
        // What was kept of it while the filter held it back is shown with what has come.
        HTTP_REQUEST_BODY if dialect == Dialect::Envoy => match state.stream() {
            Some(stream) => stream.request_body.clone(),
            None => return Err(Refusal::Status(NOT_FOUND)),
        },
        HTTP_RESPONSE_BODY if dialect == Dialect::Envoy => match state.stream() {
            Some(stream) => stream.response_body.clone(),
            None => return Err(Refusal::Status(NOT_FOUND)),
        },
        HTTP_RESPONSE_BODY | HTTP_CALL_RESPONSE_BODY if dialect == Dialect::Kong => {
            return Err(Refusal::Trap(format!(
                "can't get buffer {kind} in this phase"
            )));
        }
        HTTP_REQUEST_BODY if dialect == Dialect::Kong => return Err(Refusal::Status(NOT_FOUND)),
        _ if dialect == Dialect::Kong => return Err(Refusal::Status(BAD_ARGUMENT)),
        _ => return Err(Refusal::Status(NOT_FOUND)),
    };
    let start = start as usize;
    let end = start.saturating_add(max as usize).min(bytes.len());
    match bytes.get(start..end) {
        // The outputs stay as they were: the SDKs read that as no buffer.
        None | Some([]) => Ok(()),
        Some(part) => guest.give(part, out.0, out.1),
    }
}

/// As Envoy does it: at a body's begin it takes so many bytes away and puts others there, at its end it adds to it, and in
/// between it can do nothing.
pub(crate) fn set_buffer(
    guest: &mut Guest<'_>,
    kind: u32,
    start: u32,
    size: u32,
    value: (u32, u32),
) -> Called {
    let value = guest.read(value.0, value.1)?;
    if guest.dialect() == Dialect::Kong {
        return Err(Refusal::Trap(format!(
            "can't set buffer {kind} in this phase"
        )));
    }
    let body = match (kind, guest.state().stream()) {
        (HTTP_REQUEST_BODY, Some(stream)) => &mut stream.request_body,
        (HTTP_RESPONSE_BODY, Some(stream)) => &mut stream.response_body,
        _ => return Err(Refusal::Status(NOT_FOUND)),
    };
    match start as usize {
        0 => {
            let gone = (size as usize).min(body.len());
            body.splice(..gone, value);
        }
        start if start >= body.len() => body.extend(value),
        _ => return Err(Refusal::Status(BAD_ARGUMENT)),
    }
    Ok(())
}
