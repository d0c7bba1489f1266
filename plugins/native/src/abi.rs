//! Envoy's dynamic-module ABI for HTTP filters, as much of it as is used here, bound by hand (`abi.h`, `v0.2.0`: Envoy 1.40).
//!
//! Envoy's functions are looked up by name when it loads the module, so that one that lacks some is told by name which. What is passed
//! in and out are addresses of bytes that the other side owns; Envoy's are good until the event at hand ends or its stream is
//! changed, so that everything is copied here.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use portcullis_driver::Severity;
use portcullis_policy::Headers;

/// The version that this is written for.
pub const VERSION: &CStr = c"v0.2.0";

/// `envoy_dynamic_module_type_envoy_buffer`, `…_module_buffer`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    /// Where it begins; null where there is none.
    pub at: *const u8,
    /// Bytes.
    pub length: usize,
}

/// `envoy_dynamic_module_type_envoy_http_header`, `…_module_http_header`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HeaderLine {
    /// Name, in lower case.
    pub name: Buffer,
    /// Value.
    pub value: Buffer,
}

/// A stream's filter, which is Envoy's: good from its creation to its destruction, on its worker's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct FilterPtr(pub *mut c_void);

/// A filter's configuration, which is Envoy's: good until it is destroyed, on the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ConfigPtr(pub *mut c_void);

// SAFETY: it is an address, and only the main thread calls Envoy with it.
unsafe impl Send for ConfigPtr {}
// SAFETY: the same.
unsafe impl Sync for ConfigPtr {}

/// `envoy_dynamic_module_type_http_header_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum Map {
    Request = 0,
    Response = 2,
    ResponseTrailers = 3,
}

/// `envoy_dynamic_module_type_http_body_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum Body {
    ReceivedRequest = 0,
    BufferedRequest = 1,
    ReceivedResponse = 2,
    BufferedResponse = 3,
}

/// `envoy_dynamic_module_type_attribute_id`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum Attribute {
    ResponseCodeDetails = 16,
    SourceAddress = 24,
    UpstreamAddress = 41,
    UpstreamRequestAttemptCount = 53,
    XdsRouteName = 61,
}

/// What becomes of a request or a response after its head: `…_on_http_filter_request_headers_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum HeadStep {
    Continue = 0,
    StopIteration = 1,
    StopAllAndWatermark = 4,
}

/// The same after a part of a body: `…_on_http_filter_request_body_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum BodyStep {
    Continue = 0,
    StopAndBuffer = 1,
    StopAndWatermark = 2,
    StopNoBuffer = 3,
}

/// The same after trailers: `…_on_http_filter_request_trailers_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are documented in `abi.h`")]
#[repr(u32)]
pub enum TrailersStep {
    Continue = 0,
    Stop = 1,
}

/// `envoy_dynamic_module_type_metrics_result_Success`, `…_http_callout_init_result_Success`, `…_http_callout_result_Success`
pub const SUCCESS: u32 = 0;
/// `envoy_dynamic_module_type_http_callout_result_ExceedResponseBufferLimit`
pub(crate) const EXCEEDS_BUFFER: u32 = 2;
/// `envoy_dynamic_module_type_http_callout_init_result_ClusterNotFound`
const CLUSTER_NOT_FOUND: u32 = 2;

/// `envoy_dynamic_module_type_http_filter_scheduler_module_ptr`, `…_config_scheduler_module_ptr`
pub type Scheduler = *mut c_void;

/// Declares Envoy's functions, each under the end of its name.
macro_rules! callbacks {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// Envoy's functions, each under the end of its name (`envoy_dynamic_module_callback_…`).
        #[allow(missing_docs, reason = "they are documented in `abi.h`")]
        pub struct Callbacks { $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)* }

        impl Callbacks {
            /// Looks all of them up in the process.
            ///
            /// # Errors
            /// The end of the name of one that is not there.
            pub(crate) fn find() -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        let found = address(concat!("envoy_dynamic_module_callback_", stringify!($name), "\0"));
                        let found = found.ok_or(stringify!($name))?;
                        // SAFETY: Envoy's function of that name has this type, by `abi.h`.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(found) }
                    },)*
                })
            }
        }
    };
}

