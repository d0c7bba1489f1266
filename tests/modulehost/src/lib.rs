//! An Envoy for the module of native code, in the process of a test: its functions of the dynamic-module ABI, over streams and a
//! configuration that a test holds in its hand. It does what Envoy 1.40 was measured to do.
//!
//! - [`Envoy`] is one filter in force. Main thread and worker are the thread of the test, so that what it does is always the same.
//! - Ticks pass when [`Envoy::tick`] is called and not otherwise; the clock stands until it is moved.
//! - Streams are [`Stream`]s: a head, then perhaps a body, a response, and an end.

mod callbacks;
mod config;
mod log;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_native::abi::{Buffer, HeadStep, HeaderLine};
use portcullis_native::{Event, Surroundings, events, install};
use portcullis_policy::Timestamp;

pub use config::Call;
pub use stream::{Reply, Stream};

use config::Config;

/// Name and value.
pub type Header = (String, Vec<u8>);

/// A filter in force.
pub struct Envoy {
    config: Box<Config>,
    module: *const std::ffi::c_void,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Continue,
    /// The filter has answered it.
    Replied(Reply),
    /// It waits.
    Held,
}

thread_local! {
    static CLOCK_PANICS: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    static VARIABLES: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// Sets the clock of this thread's Envoys: nanoseconds since 1970.
pub fn set_clock(now_unix_nanos: u64) {
    NOW.set(now_unix_nanos);
}

/// Has whoever asks this thread's clock panic, so that what a panic does can be seen.
pub fn have_clock_panic(panics: bool) {
    CLOCK_PANICS.set(panics);
}

/// Moves the clock of this thread's Envoys.
pub fn advance_millis(millis: u64) {
    NOW.set(NOW.get() + millis * 1_000_000);
}

/// Sets a variable of this thread's Envoys.
pub fn set_variable(name: &str, value: &str) {
    VARIABLES.with_borrow_mut(|variables| variables.insert(name.to_owned(), value.to_owned()));
}

/// What was logged on this thread since this was last asked.
pub fn take_log() -> Vec<String> {
    log::take()
}

/// How often each of Envoy's functions was called for a stream, on this thread since this was last asked.
pub fn take_calls() -> BTreeMap<&'static str, u64> {
    callbacks::take_calls()
}

/// Forgets what filters of this process have shared.
pub fn forget() {
    portcullis_native::forget_zones();
}

fn load() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        install(Surroundings {
            callbacks: callbacks::all(),
            now: || {
                assert!(!CLOCK_PANICS.get(), "as it was told to");
                Some(Timestamp::from_unix_nanos(NOW.get()))
            },
            monotonic: || Some(Timestamp::from_unix_nanos(NOW.get())),
            variable: |name| VARIABLES.with_borrow(|variables| variables.get(name).cloned()),
        });
    });
}

