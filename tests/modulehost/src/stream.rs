//! One request and its response, as Envoy has them.

use std::collections::BTreeMap;
use std::ffi::c_void;

use portcullis_native::abi::{BodyStep, Buffer, ConfigPtr, FilterPtr};
use portcullis_native::events;

use crate::config::{Config, FilterPtrOfAnyThread, Raised};
use crate::{Header, Outcome, is_stop};

/// A stream. Dropping it destroys it.
pub struct Stream(Box<Inner>);

/// What a filter answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<Header>,
    /// Body.
    pub body: Vec<u8>,
    /// Response code details.
    pub details: String,
}

pub(crate) struct Inner {
    module: *const c_void,
    pub(crate) raised: Raised,
    pub(crate) request: Vec<Header>,
    pub(crate) response: Vec<Header>,
    pub(crate) trailers: Vec<Header>,
    pub(crate) peer: String,
    pub(crate) route: String,
    pub(crate) details: Option<String>,
    pub(crate) upstream: Option<&'static str>,
    pub(crate) attempts: u64,
    pub(crate) reply: Option<Reply>,
    /// What was kept of the request's body, and what of it is at hand.
    pub(crate) request_body: [Vec<u8>; 2],
    /// What of it has gone on.
    pub(crate) sent_body: Vec<u8>,
    /// What is at hand of the response's.
    pub(crate) response_body: Vec<u8>,
    pub(crate) resumed: bool,
    pub(crate) routed_anew: bool,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) route_config: *const c_void,
    /// What each callback that changes or shows something is to do: `false` is to fail.
    pub(crate) fails: fn(&str) -> bool,
}

impl Inner {
    /// # Safety
    /// The stream lives, and nobody else uses it meanwhile.
    pub(crate) unsafe fn at<'a>(FilterPtr(at): FilterPtr) -> &'a mut Self {
        // SAFETY: by the caller.
        unsafe { &mut *at.cast() }
    }
}

impl Stream {
    pub(crate) fn new(
        config: ConfigPtr,
        module: *const c_void,
        peer: &str,
        request: Vec<Header>,
    ) -> Self {
        // SAFETY: whoever begins a stream has its configuration.
        let raised = unsafe { Config::at(config) }.raised.clone();
        let mut inner = Box::new(Inner {
            module: std::ptr::null(),
            raised,
            request,
            response: Vec::new(),
            trailers: Vec::new(),
            peer: peer.to_owned(),
            route: "route".to_owned(),
            details: None,
            upstream: None,
            attempts: 1,
            reply: None,
            request_body: [Vec::new(), Vec::new()],
            sent_body: Vec::new(),
            response_body: Vec::new(),
            resumed: false,
            routed_anew: false,
            metadata: BTreeMap::new(),
            route_config: std::ptr::null(),
            fails: |_| false,
        });
        let filter = FilterPtr((&raw mut *inner).cast());
        let stream = events::envoy_dynamic_module_on_http_filter_new(module.cast(), filter);
        inner.module = stream.cast();
        Self(inner)
    }

    fn pointer(&mut self) -> FilterPtr {
        FilterPtr((&raw mut *self.0).cast())
    }

    pub(crate) fn begin(&mut self, ends: bool) -> Outcome {
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        let step =
            events::envoy_dynamic_module_on_http_filter_request_headers(filter, module, ends);
        self.outcome(is_stop(step))
    }

    /// What has become of it.
    fn outcome(&mut self, stopped: bool) -> Outcome {
        match (&self.0.reply, stopped && !self.0.resumed) {
            (Some(reply), _) => {
                self.0.details = Some(reply.details.clone());
                Outcome::Replied(reply.clone())
            }
            (None, true) => Outcome::Held,
            (None, false) => Outcome::Continue,
        }
    }

    pub(crate) fn put_on(&mut self, route_config: *const c_void) {
        self.0.route_config = route_config;
    }

    /// What has become of a request that was held.
    pub fn look(&mut self) -> Outcome {
        self.outcome(true)
    }