callbacks! {
    log: fn(u32, Buffer);
    log_enabled: fn(u32) -> bool;
    http_filter_config_define_counter: fn(ConfigPtr, Buffer, *const Buffer, usize, *mut usize) -> u32;
    http_filter_config_define_gauge: fn(ConfigPtr, Buffer, *const Buffer, usize, *mut usize) -> u32;
    http_filter_config_http_callout: fn(ConfigPtr, *mut u64, Buffer, *const HeaderLine, usize, Buffer, u64) -> u32;
    http_filter_config_scheduler_new: fn(ConfigPtr) -> Scheduler;
    http_filter_config_scheduler_commit: fn(Scheduler, u64);
    http_filter_config_scheduler_delete: fn(Scheduler);
    http_filter_scheduler_new: fn(FilterPtr) -> Scheduler;
    http_filter_scheduler_commit: fn(Scheduler, u64);
    http_filter_scheduler_delete: fn(Scheduler);
    http_get_headers_size: fn(FilterPtr, u32) -> usize;
    http_get_headers: fn(FilterPtr, u32, *mut HeaderLine) -> bool;
    http_get_header: fn(FilterPtr, u32, Buffer, *mut Buffer, usize, *mut usize) -> bool;
    http_set_header: fn(FilterPtr, u32, Buffer, Buffer) -> bool;
    http_add_header: fn(FilterPtr, u32, Buffer, Buffer) -> bool;
    http_get_body_size: fn(FilterPtr, u32) -> usize;
    http_get_body_chunks_size: fn(FilterPtr, u32) -> usize;
    http_get_body_chunks: fn(FilterPtr, u32, *mut Buffer) -> bool;
    http_received_buffered_request_body: fn(FilterPtr) -> bool;
    http_append_body: fn(FilterPtr, u32, Buffer) -> bool;
    http_drain_body: fn(FilterPtr, u32, usize) -> bool;
    http_send_response: fn(FilterPtr, u32, *const HeaderLine, usize, Buffer, Buffer);
    http_set_dynamic_metadata_string: fn(FilterPtr, Buffer, Buffer, Buffer) -> bool;
    http_filter_get_attribute_string: fn(FilterPtr, u32, *mut Buffer) -> bool;
    http_filter_get_attribute_int: fn(FilterPtr, u32, *mut u64) -> bool;
    http_filter_continue_decoding: fn(FilterPtr);
    http_clear_route_cache: fn(FilterPtr);
    get_most_specific_route_config: fn(FilterPtr) -> *const c_void;
    http_filter_config_increment_counter: fn(ConfigPtr, usize, *const Buffer, usize, u64) -> u32;
    http_filter_config_set_gauge: fn(ConfigPtr, usize, *const Buffer, usize, u64) -> u32;
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

/// Calls these functions from now on; whoever is first decides.
pub(crate) fn install(callbacks: Callbacks) {
    let _ = CALLBACKS.set(callbacks);
}

pub(crate) fn is_installed() -> bool {
    CALLBACKS.get().is_some()
}

/// The address of a function of the process, whose name ends with NUL.
fn address(name: &str) -> Option<*mut c_void> {
    let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    /// All objects of the process (`dlfcn.h`).
    const RTLD_DEFAULT: isize = if cfg!(target_vendor = "apple") { -2 } else { 0 };
    // SAFETY: a handle that POSIX names, and a string that ends with NUL.
    let found = unsafe {
        dlsym(
            ptr::without_provenance_mut(RTLD_DEFAULT.cast_unsigned()),
            name.as_ptr(),
        )
    };
    (!found.is_null()).then_some(found)
}

impl Buffer {
    /// No buffer at all, which is more than an empty one: a header that is set to it is removed.
    pub const NULL: Self = Self {
        at: ptr::null(),
        length: 0,
    };

    /// Where these bytes are.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Self {
        Self {
            at: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They are still there, for as long as the result lives.
    #[must_use]
    pub const unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.at.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts(self.at, self.length) }
    }
}

