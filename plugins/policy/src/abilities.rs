//! What gateways can do for a policy.

/// What a gateway can do, on which it depends whether it can run a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it can hold a request until a call has ended: [`Policy::hold`](crate::Policy::hold).
    pub holds_requests: bool,
    /// Whether it can show a request's body before the request goes on: [`Verdict::Read`](crate::Verdict::Read).
    pub reads_requests: bool,
    /// Whether it shows responses' bodies: [`Policy::reads_response`](crate::Policy::reads_response).
    pub reads_responses: bool,
    /// Whether it chooses a route anew once a request's headers were changed.
    pub chooses_routes_anew: bool,
    /// Whether it takes what a policy has found out of a request for others to read:
    /// [`RequestEdits::tell`](crate::RequestEdits::tell).
    pub takes_metadata: bool,
    /// Whether its calls can be HTTP/2, as gRPC wants it.
    pub calls_http2: bool,
}

impl Abilities {
    /// Of Envoy with a filter as native code: all there are.
    pub const NATIVE: Self = Self {
        holds_requests: true,
        reads_requests: true,
        reads_responses: true,
        chooses_routes_anew: true,
        takes_metadata: true,
        calls_http2: true,
    };
    /// Of Envoy with a filter as Wasm, built for both gateways.
    pub const ENVOY: Self = Self {
        takes_metadata: false,
        ..Self::NATIVE
    };
    /// Of Envoy with a filter as Wasm, built for Envoy alone: such a build lacks the callback for responses' bodies.
    pub const ENVOY_ALONE: Self = Self {
        reads_responses: false,
        ..Self::ENVOY
    };
    /// Of Kong.
    pub const KONG: Self = Self {
        // Another stream can't be entered: the host says yes and does nothing.
        holds_requests: false,
        // Nothing is called for a body that is empty, and a long one lies in a file.
        reads_requests: false,
        reads_responses: false,
        // Its route is settled before any filter runs.
        chooses_routes_anew: false,
        takes_metadata: false,
        calls_http2: false,
    };
}
