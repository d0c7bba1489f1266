//! Envoy's events (`envoy_dynamic_module_on_…` of `abi.h`), by the names under which it looks for them.

#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "Envoy calls them, with addresses that are good: nobody else has any"
)]

use std::ffi::{c_char, c_void};
use std::io::Write as _;
use std::ptr;
use std::sync::Arc;

use portcullis_driver::number;
use portcullis_policy::{BodyError, CallReply};

use crate::abi::{
    self, BodyStep, Buffer, ConfigPtr, EXCEEDS_BUFFER, FilterPtr, HeadStep, HeaderLine, SUCCESS,
    TrailersStep,
};
use crate::config::Config;
use crate::guard::{self, guarded};
use crate::instance::call_number;
use crate::route::Route;
use crate::stream::Stream;
use crate::surroundings::{Surroundings, install};

/// The module was loaded.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    if abi::is_installed() {
        return abi::VERSION.as_ptr();
    }
    match Surroundings::of_envoy() {
        Ok(surroundings) => {
            install(surroundings);
            guard::install();
            abi::VERSION.as_ptr()
        }
        Err(missing) => {
            // There is nothing yet that a line could be logged with.
            let mut stderr = std::io::stderr();
            let _ = writeln!(
                stderr,
                "portcullis: this Envoy lacks {missing}, which dynamic modules of ABI {} need: Envoy 1.39 or later",
                abi::VERSION.to_string_lossy()
            );
            ptr::null()
        }
    }
}

/// A configuration.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    envoy: ConfigPtr,
    name: Buffer,
    config: Buffer,
) -> *const Config {
    let config = guarded("a configuration", || {
        // SAFETY: both live until this returns.
        let (name, text) = unsafe { (name.bytes(), config.bytes()) };
        Config::new(envoy, &String::from_utf8_lossy(name), text)
    });
    config.flatten().map_or(ptr::null(), Arc::into_raw)
}

/// The end of a configuration.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_destroy(config: *const Config) {
    if config.is_null() {
        return;
    }
    // SAFETY: what `…_config_new` gave away, once.
    let config = unsafe { Arc::from_raw(config) };
    let _ = guarded("the end of a configuration", || config.retire());
}

/// A route's own configuration.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_new(
    name: Buffer,
    config: Buffer,
) -> *const Route {
    let route = guarded("a route's configuration", || {
        // SAFETY: both live until this returns.
        let (name, text) = unsafe { (name.bytes(), config.bytes()) };
        Route::new(&String::from_utf8_lossy(name), text)
    });
    route.flatten().map_or(ptr::null(), Arc::into_raw)
}

/// The end of a route's own configuration.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_per_route_config_destroy(
    route: *const Route,
) {
    if route.is_null() {
        return;
    }
    // SAFETY: what `…_per_route_config_new` gave away, once.
    let route = unsafe { Arc::from_raw(route) };
    route.retire();
}

/// An event of a configuration, on the main thread.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_scheduled(
    _: ConfigPtr,
    config: *const Config,
    event: u64,
) {
    // SAFETY: it lives until it is destroyed.
    let Some(config) = (unsafe { config.as_ref() }) else {
        return;
    };
    let _ = guarded("a tick", || config.on_event(event));
}

/// The answer to a call, on the main thread.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_http_callout_done(
    _: ConfigPtr,
    config: *const Config,
    id: u64,
    result: u32,
    headers: *const HeaderLine,
    header_count: usize,
    chunks: *const Buffer,
    chunk_count: usize,
) {
    // SAFETY: it lives until it is destroyed.
    let Some(config) = (unsafe { config.as_ref() }) else {
        return;
    };
    // SAFETY: all of them live until this returns.
    let answer = unsafe {
        Answer {
            result,
            headers: slice(headers, header_count),
            chunks: slice(chunks, chunk_count),
        }
    };
    let _ = guarded("an answer", || config.on_answer(call_number(id), &answer));
}

/// The answer at hand.
struct Answer<'a> {
    /// Whether there is one: [`SUCCESS`], or why not.
    result: u32,
    headers: &'a [HeaderLine],
    chunks: &'a [Buffer],
}

impl CallReply for Answer<'_> {
    fn status(&self) -> Option<u16> {
        match self.result {
            SUCCESS => number(&self.header(":status")?),
            // There is one, which says too much.
            EXCEEDS_BUFFER => Some(200),
            _ => None,
        }
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        // SAFETY: they live as long as this value.
        let mut pairs = self.headers.iter().map(|line| unsafe { line.pair() });
        let (_, value) = pairs.find(|(known, _)| *known == name.as_bytes())?;
        Some(value.to_vec())
    }

    fn body(&self, longest: usize) -> Result<Vec<u8>, BodyError> {
        if self.result == EXCEEDS_BUFFER {
            return Err(BodyError::TooLong);
        }
        let mut body = Vec::new();
        for chunk in self.chunks {
            // SAFETY: they live as long as this value.
            let chunk = unsafe { chunk.bytes() };
            if body.len().saturating_add(chunk.len()) > longest {
                return Err(BodyError::TooLong);
            }
            body.extend_from_slice(chunk);
        }
        Ok(body)
    }
}