impl HeaderLine {
    const EMPTY: Self = Self {
        name: Buffer::NULL,
        value: Buffer::NULL,
    };

    /// Where these bytes are.
    #[must_use]
    pub const fn of(name: &[u8], value: &[u8]) -> Self {
        Self {
            name: Buffer::of(name),
            value: Buffer::of(value),
        }
    }

    /// Name and value.
    ///
    /// # Safety
    /// They are still there, for as long as the result lives.
    #[must_use]
    pub const unsafe fn pair<'a>(&self) -> (&'a [u8], &'a [u8]) {
        // SAFETY: by the caller.
        unsafe { (self.name.bytes(), self.value.bytes()) }
    }
}

/// Writes a line to Envoy's log.
pub(crate) fn log(severity: Severity, line: &str) {
    let Some(envoy) = CALLBACKS.get() else {
        return;
    };
    // `envoy_dynamic_module_type_log_level`
    let level = match severity {
        Severity::Info => 2,
        Severity::Warn => 3,
        Severity::Error => 4,
    };
    // SAFETY: the line lives until the call returns; any thread may log.
    unsafe {
        if (envoy.log_enabled)(level) {
            (envoy.log)(level, Buffer::of(line.as_bytes()));
        }
    }
}

/// Calls into Envoy within an event of the main thread.
impl ConfigPtr {
    /// Defines a counter with these labels.
    pub(crate) fn define_counter(self, name: &str, labels: &[&str]) -> Option<usize> {
        self.define(
            CALLBACKS.get()?.http_filter_config_define_counter,
            name,
            labels,
        )
    }

    /// Defines a gauge with these labels.
    pub(crate) fn define_gauge(self, name: &str, labels: &[&str]) -> Option<usize> {
        self.define(
            CALLBACKS.get()?.http_filter_config_define_gauge,
            name,
            labels,
        )
    }

    fn define(
        self,
        define: unsafe extern "C" fn(Self, Buffer, *const Buffer, usize, *mut usize) -> u32,
        name: &str,
        labels: &[&str],
    ) -> Option<usize> {
        let labels = buffers(labels);
        let mut id = 0;
        // SAFETY: all buffers live until the call returns.
        let result = unsafe {
            define(
                self,
                Buffer::of(name.as_bytes()),
                labels.as_ptr(),
                labels.len(),
                &raw mut id,
            )
        };
        (result == SUCCESS).then_some(id)
    }

    /// Adds to a counter, under these values of its labels.
    pub(crate) fn add(self, counter: usize, values: &[&str], by: u64) -> bool {
        let change = |envoy: &Callbacks| envoy.http_filter_config_increment_counter;
        self.change(change, counter, values, by)
    }

    /// Sets a gauge, under these values of its labels.
    pub(crate) fn set(self, gauge: usize, values: &[&str], value: u64) -> bool {
        let change = |envoy: &Callbacks| envoy.http_filter_config_set_gauge;
        self.change(change, gauge, values, value)
    }

