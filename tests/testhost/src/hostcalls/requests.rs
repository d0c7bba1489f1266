//! What a filter does with the request at hand: answer it, let it go on, ask for its properties.

use crate::Dialect;
use crate::guest::{Called, Guest};
use crate::headers;
use crate::local_reply::LocalReply;
use crate::log::LogLevel;
use crate::properties::{self, Property};
use crate::state::{BAD_ARGUMENT, NOT_FOUND, Phase, Refusal, SERIALIZATION_FAILURE, UNIMPLEMENTED};

const HTTP_REQUEST: u32 = 0;
const HTTP_RESPONSE: u32 = 1;

pub(crate) fn continue_stream(guest: &mut Guest<'_>, kind: u32) -> Called {
    let stream = guest.state().stream();
    match kind {
        HTTP_REQUEST => {
            if let Some(stream) = stream {
                stream.resumed = true;
                stream.request_open = false;
            }
            Ok(())
        }
        HTTP_RESPONSE => Ok(()),
        _ => Err(Refusal::Status(UNIMPLEMENTED)),
    }
}

pub(crate) fn send_local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: (u32, u32),
    body: (u32, u32),
    headers: (u32, u32),
    grpc_status: i32,
) -> Called {
    let details = guest.read_text(details.0, details.1)?;
    let body = guest.read(body.0, body.1)?;
    let bytes = guest.read(headers.0, headers.1)?;
    let headers = headers::decode(&bytes).ok_or(Refusal::Status(SERIALIZATION_FAILURE))?;
    let dialect = guest.dialect();
    let phase = guest.state().phase;
    let Some(stream) = guest.state().stream() else {
        return match dialect {
            Dialect::Envoy => Ok(()),
            Dialect::Kong => Err(Refusal::Crash(
                "local response outside of a request".to_owned(),
            )),
        };
    };
    if dialect == Dialect::Kong {
        if stream.response_started || matches!(phase, Phase::Log | Phase::Done | Phase::Delete) {
            return Err(Refusal::Trap("response already sent".to_owned()));
        }
        if stream.local_reply.is_some() {
            return Err(Refusal::Trap("local response already stashed".to_owned()));
        }
        if !(100..=999).contains(&status) {
            return Err(Refusal::Status(BAD_ARGUMENT));
        }
    }
    let reply = LocalReply {
        status,
        headers,
        body,
        details,
        // -1 says that there is none; Kong drops it either way.
        grpc_status: (grpc_status >= 0 && dialect == Dialect::Envoy).then_some(grpc_status),
    };
    // Of several replies in one callback Envoy sends the first.
    stream.local_reply.get_or_insert(reply);
    Ok(())
}

pub(crate) fn get_property(guest: &mut Guest<'_>, path: (u32, u32), out: (u32, u32)) -> Called {
    let path = dotted(guest.read_text(path.0, path.1)?);
    let dialect = guest.dialect();
    let phase = guest.state().phase;
    let root_id = guest.shared().root_id.clone();
    let own = match path.as_str() {
        "plugin_name" | "plugin_root_id" => Some(root_id.into_bytes()),
        "plugin_vm_id" if dialect == Dialect::Envoy => Some(Vec::new()),
        _ => None,
    };
    let found = match (own, guest.state().stream(), dialect) {
        (Some(value), Some(_), _) | (Some(value), None, Dialect::Envoy) => Property::Value(value),
        (None, Some(stream), _) => properties::of_stream(dialect, phase, stream, &path),
        (_, None, Dialect::Envoy) => Property::Unknown,
        (_, None, Dialect::Kong) => {
            return Err(Refusal::Crash(format!(
                "property \"{path}\" asked for in a root context"
            )));
        }
    };
    match found {
        Property::Value(value) => guest.give(&value, out.0, out.1),
        Property::Absent => Err(Refusal::Status(NOT_FOUND)),
        Property::Traps => Err(Refusal::Trap(format!("property \"{path}\" failed"))),
        Property::Crashes => Err(Refusal::Crash(format!(
            "property \"{path}\" asked for in {phase:?}"
        ))),
        Property::Unknown => {
            if dialect == Dialect::Kong {
                guest.note(
                    LogLevel::Error,
                    format!("\"{path}\" property not supported"),
                );
            }
            Err(Refusal::Status(NOT_FOUND))
        }
    }
}

pub(crate) fn set_property(guest: &mut Guest<'_>, path: (u32, u32), value: (u32, u32)) -> Called {
    let path = dotted(guest.read_text(path.0, path.1)?);
    let value = guest.read(value.0, value.1)?;
    let dialect = guest.dialect();
    let Some(stream) = guest.state().stream() else {
        return match dialect {
            Dialect::Envoy => Err(Refusal::Status(NOT_FOUND)),
            Dialect::Kong => Err(Refusal::Crash("property set in a root context".to_owned())),
        };
    };
    // Kong has no place for a property that neither it nor nginx knows.
    if dialect == Dialect::Kong && !path.starts_with("kong.") && !path.starts_with("ngx.") {
        return Err(Refusal::Status(NOT_FOUND));
    }
    stream.properties.insert(path, value);
    Ok(())
}

/// The ABI separates the parts of a path with zero bytes.
fn dotted(path: String) -> String {
    path.replace('\0', ".")
}
