//! Envoy's functions.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::slice;

use portcullis_native::abi::{
    Attribute, Body, Buffer, Callbacks, ConfigPtr, FilterPtr, HeaderLine, Map, SUCCESS, Scheduler,
};

use crate::config::{Config, FilterPtrOfAnyThread, Raised};
use crate::stream::{Inner, Reply, text};
use crate::{Header, log};

pub(crate) fn all() -> Callbacks {
    Callbacks {
        log: put_line,
        log_enabled: is_enabled,
        http_filter_config_define_counter: define,
        http_filter_config_define_gauge: define,
        http_filter_config_increment_counter: increment,
        http_filter_config_set_gauge: set_gauge,
        http_filter_config_http_callout: call,
        http_filter_config_scheduler_new: config_scheduler,
        http_filter_config_scheduler_commit: raise,
        http_filter_config_scheduler_delete: forget,
        http_filter_scheduler_new: stream_scheduler,
        http_filter_scheduler_commit: raise,
        http_filter_scheduler_delete: forget,
        http_get_headers_size: header_count,
        http_get_headers: headers,
        http_get_header: header,
        http_set_header: set_header,
        http_add_header: add_header,
        http_get_body_size: body_size,
        http_get_body_chunks_size: body_chunk_count,
        http_get_body_chunks: body_chunks,
        http_received_buffered_request_body: receives_what_was_kept,
        http_append_body: append_body,
        http_drain_body: drain_body,
        http_send_response: send_response,
        http_set_dynamic_metadata_string: tell,
        http_filter_get_attribute_string: attribute,
        http_filter_get_attribute_int: attribute_number,
        http_filter_continue_decoding: go_on,
        http_clear_route_cache: choose_route_anew,
        get_most_specific_route_config: route_config,
    }
}

thread_local! {
    static CALLS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// How often each function was called for a stream, on this thread since this was last asked.
pub(crate) fn take_calls() -> BTreeMap<&'static str, u64> {
    CALLS.take()
}

fn note(name: &'static str) {
    CALLS.with_borrow_mut(|calls| *calls.entry(name).or_default() += 1);
}

unsafe extern "C" fn put_line(_: u32, line: Buffer) {
    // SAFETY: it lives until this returns.
    log::put(unsafe { line.bytes() });
}

unsafe extern "C" fn is_enabled(_: u32) -> bool {
    true
}

unsafe fn texts(at: *const Buffer, count: usize) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: by the caller.
    let buffers = unsafe { slice::from_raw_parts(at, count) };
    buffers.iter().copied().map(text).collect()
}

unsafe fn pairs(at: *const HeaderLine, count: usize) -> Vec<Header> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: by the caller.
    let lines = unsafe { slice::from_raw_parts(at, count) };
    let pair = |line: &HeaderLine| {
        // SAFETY: by the caller.
        let (name, value) = unsafe { line.pair() };
        (String::from_utf8_lossy(name).into_owned(), value.to_vec())
    };
    lines.iter().map(pair).collect()
}

unsafe extern "C" fn define(
    config: ConfigPtr,
    name: Buffer,
    labels: *const Buffer,
    count: usize,
    id: *mut usize,
) -> u32 {
    // SAFETY: as the ABI says.
    unsafe { *id = Config::at(config).define(text(name), texts(labels, count)) };
    SUCCESS
}

/// Changes a metric's value.
///
/// # Safety
/// As the ABI says.
unsafe fn change(
    config: ConfigPtr,
    id: usize,
    values: *const Buffer,
    count: usize,
    change: impl FnOnce(&mut u64),
) -> u32 {
    // SAFETY: by the caller.
    let (config, values) = unsafe { (Config::at(config), texts(values, count)) };
    match config.value(id, &values) {
        Some(value) => {
            change(value);
            SUCCESS
        }
        None => 2,
    }
}

unsafe extern "C" fn increment(
    config: ConfigPtr,
    id: usize,
    values: *const Buffer,
    count: usize,
    by: u64,
) -> u32 {
    // SAFETY: as the ABI says.
    unsafe { change(config, id, values, count, |value| *value += by) }
}

unsafe extern "C" fn set_gauge(
    config: ConfigPtr,
    id: usize,
    values: *const Buffer,
    count: usize,
    to: u64,
) -> u32 {
    // SAFETY: as the ABI says.
    unsafe { change(config, id, values, count, |value| *value = to) }
}

unsafe extern "C" fn call(
    config: ConfigPtr,
    id: *mut u64,
    cluster: Buffer,
    headers: *const HeaderLine,
    count: usize,
    _: Buffer,
    _: u64,
) -> u32 {
    // SAFETY: as the ABI says.
    let (config, pairs) = unsafe { (Config::at(config), pairs(headers, count)) };
    let headers: BTreeMap<_, _> = pairs
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
        .collect();
    if ![":method", ":path", "host"]
        .iter()
        .all(|name| headers.contains_key(*name))
    {
        return 1;
    }
    // SAFETY: as the ABI says.
    unsafe { *id = config.call(text(cluster), headers) };
    SUCCESS
}