    fn change(
        self,
        change: impl FnOnce(
            &Callbacks,
        )
            -> unsafe extern "C" fn(Self, usize, *const Buffer, usize, u64) -> u32,
        metric: usize,
        values: &[&str],
        by: u64,
    ) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        let values = buffers(values);
        // SAFETY: all buffers live until the call returns.
        let result = unsafe { change(envoy)(self, metric, values.as_ptr(), values.len(), by) };
        result == SUCCESS
    }

    /// Makes a call; its number.
    ///
    /// # Errors
    /// Whether Envoy has no such cluster; else the call could not be made.
    pub(crate) fn call(
        self,
        cluster: &str,
        headers: &[(&[u8], &[u8])],
        body: &[u8],
        timeout_millis: u64,
    ) -> Result<u64, NotCalled> {
        let envoy = CALLBACKS.get().ok_or(NotCalled::NotMade)?;
        let lines = lines(headers.iter().copied());
        let mut id = 0;
        // SAFETY: as above.
        let result = unsafe {
            (envoy.http_filter_config_http_callout)(
                self,
                &raw mut id,
                Buffer::of(cluster.as_bytes()),
                lines.as_ptr(),
                lines.len(),
                Buffer::of(body),
                timeout_millis,
            )
        };
        match result {
            SUCCESS => Ok(id),
            CLUSTER_NOT_FOUND => Err(NotCalled::NoSuchCluster),
            _ => Err(NotCalled::NotMade),
        }
    }

    /// What any thread can have an event of this configuration raised by.
    pub(crate) fn bell(self) -> Option<Bell> {
        let envoy = CALLBACKS.get()?;
        // SAFETY: within an event of this configuration.
        let scheduler = unsafe { (envoy.http_filter_config_scheduler_new)(self) };
        (!scheduler.is_null()).then_some(Bell {
            scheduler,
            of: Of::Config,
        })
    }
}

/// Why a call was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCalled {
    /// Envoy has no such cluster.
    NoSuchCluster,
    /// Anything else.
    NotMade,
}

/// Calls into Envoy within an event of the stream's worker.
impl FilterPtr {
    /// A number that no other living stream has.
    pub(crate) fn number(self) -> u64 {
        self.0.expose_provenance() as u64
    }

    /// The filter of that number.
    ///
    /// # Safety
    /// Whatever is called on it: it still lives.
    pub(crate) unsafe fn of_number(number: u64) -> Option<Self> {
        let address = usize::try_from(number).ok()?;
        Some(Self(ptr::with_exposed_provenance_mut(address)))
    }

    /// How many headers there are.
    pub(crate) fn header_count(self, map: Map) -> usize {
        let Some(envoy) = CALLBACKS.get() else {
            return 0;
        };
        // SAFETY: within an event of this stream.
        unsafe { (envoy.http_get_headers_size)(self, map as u32) }
    }

    /// Whether the part of the request's body that is at hand is what was kept of it: another filter has held it back before.
    pub(crate) fn receives_what_was_kept(self) -> bool {
        let envoy = CALLBACKS.get();
        // SAFETY: within an event of this stream.
        envoy.is_some_and(|envoy| unsafe { (envoy.http_received_buffered_request_body)(self) })
    }

    /// How many bytes of a body there are.
    pub(crate) fn body_size(self, body: Body) -> usize {
        let Some(envoy) = CALLBACKS.get() else {
            return 0;
        };
        // SAFETY: within an event of this stream.
        unsafe { (envoy.http_get_body_size)(self, body as u32) }
    }