    /// Whether its route is to be chosen anew.
    pub fn is_routed_anew(&self) -> bool {
        self.0.routed_anew
    }

    /// Dynamic metadata, by `namespace:name`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// The headers that the upstream receives.
    pub fn sent(&self) -> &[Header] {
        &self.0.request
    }

    /// The last of the request's body comes.
    pub fn body(&mut self) -> Outcome {
        self.send(b"", true)
    }

    /// A part of the request's body comes. `ends`: whether it is the last.
    pub fn send(&mut self, bytes: &[u8], ends: bool) -> Outcome {
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        self.0.request_body[1] = bytes.to_vec();
        let step = events::envoy_dynamic_module_on_http_filter_request_body(filter, module, ends);
        let came = std::mem::take(&mut self.0.request_body[1]);
        match step {
            BodyStep::StopAndBuffer | BodyStep::StopAndWatermark => {
                self.0.request_body[0].extend(came);
            }
            BodyStep::Continue => {
                let kept = std::mem::take(&mut self.0.request_body[0]);
                self.0.sent_body.extend([kept, came].concat());
            }
            BodyStep::StopNoBuffer => self.0.request_body[0].clear(),
        }
        self.outcome(step != BodyStep::Continue)
    }

    /// What the upstream receives of the request's body.
    pub fn sent_body(&self) -> &[u8] {
        &self.0.sent_body
    }

    /// A part of the response's body comes, and not the last. What the client receives of it.
    pub fn answer_part(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        self.0.response_body = bytes.to_vec();
        events::envoy_dynamic_module_on_http_filter_response_body(filter, module, false);
        std::mem::take(&mut self.0.response_body)
    }

    /// The request's trailers come.
    pub fn trailers(&mut self) {
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        events::envoy_dynamic_module_on_http_filter_request_trailers(filter, module);
    }

    /// A response's head comes; what of it reaches the client.
    pub fn respond(&mut self, headers: Vec<Header>, details: &str, upstream: bool) -> Vec<Header> {
        self.0.response = headers;
        self.0.details = Some(details.to_owned());
        self.0.upstream = upstream.then_some("10.0.0.1:80");
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        events::envoy_dynamic_module_on_http_filter_response_headers(filter, module, false);
        self.0.response.clone()
    }

    /// The last of the response comes: a part of its body, or trailers.
    pub fn respond_whole(&mut self, trailers: Vec<Header>) {
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        if trailers.is_empty() {
            events::envoy_dynamic_module_on_http_filter_response_body(filter, module, true);
        } else {
            self.0.trailers = trailers;
            events::envoy_dynamic_module_on_http_filter_response_trailers(filter, module);
        }
    }

    /// The stream ends; `details`: where they are others than before.
    pub fn end(mut self, details: Option<&str>) {
        if let Some(details) = details {
            self.0.details = Some(details.to_owned());
        }
        let (filter, module) = (self.pointer(), self.0.module.cast_mut().cast());
        events::envoy_dynamic_module_on_http_filter_stream_complete(filter, module);
    }

    /// Has callbacks of these names fail from now on.
    pub fn fail(&mut self, fails: fn(&str) -> bool) {
        self.0.fails = fails;
    }

    /// # Safety
    /// The stream lives.
    pub(crate) unsafe fn scheduled(filter: FilterPtr) {
        // SAFETY: by the caller.
        let module = unsafe { Inner::at(filter) }.module.cast_mut().cast();
        events::envoy_dynamic_module_on_http_filter_scheduled(filter, module, 0);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let filter = self.pointer();
        events::envoy_dynamic_module_on_http_filter_destroy(self.0.module.cast_mut().cast());
        let mut raised = self.0.raised.lock().unwrap();
        raised
            .1
            .retain(|FilterPtrOfAnyThread(stream)| *stream != filter);
    }
}

/// The bytes at a buffer.
pub(crate) fn text(buffer: Buffer) -> String {
    // SAFETY: the module's buffers live until the call that has them returns.
    String::from_utf8_lossy(unsafe { buffer.bytes() }).into_owned()
}
