//! Shared data, metrics, and the queues that are not there.

use crate::Dialect;
use crate::guest::{Called, Guest};
use crate::state::{CAS_MISMATCH, NOT_FOUND, Refusal, UNIMPLEMENTED};
use portcullis_sim::{SetResult, Zone};

/// Kong's bound for a metric's name, its own prefix included.
const KONG_MAX_METRIC_NAME: usize = 256;

pub(crate) fn get(guest: &mut Guest<'_>, key: (u32, u32), out: (u32, u32), cas_at: u32) -> Called {
    let key = guest.read(key.0, key.1)?;
    let zone = zone(guest)?;
    let (value, cas) = zone.filter_get(&key).ok_or(Refusal::Status(NOT_FOUND))?;
    guest.give(&value, out.0, out.1)?;
    guest.write_u32(cas_at, cas)
}

pub(crate) fn set(guest: &mut Guest<'_>, key: (u32, u32), value: (u32, u32), cas: u32) -> Called {
    let key = guest.read(key.0, key.1)?;
    let bytes = guest.read(value.0, value.1)?;
    let zone = zone(guest)?;
    // Kong takes a null value for a deletion; an empty one has an address.
    let result = if value == (0, 0) && zone.dialect() == Dialect::Kong {
        zone.filter_delete(&key, cas)
    } else {
        zone.filter_set(&key, &bytes, cas)
    };
    match result {
        SetResult::Stored => Ok(()),
        SetResult::CasMismatch => Err(Refusal::Status(CAS_MISMATCH)),
        SetResult::Full => Err(Refusal::Trap(
            "failed setting value to shm (could not write to slab)".to_owned(),
        )),
        SetResult::Overflow => Err(Refusal::Crash(
            "a value in shared data outgrew its slot and overwrote what lies behind it".to_owned(),
        )),
    }
}

pub(crate) fn define_metric(guest: &mut Guest<'_>, kind: u32, name: (u32, u32), at: u32) -> Called {
    let name = guest.read_text(name.0, name.1)?;
    if guest.dialect() == Dialect::Kong {
        let prefix = "pw..".len() + guest.shared().root_id.len();
        if prefix + name.len() > KONG_MAX_METRIC_NAME {
            return Err(Refusal::Trap(format!(
                "could not define metric: name too long: {name}"
            )));
        }
    }
    let id = guest
        .shared()
        .metrics
        .define(kind, &name)
        .map_err(Refusal::Status)?;
    guest.write_u32(at, id)
}

pub(crate) fn increment_metric(guest: &mut Guest<'_>, id: u32, by: i64) -> Called {
    guest
        .shared()
        .metrics
        .increment(id, by)
        .map_err(Refusal::Status)
}

pub(crate) fn record_metric(guest: &mut Guest<'_>, id: u32, value: u64) -> Called {
    guest
        .shared()
        .metrics
        .record(id, value)
        .map_err(Refusal::Status)
}

pub(crate) fn get_metric(guest: &mut Guest<'_>, id: u32, at: u32) -> Called {
    let value = guest.shared().metrics.get(id).map_err(Refusal::Status)?;
    guest.write_u64(at, value)
}

pub(crate) fn no_queue(guest: &mut Guest<'_>) -> Called {
    match guest.dialect() {
        Dialect::Envoy => Err(Refusal::Status(UNIMPLEMENTED)),
        Dialect::Kong => Err(Refusal::Trap("could not find queue".to_owned())),
    }
}

/// Kong without a zone configured traps on every use of shared data.
fn zone(guest: &mut Guest<'_>) -> Result<Zone, Refusal> {
    let zone = guest.shared().zone.clone();
    zone.ok_or_else(|| Refusal::Trap("shared data: could not resolve namespace".to_owned()))
}