    /// Adds to a body's end.
    pub(crate) fn append_to_body(self, body: Body, bytes: &[u8]) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        // SAFETY: Envoy copies the bytes before it returns.
        unsafe { (envoy.http_append_body)(self, body as u32, Buffer::of(bytes)) }
    }

    /// Takes so many bytes from a body's begin.
    pub(crate) fn drain_body(self, body: Body, bytes: usize) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        // SAFETY: a stream of this worker's, within an event.
        unsafe { (envoy.http_drain_body)(self, body as u32, bytes) }
    }

    /// Hands over a body, without copying it. Whether Envoy has shown all of it.
    pub(crate) fn body(self, body: Body, take: &mut dyn FnMut(&[u8])) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        // SAFETY: within an event of this stream.
        let count = unsafe { (envoy.http_get_body_chunks_size)(self, body as u32) };
        if count == 0 {
            return true;
        }
        let mut chunks = vec![Buffer::NULL; count];
        // SAFETY: room for as many as Envoy says there are; nothing happens between the two calls.
        let shown = unsafe { (envoy.http_get_body_chunks)(self, body as u32, chunks.as_mut_ptr()) };
        if shown {
            for chunk in chunks {
                // SAFETY: Envoy's, and there until this event ends; nothing is called meanwhile that would change the body.
                take(unsafe { chunk.bytes() });
            }
        }
        shown
    }

    /// All headers.
    pub(crate) fn headers(self, map: Map) -> Option<Headers> {
        /// So many stay off the heap.
        const FEW: usize = 64;
        let envoy = CALLBACKS.get()?;
        let count = self.header_count(map);
        let mut few = [MaybeUninit::<HeaderLine>::uninit(); FEW];
        let mut many = Vec::new();
        let lines = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, MaybeUninit::new(HeaderLine::EMPTY));
                &mut many
            }
        };
        // SAFETY: room for as many as Envoy says there are; nothing happens between the two calls.
        let shown = count == 0
            || unsafe { (envoy.http_get_headers)(self, map as u32, lines.as_mut_ptr().cast()) };
        if !shown {
            return None;
        }
        // SAFETY: Envoy has written all of them, and what they point to stays until this event ends.
        let pairs = lines
            .iter()
            .map(|line| unsafe { line.assume_init_ref().pair() });
        Some(copied(pairs, count))
    }

    /// Reads the first value of a header.
    pub(crate) fn header<R>(
        self,
        map: Map,
        name: &str,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        let envoy = CALLBACKS.get()?;
        let mut found = Buffer::NULL;
        // SAFETY: within an event of this stream; what is found is read at once.
        unsafe {
            let name = Buffer::of(name.as_bytes());
            let shown =
                (envoy.http_get_header)(self, map as u32, name, &raw mut found, 0, ptr::null_mut());
            (shown && !found.at.is_null()).then(|| read(found.bytes()))
        }
    }

    /// Sets a header in place of all of its name; without a value it is removed.
    pub(crate) fn set_header(self, map: Map, name: &[u8], value: Option<&[u8]>) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        let value = value.map_or(Buffer::NULL, Buffer::of);
        // SAFETY: within an event of this stream; both buffers live until the call returns.
        unsafe { (envoy.http_set_header)(self, map as u32, Buffer::of(name), value) }
    }

    /// Adds a header, whatever there is of its name.
    pub(crate) fn add_header(self, map: Map, name: &[u8], value: &[u8]) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        // SAFETY: as above.
        unsafe { (envoy.http_add_header)(self, map as u32, Buffer::of(name), Buffer::of(value)) }
    }

    /// Answers in the upstream's stead.
    pub(crate) fn send_response<'a>(
        self,
        status: u16,
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        body: &str,
        details: &str,
    ) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        let lines = lines(headers);
        // SAFETY: within an event of this stream; all buffers live until the call returns.
        unsafe {
            (envoy.http_send_response)(
                self,
                status.into(),
                lines.as_ptr(),
                lines.len(),
                Buffer::of(body.as_bytes()),
                Buffer::of(details.as_bytes()),
            );
        }
        true
    }

    /// Sets a text of the stream's dynamic metadata.
    pub(crate) fn tell(self, namespace: &str, name: &str, value: &str) {
        if let Some(envoy) = CALLBACKS.get() {
            let [namespace, name, value] =
                [namespace, name, value].map(|text| Buffer::of(text.as_bytes()));
            // SAFETY: within an event of this stream; all buffers live until the call returns.
            unsafe { (envoy.http_set_dynamic_metadata_string)(self, namespace, name, value) };
        }
    }

    /// Reads an attribute that is text.
    pub(crate) fn text<R>(self, attribute: Attribute, read: impl FnOnce(&str) -> R) -> Option<R> {
        let envoy = CALLBACKS.get()?;
        let mut found = Buffer::NULL;
        // SAFETY: within an event of this stream; what is found is read at once.
        let bytes = unsafe {
            let known =
                (envoy.http_filter_get_attribute_string)(self, attribute as u32, &raw mut found);
            if !known {
                return None;
            }
            found.bytes()
        };
        std::str::from_utf8(bytes).ok().map(read)
    }

    /// An attribute that is a number.
    pub(crate) fn number_of(self, attribute: Attribute) -> Option<u64> {
        let envoy = CALLBACKS.get()?;
        let mut found = 0;
        // SAFETY: within an event of this stream.
        let known = unsafe {
            (envoy.http_filter_get_attribute_int)(self, attribute as u32, &raw mut found)
        };
        known.then_some(found)
    }

    /// What `…_per_route_config_new` returned for the route of this stream; null where it has none.
    pub(crate) fn route_config(self) -> *const c_void {
        // SAFETY: within an event of this stream.
        let ask = |envoy: &Callbacks| unsafe { (envoy.get_most_specific_route_config)(self) };
        CALLBACKS.get().map_or(ptr::null(), ask)
    }

    /// Has the route chosen anew, by the request as it is now.
    pub(crate) fn choose_route_anew(self) {
        if let Some(envoy) = CALLBACKS.get() {
            // SAFETY: within an event of this stream.
            unsafe { (envoy.http_clear_route_cache)(self) };
        }
    }

    /// Lets the request go on.
    pub(crate) fn go_on(self) -> bool {
        let Some(envoy) = CALLBACKS.get() else {
            return false;
        };
        // SAFETY: the stream lives, and this is its worker.
        unsafe { (envoy.http_filter_continue_decoding)(self) };
        true
    }

    /// What any thread can have an event of this stream raised by.
    pub(crate) fn bell(self) -> Option<Bell> {
        let envoy = CALLBACKS.get()?;
        // SAFETY: the stream lives, and this is its worker.
        let scheduler = unsafe { (envoy.http_filter_scheduler_new)(self) };
        (!scheduler.is_null()).then_some(Bell {
            scheduler,
            of: Of::Stream,
        })
    }
}

