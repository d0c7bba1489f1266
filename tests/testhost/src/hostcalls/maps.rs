//! Header maps: which of them there are in which callback, and what may be done to them.

use crate::Dialect;
use crate::guest::{Called, Guest};
use crate::headers::{self, Headers};
use crate::log::LogLevel;
use crate::state::{BAD_ARGUMENT, NOT_FOUND, Phase, Refusal, SERIALIZATION_FAILURE};

const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;

/// Removing one of these where there is none takes the nginx worker down.
const KONG_FATAL_REMOVALS: [&str; 2] = ["cookie", "x-forwarded-for"];
/// These have a getter on Kong and no setter.
const KONG_READ_ONLY: [&str; 3] = [":authority", ":scheme", ":status"];

type Pairs = Vec<(String, Vec<u8>)>;

pub(crate) fn get_pairs(guest: &mut Guest<'_>, map: u32, out: (u32, u32)) -> Called {
    let Some((pairs, cut, overruns)) = readable(guest, map, |headers| {
        let (pairs, cut) = headers.pairs();
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        (owned.collect::<Pairs>(), cut, headers.overruns())
    })?
    else {
        // Envoy answers for a map that is not there with an empty one.
        return guest.give(&[], out.0, out.1);
    };
    if cut {
        let text = format!("marshalled map truncated to {} elements", pairs.len());
        guest.note(LogLevel::Warn, text);
    }
    if pairs.is_empty() && guest.dialect() == Dialect::Envoy {
        return guest.give(&[], out.0, out.1);
    }
    let borrowed: Vec<(&str, &[u8])> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    let encoded = headers::encode(&borrowed);
    if !overruns {
        return guest.give(&encoded, out.0, out.1);
    }
    let left_out: usize = (pairs.iter())
        .filter(|(name, _)| name.starts_with(':'))
        .take(3)
        .map(|(name, value)| headers::encoded_length(name, value))
        .sum();
    guest.give_past_the_end(&encoded, encoded.len() - left_out, out.0, out.1)
}

pub(crate) fn get_value(
    guest: &mut Guest<'_>,
    map: u32,
    key: (u32, u32),
    out: (u32, u32),
) -> Called {
    let key = guest.read_text(key.0, key.1)?;
    let found = readable(guest, map, |headers| headers.get(&key).map(<[u8]>::to_vec))?;
    // A missing map is a bad argument, a missing header is not; in the log callback both are just not found.
    let absent = if guest.state().phase == Phase::Log {
        NOT_FOUND
    } else {
        BAD_ARGUMENT
    };
    let value = found
        .ok_or(Refusal::Status(absent))?
        .ok_or(Refusal::Status(NOT_FOUND))?;
    guest.give(&value, out.0, out.1)
}

pub(crate) fn size(guest: &mut Guest<'_>, map: u32, at: u32) -> Called {
    if guest.dialect() == Dialect::Kong {
        return Err(Refusal::Trap(
            "proxy_get_header_map_size: host trap (not yet implemented)".to_owned(),
        ));
    }
    let size = readable(guest, map, |headers| {
        let (pairs, _) = headers.pairs();
        pairs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
    })?;
    let size = size.ok_or(Refusal::Status(BAD_ARGUMENT))?;
    guest.write_u32(at, u32::try_from(size).unwrap_or(u32::MAX))
}

pub(crate) fn replace(
    guest: &mut Guest<'_>,
    map: u32,
    key: (u32, u32),
    value: (u32, u32),
) -> Called {
    change_value(guest, map, key, value, Headers::replace)
}

pub(crate) fn add(guest: &mut Guest<'_>, map: u32, key: (u32, u32), value: (u32, u32)) -> Called {
    change_value(guest, map, key, value, Headers::add)
}

pub(crate) fn remove(guest: &mut Guest<'_>, map: u32, key: (u32, u32)) -> Called {
    let key = guest.read_text(key.0, key.1)?;
    let fatal = guest.dialect() == Dialect::Kong
        && map == REQUEST_HEADERS
        && KONG_FATAL_REMOVALS
            .iter()
            .any(|name| key.eq_ignore_ascii_case(name));
    let absent =
        fatal && readable(guest, map, |headers| headers.get(&key).is_none())?.unwrap_or(false);
    if absent {
        return Err(Refusal::Crash(format!(
            "removal of absent request header \"{key}\""
        )));
    }
    if refused_by_kong(guest, &key, &[]).is_err() {
        return Ok(());
    }
    change(guest, map, |headers| headers.remove(&key))
}

pub(crate) fn set_pairs(guest: &mut Guest<'_>, map: u32, pairs: (u32, u32)) -> Called {
    let bytes = guest.read(pairs.0, pairs.1)?;
    let pairs = headers::decode(&bytes).ok_or(Refusal::Status(SERIALIZATION_FAILURE))?;
    let kong = guest.dialect() == Dialect::Kong;
    if kong && map == REQUEST_HEADERS {
        return set_request_pairs_on_kong(guest, &pairs);
    }
    change(guest, map, |headers| {
        headers.clear();
        for (name, value) in &pairs {
            // Kong sets one by one, so that of duplicates the last one stays.
            if !kong {
                headers.add(name, value);
            } else if !KONG_READ_ONLY.contains(&name.as_str()) {
                headers.replace(name, value);
            }
        }
    })
}