impl Envoy {
    /// Puts a filter in force, whose counts nobody shares.
    ///
    /// # Errors
    /// What it logged when it refused its configuration.
    pub fn start(filter: &str, configuration: &str) -> Result<Self, Vec<String>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let zone = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::sharing(&format!("{filter}/test_{zone}"), configuration)
    }

    /// Puts a filter in force under a `filter_name` as it is written.
    ///
    /// # Errors
    /// What it logged when it refused its configuration.
    pub fn sharing(filter_name: &str, configuration: &str) -> Result<Self, Vec<String>> {
        load();
        let mut config = Box::new(Config::default());
        let module = events::envoy_dynamic_module_on_http_filter_config_new(
            config.pointer(),
            Buffer::of(filter_name.as_bytes()),
            Buffer::of(configuration.as_bytes()),
        );
        if module.is_null() {
            return Err(take_log());
        }
        Ok(Self {
            config,
            module: module.cast(),
        })
    }

    /// A tick passes, on the main thread.
    pub fn tick(&mut self) {
        self.raise(Event::Tick as u64);
        self.settle();
    }

    /// Has what was raised happen: events of the main thread, and those of streams.
    pub fn settle(&mut self) {
        while let Some(event) = self.config.take_event() {
            self.raise(event);
        }
        for stream in self.config.take_rung() {
            // SAFETY: a stream takes its bells with it.
            unsafe { Stream::scheduled(stream) };
        }
    }

    fn raise(&mut self, event: u64) {
        let (envoy, module) = (self.config.pointer(), self.module.cast());
        events::envoy_dynamic_module_on_http_filter_config_scheduled(envoy, module, event);
    }

    /// A request arrives.
    pub fn request(&mut self, peer: &str, headers: Vec<Header>, ends: bool) -> (Stream, Outcome) {
        self.request_with(peer, headers, ends, |_| {})
    }

    /// A request arrives, on a route that has a configuration of its own.
    pub fn request_on(
        &mut self,
        route: &RouteConfig,
        peer: &str,
        headers: Vec<Header>,
    ) -> (Stream, Outcome) {
        self.request_with(peer, headers, true, |stream| stream.put_on(route.0))
    }

    /// A request arrives, of which something is changed before the filter sees it.
    pub fn request_with(
        &mut self,
        peer: &str,
        headers: Vec<Header>,
        ends: bool,
        change: impl FnOnce(&mut Stream),
    ) -> (Stream, Outcome) {
        let mut stream = Stream::new(self.config.pointer(), self.module, peer, headers);
        change(&mut stream);
        let outcome = stream.begin(ends);
        self.settle();
        (stream, outcome)
    }

    /// The calls that are under way.
    pub fn calls(&self) -> &[Call] {
        self.config.calls()
    }

    /// Answers a call, with a status and a body or with neither.
    pub fn answer(&mut self, id: u64, answer: Option<(u16, &[u8])>) {
        self.config.end_call(id);
        let status = answer.map(|(status, _)| status.to_string());
        let lines: Vec<_> = status
            .iter()
            .map(|status| HeaderLine::of(b":status", status.as_bytes()))
            .collect();
        let body: Vec<_> = answer.iter().map(|(_, body)| Buffer::of(body)).collect();
        events::envoy_dynamic_module_on_http_filter_config_http_callout_done(
            self.config.pointer(),
            self.module.cast(),
            id,
            u32::from(answer.is_none()),
            lines.as_ptr(),
            lines.len(),
            body.as_ptr(),
            body.len(),
        );
        self.settle();
    }

    /// A metric's value, by its name with its labels in it.
    pub fn metric(&mut self, name: &str) -> Option<u64> {
        self.raise(Event::Metrics as u64);
        self.config.metric(name)
    }

    /// All metrics.
    pub fn metrics(&mut self) -> BTreeMap<String, u64> {
        self.raise(Event::Metrics as u64);
        self.config.metrics()
    }
}

/// A configuration of a route.
pub struct RouteConfig(*const std::ffi::c_void);

impl RouteConfig {
    /// Takes it.
    ///
    /// # Errors
    /// What was logged when it was refused.
    pub fn new(filter_name: &str, configuration: &str) -> Result<Self, Vec<String>> {
        load();
        let route = events::envoy_dynamic_module_on_http_filter_per_route_config_new(
            Buffer::of(filter_name.as_bytes()),
            Buffer::of(configuration.as_bytes()),
        );
        match route.is_null() {
            true => Err(take_log()),
            false => Ok(Self(route.cast())),
        }
    }
}

impl Drop for RouteConfig {
    fn drop(&mut self) {
        events::envoy_dynamic_module_on_http_filter_per_route_config_destroy(self.0.cast());
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        events::envoy_dynamic_module_on_http_filter_config_destroy(self.module.cast());
        self.module = ptr::null();
    }
}

pub(crate) const fn is_stop(step: HeadStep) -> bool {
    !matches!(step, HeadStep::Continue)
}
