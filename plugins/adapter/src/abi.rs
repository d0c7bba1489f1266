//! The host calls of proxy-wasm ABI 0.2.1 that the filters make. The only unsafe code.
//!
//! All of them exist on both hosts. A status other than Ok is returned, never panicked about.

use std::ptr::null_mut;

use portcullis_driver::Severity;

/// A status of the host other than Ok (proxy-wasm ABI 0.2.1, `proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status(u32);

impl Status {
    pub(crate) const NOT_FOUND: Self = Self(1);
    pub(crate) const BAD_ARGUMENT: Self = Self(2);
    pub(crate) const CAS_MISMATCH: Self = Self(8);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    CallResponse = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
}

/// A body that is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Request = 0,
    Response = 1,
}

const CALL_RESPONSE_BODY: u32 = 4;
const REQUEST_STREAM: u32 = 0;
const PLUGIN_CONFIGURATION: u32 = 7;

pub(crate) fn log(severity: Severity, line: &str) {
    let level = match severity {
        Severity::Info => 2,
        Severity::Warn => 3,
        Severity::Error => 4,
    };
    // A line that the host does not take is lost; there is nowhere else to say so.
    let _ = unsafe { imports::proxy_log(level, line.as_ptr(), line.len()) };
}

pub(crate) fn time_nanos() -> Result<u64, Status> {
    let mut nanos = 0;
    check(unsafe { imports::proxy_get_current_time_nanoseconds(&mut nanos) })?;
    Ok(nanos)
}

pub(crate) fn random(bytes: &mut [u8]) -> bool {
    unsafe { imports::random_get(bytes.as_mut_ptr(), bytes.len()) == 0 }
}

/// Time that nobody sets, in nanoseconds; `None` where the host does not tell.
pub(crate) fn monotonic_nanos() -> Option<u64> {
    const MONOTONIC: u32 = 1;
    let mut nanos = 0;
    let told = unsafe { imports::clock_time_get(MONOTONIC, 1, &mut nanos) };
    (told == 0).then_some(nanos)
}

/// Whether the host knows the standard output as a descriptor.
pub(crate) fn knows_stdout() -> bool {
    const STDOUT: u32 = 1;
    // `fdstat` of WASI preview 1: 24 bytes, aligned to 8.
    let mut stat = [0_u64; 3];
    unsafe { imports::fd_fdstat_get(STDOUT, stat.as_mut_ptr()) == 0 }
}

pub(crate) fn set_tick_period(millis: u32) -> Result<(), Status> {
    check(unsafe { imports::proxy_set_tick_period_milliseconds(millis) })
}

pub(crate) fn plugin_configuration(size: usize) -> Result<Vec<u8>, Status> {
    if size == 0 {
        return Ok(Vec::new());
    }
    returned(|data, length| unsafe {
        imports::proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, length)
    })
}

/// What follows in this callback is about that stream.
pub(crate) fn set_effective_context(context: u32) -> Result<(), Status> {
    check(unsafe { imports::proxy_set_effective_context(context) })
}

/// Lets the request at hand go on.
pub(crate) fn continue_request() -> Result<(), Status> {
    check(unsafe { imports::proxy_continue_stream(REQUEST_STREAM) })
}

/// Starts an HTTP call without trailers; its token comes back with the answer.
pub(crate) fn http_call(
    upstream: &str,
    headers: &[u8],
    body: &[u8],
    timeout_millis: u32,
) -> Result<u32, Status> {
    /// An encoded list of headers with none in it.
    const NO_TRAILERS: [u8; 4] = [0; 4];
    let mut token = 0;
    check(unsafe {
        imports::proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            NO_TRAILERS.as_ptr(),
            NO_TRAILERS.len(),
            timeout_millis,
            &mut token,
        )
    })?;
    Ok(token)
}

pub(crate) fn call_response_body(size: usize) -> Result<Vec<u8>, Status> {
    if size == 0 {
        return Ok(Vec::new());
    }
    returned(|data, length| unsafe {
        imports::proxy_get_buffer_bytes(CALL_RESPONSE_BODY, 0, size, data, length)
    })
}

/// Hands over the bytes of a body from `from` on, of `size` in all, piece by piece: however long it is, no more than a piece is
/// kept here.
pub(crate) fn body(
    body: Body,
    from: usize,
    size: usize,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), Status> {
    const PIECE: usize = 64 * 1024;
    let mut at = from;
    while at < size {
        let length = size.saturating_sub(at).min(PIECE);
        let piece = returned(|data, returned| unsafe {
            imports::proxy_get_buffer_bytes(body as u32, at, length, data, returned)
        })?;
        if piece.is_empty() {
            return Err(Status::NOT_FOUND);
        }
        take(&piece);
        at = at.saturating_add(piece.len());
    }
    Ok(())
}

/// Puts other bytes in the place of the first `length` of a body that is at hand.
pub(crate) fn replace_begin(body: Body, length: usize, with: &[u8]) -> Result<(), Status> {
    check(unsafe {
        imports::proxy_set_buffer_bytes(body as u32, 0, length, with.as_ptr(), with.len())
    })
}

pub(crate) fn header_pairs(map: Map) -> Result<Vec<u8>, Status> {
    returned(|data, size| unsafe { imports::proxy_get_header_map_pairs(map as u32, data, size) })
}

pub(crate) fn set_header_pairs(map: Map, pairs: &[u8]) -> Result<(), Status> {
    check(unsafe { imports::proxy_set_header_map_pairs(map as u32, pairs.as_ptr(), pairs.len()) })
}