/// `:scheme` stops it halfway, and nothing of what was there before goes.
fn set_request_pairs_on_kong(guest: &mut Guest<'_>, pairs: &Pairs) -> Called {
    change(guest, REQUEST_HEADERS, |headers| {
        for (name, value) in pairs.iter().take_while(|(name, _)| name != ":scheme") {
            if !KONG_READ_ONLY.contains(&name.as_str()) {
                headers.replace(name, value);
            }
        }
    })
}

fn change_value(
    guest: &mut Guest<'_>,
    map: u32,
    key: (u32, u32),
    value: (u32, u32),
    how: impl FnOnce(&mut Headers, &str, &[u8]),
) -> Called {
    let key = guest.read_text(key.0, key.1)?;
    let value = guest.read(value.0, value.1)?;
    match refused_by_kong(guest, &key, &value) {
        Ok(()) => change(guest, map, |headers| how(headers, &key, &value)),
        // Logged; the call itself says that all is well.
        Err(Refusal::Status(_)) => Ok(()),
        Err(trap) => Err(trap),
    }
}

/// What Kong does not let a filter write: a status if it only logs, a trap if it gives up.
fn refused_by_kong(guest: &mut Guest<'_>, key: &str, value: &[u8]) -> Called {
    if guest.dialect() == Dialect::Envoy {
        return Ok(());
    }
    if KONG_READ_ONLY.contains(&key) {
        guest.note(
            LogLevel::Error,
            format!("cannot set read-only \"{key}\" header"),
        );
        return Err(Refusal::Status(BAD_ARGUMENT));
    }
    if key == ":path" && value.contains(&b'?') {
        return Err(Refusal::Trap(
            "NYI - cannot set request path with querystring".to_owned(),
        ));
    }
    Ok(())
}

/// Reads a map; `None` if Envoy has none of that kind in this callback.
fn readable<T>(
    guest: &mut Guest<'_>,
    map: u32,
    read: impl FnOnce(&Headers) -> T,
) -> Result<Option<T>, Refusal> {
    let dialect = guest.dialect();
    let state = guest.state();
    let logging = state.phase == Phase::Log;
    if map == CALL_RESPONSE_HEADERS {
        return Ok(state.call_reply.as_ref().map(|seen| {
            let mut headers = Headers::new(dialect);
            for (name, value) in &seen.headers {
                headers.add(name, value);
            }
            read(&headers)
        }));
    }
    let stream = state.stream();
    match (map, stream, dialect) {
        (REQUEST_HEADERS, Some(stream), Dialect::Kong) => Ok(Some(read(&stream.request))),
        (RESPONSE_HEADERS, Some(stream), Dialect::Kong) => Ok(Some(read(&stream.response))),
        (REQUEST_HEADERS, Some(stream), Dialect::Envoy) if stream.request_open || logging => {
            Ok(Some(read(&stream.request)))
        }
        (RESPONSE_HEADERS, Some(stream), Dialect::Envoy)
            if stream.response_open || (logging && stream.response_started) =>
        {
            Ok(Some(read(&stream.response)))
        }
        (_, _, Dialect::Envoy) => Ok(None),
        (REQUEST_HEADERS | RESPONSE_HEADERS, None, Dialect::Kong) => {
            Err(Refusal::Crash("header map outside of a request".to_owned()))
        }
        (_, _, Dialect::Kong) => Err(Refusal::Trap(format!("NYI - get_map bad map_type: {map}"))),
    }
}

/// Changes a map, or does what the gateway does when it is too late for that.
fn change(guest: &mut Guest<'_>, map: u32, how: impl FnOnce(&mut Headers)) -> Called {
    let dialect = guest.dialect();
    let state = guest.state();
    let phase = state.phase;
    let Some(stream) = state.stream() else {
        return match dialect {
            Dialect::Envoy => Err(Refusal::Status(BAD_ARGUMENT)),
            Dialect::Kong => Err(Refusal::Crash("header map outside of a request".to_owned())),
        };
    };
    match (dialect, map) {
        (Dialect::Envoy, REQUEST_HEADERS) if stream.request_open => how(&mut stream.request),
        (Dialect::Envoy, RESPONSE_HEADERS) if stream.response_open => how(&mut stream.response),
        (Dialect::Envoy, _) => return Err(Refusal::Status(BAD_ARGUMENT)),
        (Dialect::Kong, REQUEST_HEADERS) if !stream.response_started => how(&mut stream.request),
        (Dialect::Kong, REQUEST_HEADERS) => {
            guest.note(
                LogLevel::Error,
                "cannot set request headers: response produced".to_owned(),
            );
        }
        (Dialect::Kong, RESPONSE_HEADERS)
            if !matches!(phase, Phase::Log | Phase::Done | Phase::Delete) =>
        {
            how(&mut stream.response);
        }
        (Dialect::Kong, RESPONSE_HEADERS) => {
            guest.note(
                LogLevel::Error,
                "cannot set response headers: headers already sent".to_owned(),
            );
        }
        (Dialect::Kong, _) => {
            return Err(Refusal::Trap(format!("NYI - set_map bad map_type: {map}")));
        }
    }
    Ok(())
}