/// What raises an event on another thread.
pub(crate) struct Bell {
    scheduler: Scheduler,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Config,
    Stream,
}

// SAFETY: Envoy's schedulers are for any thread (`abi.h`).
unsafe impl Send for Bell {}
// SAFETY: the same.
unsafe impl Sync for Bell {}

impl Bell {
    /// Has the event raised. Nothing happens where what it belongs to is gone.
    pub(crate) fn ring(&self, event: u64) {
        let Some(envoy) = CALLBACKS.get() else {
            return;
        };
        // SAFETY: the scheduler lives as long as this value.
        unsafe {
            match self.of {
                Of::Config => (envoy.http_filter_config_scheduler_commit)(self.scheduler, event),
                Of::Stream => (envoy.http_filter_scheduler_commit)(self.scheduler, event),
            }
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let Some(envoy) = CALLBACKS.get() else {
            return;
        };
        // SAFETY: this is the only one who has it.
        unsafe {
            match self.of {
                Of::Config => (envoy.http_filter_config_scheduler_delete)(self.scheduler),
                Of::Stream => (envoy.http_filter_scheduler_delete)(self.scheduler),
            }
        }
    }
}

fn buffers(texts: &[&str]) -> Vec<Buffer> {
    texts
        .iter()
        .map(|text| Buffer::of(text.as_bytes()))
        .collect()
}

fn lines<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<HeaderLine> {
    pairs
        .map(|(name, value)| HeaderLine::of(name, value))
        .collect()
}

/// Copies so many pairs into one buffer.
fn copied<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone, count: usize) -> Headers {
    let size = pairs
        .clone()
        .map(|(name, value)| name.len().saturating_add(value.len()))
        .fold(0, usize::saturating_add);
    let mut headers = Headers::from_buffer(Vec::with_capacity(size), count);
    for (name, value) in pairs {
        headers.add(name, value);
    }
    headers
}