/// What raises events: of the configuration, or of a stream.
struct Raising {
    raised: Raised,
    stream: Option<FilterPtrOfAnyThread>,
}

unsafe extern "C" fn config_scheduler(config: ConfigPtr) -> Scheduler {
    // SAFETY: as the ABI says.
    let raised = unsafe { Config::at(config) }.raised.clone();
    Box::into_raw(Box::new(Raising {
        raised,
        stream: None,
    }))
    .cast()
}

unsafe extern "C" fn stream_scheduler(filter: FilterPtr) -> Scheduler {
    note("http_filter_scheduler_new");
    // SAFETY: as the ABI says.
    let raised = unsafe { Inner::at(filter) }.raised.clone();
    Box::into_raw(Box::new(Raising {
        raised,
        stream: Some(FilterPtrOfAnyThread(filter)),
    }))
    .cast()
}

unsafe extern "C" fn raise(scheduler: Scheduler, event: u64) {
    // SAFETY: as the ABI says.
    let raising = unsafe { &*scheduler.cast::<Raising>() };
    let mut raised = raising.raised.lock().unwrap();
    match raising.stream {
        None => raised.0.push_back(event),
        Some(stream) => raised.1.push(stream),
    }
}

unsafe extern "C" fn forget(scheduler: Scheduler) {
    // SAFETY: as the ABI says.
    drop(unsafe { Box::from_raw(scheduler.cast::<Raising>()) });
}

fn map(stream: &mut Inner, map: u32) -> &mut Vec<Header> {
    match map {
        known if known == Map::Request as u32 => &mut stream.request,
        known if known == Map::Response as u32 => &mut stream.response,
        _ => &mut stream.trailers,
    }
}

unsafe extern "C" fn header_count(filter: FilterPtr, of: u32) -> usize {
    note("http_get_headers_size");
    // SAFETY: as the ABI says.
    map(unsafe { Inner::at(filter) }, of).len()
}

unsafe extern "C" fn headers(filter: FilterPtr, of: u32, to: *mut HeaderLine) -> bool {
    note("http_get_headers");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    if (stream.fails)("headers") {
        return false;
    }
    for (index, (name, value)) in map(stream, of).iter().enumerate() {
        // SAFETY: there is room for all of them.
        unsafe { to.add(index).write(HeaderLine::of(name.as_bytes(), value)) };
    }
    true
}

unsafe extern "C" fn header(
    filter: FilterPtr,
    of: u32,
    name: Buffer,
    found: *mut Buffer,
    index: usize,
    count: *mut usize,
) -> bool {
    note("http_get_header");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    let name = text(name);
    let values: Vec<_> = map(stream, of)
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(&name))
        .map(|(_, value)| value)
        .collect();
    let value = values
        .get(index)
        .map_or(Buffer::NULL, |value| Buffer::of(value));
    // SAFETY: as the ABI says.
    unsafe {
        *found = value;
        if !count.is_null() {
            *count = values.len();
        }
    }
    values.len() > index
}

unsafe extern "C" fn set_header(filter: FilterPtr, of: u32, name: Buffer, value: Buffer) -> bool {
    note("http_set_header");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    let name = text(name);
    if (stream.fails)(&name) {
        return false;
    }
    let all = map(stream, of);
    all.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
    if !value.at.is_null() {
        // SAFETY: as the ABI says.
        all.push((name, unsafe { value.bytes() }.to_vec()));
    }
    true
}

unsafe extern "C" fn add_header(filter: FilterPtr, of: u32, name: Buffer, value: Buffer) -> bool {
    note("http_add_header");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    let name = text(name);
    if (stream.fails)(&name) {
        return false;
    }
    // SAFETY: as the ABI says.
    map(stream, of).push((name, unsafe { value.bytes() }.to_vec()));
    true
}

unsafe extern "C" fn send_response(
    filter: FilterPtr,
    status: u32,
    lines: *const HeaderLine,
    count: usize,
    body: Buffer,
    details: Buffer,
) {
    note("http_send_response");
    // SAFETY: as the ABI says.
    let (stream, mut headers) = unsafe { (Inner::at(filter), pairs(lines, count)) };
    let is_grpc = stream
        .request
        .iter()
        .any(|(name, value)| name == "content-type" && value.starts_with(b"application/grpc"));
    // SAFETY: as the ABI says.
    let mut body = unsafe { body.bytes() }.to_vec();
    let mut status = u16::try_from(status).expect("a status");
    if is_grpc {
        // What the filter sets stays; Envoy's own guess at a status is not modelled.
        headers.push(("content-type".to_owned(), b"application/grpc".to_vec()));
        headers.push(("grpc-message".to_owned(), std::mem::take(&mut body)));
        status = 200;
    }
    stream.reply = Some(Reply {
        status,
        headers,
        body,
        details: text(details),
    });
}