pub(crate) fn header(map: Map, name: &str) -> Result<Vec<u8>, Status> {
    returned(|data, size| unsafe {
        imports::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    })
}

pub(crate) fn replace_header(map: Map, name: &str, value: &[u8]) -> Result<(), Status> {
    check(unsafe {
        imports::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

pub(crate) fn remove_header(map: Map, name: &str) -> Result<(), Status> {
    check(unsafe { imports::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// `path`: the property's parts, each ended by a NUL but for the last.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, Status> {
    returned(|data, size| unsafe {
        imports::proxy_get_property(path.as_ptr(), path.len(), data, size)
    })
}

pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Status> {
    let mut cas = 0;
    let bytes = returned(|data, size| unsafe {
        imports::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas)
    })?;
    Ok((bytes, cas))
}

pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), Status> {
    check(unsafe {
        imports::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas)
    })
}

pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    headers: &[u8],
    body: &str,
    grpc_status: Option<u8>,
) -> Result<(), Status> {
    const NO_GRPC: i32 = -1;
    check(unsafe {
        imports::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(NO_GRPC, i32::from),
        )
    })
}

pub(crate) fn define_metric(kind: MetricType, name: &str) -> Result<u32, Status> {
    let mut id = 0;
    check(unsafe {
        imports::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id)
    })?;
    Ok(id)
}

pub(crate) fn increment_metric(id: u32, by: u32) -> Result<(), Status> {
    check(unsafe { imports::proxy_increment_metric(id, i64::from(by)) })
}

pub(crate) fn record_metric(id: u32, value: u64) -> Result<(), Status> {
    check(unsafe { imports::proxy_record_metric(id, value) })
}

fn check(status: u32) -> Result<(), Status> {
    if status == 0 {
        Ok(())
    } else {
        Err(Status(status))
    }
}

/// Takes over what the host returned in memory that it had allocated in the module.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Status> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    check(call(&mut data, &mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host got `data` from `proxy_on_memory_allocate(size)` of the SDK, which leaks a
    // boxed slice of exactly `size` bytes, and has filled it.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, line: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(nanos: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(millis: u32) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            most: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_buffer_bytes(
            buffer: u32,
            start: usize,
            length: usize,
            data: *const u8,
            size: usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(
            map: u32,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_header_map_pairs(map: u32, data: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            cas: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            cas: u32,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_http_call(
            upstream: *const u8,
            upstream_size: usize,
            headers: *const u8,
            headers_size: usize,
            body: *const u8,
            body_size: usize,
            trailers: *const u8,
            trailers_size: usize,
            timeout_millis: u32,
            token: *mut u32,
        ) -> u32;
        pub(super) fn proxy_define_metric(
            kind: u32,
            name: *const u8,
            name_size: usize,
            id: *mut u32,
        ) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn random_get(data: *mut u8, size: usize) -> u16;
        pub(super) fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u16;
        pub(super) fn fd_fdstat_get(descriptor: u32, stat: *mut u64) -> u16;
    }
}

/// Without a host every call fails, so that what does not call one can be tested natively.
#[cfg(not(target_arch = "wasm32"))]
#[expect(clippy::too_many_arguments, reason = "the ABI has as many")]
mod imports {
    macro_rules! no_host {
        ($($name:ident($($kind:ty),*) -> $status:ty;)*) => {
            $(pub(super) unsafe fn $name($(_: $kind),*) -> $status { 12 })*
        };
    }
    no_host! {
        proxy_log(u32, *const u8, usize) -> u32;
        proxy_get_current_time_nanoseconds(*mut u64) -> u32;
        proxy_set_tick_period_milliseconds(u32) -> u32;
        proxy_set_effective_context(u32) -> u32;
        proxy_continue_stream(u32) -> u32;
        proxy_get_buffer_bytes(u32, usize, usize, *mut *mut u8, *mut usize) -> u32;
        proxy_set_buffer_bytes(u32, usize, usize, *const u8, usize) -> u32;
        proxy_get_header_map_pairs(u32, *mut *mut u8, *mut usize) -> u32;
        proxy_set_header_map_pairs(u32, *const u8, usize) -> u32;
        proxy_get_header_map_value(u32, *const u8, usize, *mut *mut u8, *mut usize) -> u32;
        proxy_replace_header_map_value(u32, *const u8, usize, *const u8, usize) -> u32;
        proxy_remove_header_map_value(u32, *const u8, usize) -> u32;
        proxy_get_property(*const u8, usize, *mut *mut u8, *mut usize) -> u32;
        proxy_get_shared_data(*const u8, usize, *mut *mut u8, *mut usize, *mut u32) -> u32;
        proxy_set_shared_data(*const u8, usize, *const u8, usize, u32) -> u32;
        proxy_send_local_response(u32, *const u8, usize, *const u8, usize, *const u8, usize, i32) -> u32;
        proxy_http_call(*const u8, usize, *const u8, usize, *const u8, usize, *const u8, usize, u32, *mut u32) -> u32;
        proxy_define_metric(u32, *const u8, usize, *mut u32) -> u32;
        proxy_increment_metric(u32, i64) -> u32;
        proxy_record_metric(u32, u64) -> u32;
        random_get(*mut u8, usize) -> u16;
        clock_time_get(u32, u64, *mut u64) -> u16;
        fd_fdstat_get(u32, *mut u64) -> u16;
    }
}