/// So many values at an address, which may be null where there are none.
///
/// # Safety
/// They live as long as the result.
const unsafe fn slice<'a, T>(at: *const T, count: usize) -> &'a [T] {
    if at.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the caller.
    unsafe { std::slice::from_raw_parts(at, count) }
}

/// A stream begins, on its worker, where it stays.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_new(
    config: *const Config,
    filter: FilterPtr,
) -> *const Stream {
    // SAFETY: a configuration is destroyed after its streams.
    Box::into_raw(Box::new(unsafe { Stream::new(filter, config) })).cast_const()
}

/// The end of a stream.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_destroy(stream: *mut Stream) {
    // SAFETY: what `…_filter_new` gave away; it goes where it is said that it is gone, once.
    unsafe {
        if stream.as_ref().is_some_and(Stream::retire) {
            free(stream);
        }
    }
}

/// Lets a stream go.
///
/// # Safety
/// It lives, and nobody uses it any more.
unsafe fn free(stream: *mut Stream) {
    // SAFETY: by the caller.
    let stream = unsafe { Box::from_raw(stream) };
    stream.drop_driven();
    let _ = guarded("a stream's deletion", || drop(stream));
}

/// Runs an event of a stream, and lets it go behind that if it ended meanwhile.
fn within<R>(stream: *mut Stream, otherwise: R, run: impl FnOnce(&Stream) -> R) -> R {
    // SAFETY: it lives until it is destroyed, or until below where an event is at hand.
    let Some(living) = (unsafe { stream.as_ref() }) else {
        return otherwise;
    };
    living.enter();
    let result = run(living);
    living.exit();
    if living.is_gone() {
        // SAFETY: Envoy has no more use for it, and no event is at hand.
        unsafe { free(stream) };
    }
    result
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_request_headers(
    _: FilterPtr,
    stream: *mut Stream,
    ends: bool,
) -> HeadStep {
    // A stream that there is not is none that could be let pass.
    within(stream, HeadStep::StopIteration, |stream| {
        stream.on_request(ends)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_request_body(
    _: FilterPtr,
    stream: *mut Stream,
    ends: bool,
) -> BodyStep {
    within(stream, BodyStep::StopNoBuffer, |stream| {
        stream.on_request_body(ends)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_request_trailers(
    _: FilterPtr,
    stream: *mut Stream,
) -> TrailersStep {
    within(stream, TrailersStep::Stop, Stream::on_request_trailers)
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_response_headers(
    _: FilterPtr,
    stream: *mut Stream,
    ends: bool,
) -> HeadStep {
    within(stream, (), |stream| stream.on_response(ends));
    HeadStep::Continue
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_response_body(
    _: FilterPtr,
    stream: *mut Stream,
    ends: bool,
) -> BodyStep {
    within(stream, (), |stream| stream.on_response_body(ends));
    BodyStep::Continue
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_response_trailers(
    _: FilterPtr,
    stream: *mut Stream,
) -> TrailersStep {
    within(stream, (), |stream| stream.on_response_body(true));
    TrailersStep::Continue
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_stream_complete(
    _: FilterPtr,
    stream: *mut Stream,
) {
    within(stream, (), Stream::on_complete);
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_scheduled(
    _: FilterPtr,
    stream: *mut Stream,
    _: u64,
) {
    within(stream, (), Stream::on_bell);
}

#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_local_reply(
    _: FilterPtr,
    _: *mut Stream,
    _: u32,
    _: Buffer,
    _: bool,
) -> u32 {
    0
}

/// Declares events of which nothing is to be heard, and which Envoy wants to find.
macro_rules! unheard {
    ($($name:ident($($argument:ty),*);)*) => {
        $(
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($(_: $argument),*) {}
        )*
    };
}

unheard! {
    envoy_dynamic_module_on_http_filter_http_callout_done(FilterPtr, *mut Stream, u64, u32, *const HeaderLine, usize, *const Buffer, usize);
    envoy_dynamic_module_on_http_filter_http_stream_headers(FilterPtr, *mut Stream, u64, *const HeaderLine, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_data(FilterPtr, *mut Stream, u64, *const Buffer, usize, bool);
    envoy_dynamic_module_on_http_filter_http_stream_trailers(FilterPtr, *mut Stream, u64, *const HeaderLine, usize);
    envoy_dynamic_module_on_http_filter_http_stream_complete(FilterPtr, *mut Stream, u64);
    envoy_dynamic_module_on_http_filter_http_stream_reset(FilterPtr, *mut Stream, u64, u32);
    envoy_dynamic_module_on_http_filter_config_http_stream_headers(ConfigPtr, *const c_void, u64, *const HeaderLine, usize, bool);
    envoy_dynamic_module_on_http_filter_config_http_stream_data(ConfigPtr, *const c_void, u64, *const Buffer, usize, bool);
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers(ConfigPtr, *const c_void, u64, *const HeaderLine, usize);
    envoy_dynamic_module_on_http_filter_config_http_stream_complete(ConfigPtr, *const c_void, u64);
    envoy_dynamic_module_on_http_filter_config_http_stream_reset(ConfigPtr, *const c_void, u64, u32);
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(FilterPtr, *mut Stream);
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(FilterPtr, *mut Stream);
}