/// A body in two slices, as Envoy may have it.
fn slices(stream: &Inner, of: u32) -> Vec<&[u8]> {
    let body = match of {
        known if known == Body::ReceivedRequest as u32 => &stream.request_body[1],
        known if known == Body::BufferedRequest as u32 => &stream.request_body[0],
        _ => &stream.response_body,
    };
    let (first, second) = body.split_at(body.len() / 2);
    let slices = [first, second].into_iter();
    slices.filter(|slice| !slice.is_empty()).collect()
}

unsafe extern "C" fn receives_what_was_kept(_: FilterPtr) -> bool {
    false
}

unsafe extern "C" fn body_size(filter: FilterPtr, of: u32) -> usize {
    note("http_get_body_size");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    slices(stream, of).into_iter().map(<[u8]>::len).sum()
}

unsafe extern "C" fn body_chunk_count(filter: FilterPtr, of: u32) -> usize {
    note("http_get_body_chunks_size");
    // SAFETY: as the ABI says.
    slices(unsafe { Inner::at(filter) }, of).len()
}

unsafe extern "C" fn body_chunks(filter: FilterPtr, of: u32, found: *mut Buffer) -> bool {
    note("http_get_body_chunks");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    if (stream.fails)("body") {
        return false;
    }
    for (index, slice) in slices(stream, of).into_iter().enumerate() {
        // SAFETY: there is room for as many as there are.
        unsafe { found.add(index).write(Buffer::of(slice)) };
    }
    true
}

/// The body of that kind, where there is one to change.
fn body_at(stream: &mut Inner, of: u32) -> &mut Vec<u8> {
    match of {
        known if known == Body::ReceivedRequest as u32 => &mut stream.request_body[1],
        known if known == Body::BufferedRequest as u32 => &mut stream.request_body[0],
        _ => &mut stream.response_body,
    }
}

unsafe extern "C" fn append_body(filter: FilterPtr, of: u32, bytes: Buffer) -> bool {
    note("http_append_body");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    if (stream.fails)("body") {
        return false;
    }
    // SAFETY: they live until this returns.
    body_at(stream, of).extend_from_slice(unsafe { bytes.bytes() });
    true
}

unsafe extern "C" fn drain_body(filter: FilterPtr, of: u32, bytes: usize) -> bool {
    note("http_drain_body");
    // SAFETY: as the ABI says.
    let body = body_at(unsafe { Inner::at(filter) }, of);
    body.drain(..bytes.min(body.len()));
    true
}

unsafe extern "C" fn attribute(filter: FilterPtr, id: u32, found: *mut Buffer) -> bool {
    note("http_filter_get_attribute_string");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    let value = match id {
        known if known == Attribute::SourceAddress as u32 => Some(&*stream.peer),
        known if known == Attribute::XdsRouteName as u32 => Some(&*stream.route),
        known if known == Attribute::ResponseCodeDetails as u32 => stream.details.as_deref(),
        known if known == Attribute::UpstreamAddress as u32 => stream.upstream,
        _ => None,
    };
    let Some(value) = value else {
        return false;
    };
    // SAFETY: as the ABI says.
    unsafe { *found = Buffer::of(value.as_bytes()) };
    true
}

unsafe extern "C" fn attribute_number(filter: FilterPtr, id: u32, found: *mut u64) -> bool {
    note("http_filter_get_attribute_int");
    if id != Attribute::UpstreamRequestAttemptCount as u32 {
        return false;
    }
    // SAFETY: as the ABI says.
    unsafe { *found = Inner::at(filter).attempts };
    true
}

unsafe extern "C" fn go_on(filter: FilterPtr) {
    // SAFETY: as the ABI says.
    unsafe { Inner::at(filter) }.resumed = true;
}

unsafe extern "C" fn route_config(filter: FilterPtr) -> *const c_void {
    note("get_most_specific_route_config");
    // SAFETY: as the ABI says.
    unsafe { Inner::at(filter) }.route_config
}

unsafe extern "C" fn tell(
    filter: FilterPtr,
    namespace: Buffer,
    name: Buffer,
    value: Buffer,
) -> bool {
    note("http_set_dynamic_metadata_string");
    // SAFETY: as the ABI says.
    let stream = unsafe { Inner::at(filter) };
    let key = format!("{}:{}", text(namespace), text(name));
    stream.metadata.insert(key, text(value));
    true
}

unsafe extern "C" fn choose_route_anew(filter: FilterPtr) {
    note("http_clear_route_cache");
    // SAFETY: as the ABI says.
    unsafe { Inner::at(filter) }.routed_anew = true;
}
