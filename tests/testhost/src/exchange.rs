//! One request and its response, as a test sees them.

use crate::calls::Calls;
use crate::stream::Stream;

/// A request under way. It owns nothing of the host: keep it, interleave it with others, hand it back.
#[derive(Debug)]
pub struct Exchange {
    /// What the filter decided about the request.
    pub outcome: Outcome,
    /// What the upstream receives of its body, where the filter has read it.
    pub request_body: Vec<u8>,
    /// What the client receives, once there is a response and the filter has seen it.
    pub response: Option<ResponseHead>,
    /// The context's id in the module.
    pub context: u32,
    /// The worker that handles it.
    pub worker: usize,
    /// What it cost so far.
    pub calls: Calls,
    /// The instance it lives in, which a trap or a reload may have replaced by now.
    pub(crate) instance: usize,
    pub(crate) responded: bool,
    /// Kong answered past the filter: deletion is all that follows.
    pub(crate) bypassed: bool,
    /// No filter has seen it: [`Host::open_door`](crate::Host::open_door).
    pub unfiltered: bool,
}

/// What the filter decided about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes to the upstream.
    Continue {
        /// What the upstream receives, pseudo-headers included; on Kong removed headers too.
        headers: Vec<(String, Vec<u8>)>,
    },
    /// The filter answered itself. Its own response callback has run.
    LocalReply {
        /// The status the client sees. Envoy turns the reply to a gRPC request into 200 with a `grpc-status` header.
        status: u32,
        /// The headers the client sees.
        headers: Vec<(String, Vec<u8>)>,
        /// The body, as the filter gave it.
        body: Vec<u8>,
        /// The gRPC status the filter asked for, if any; Kong ignores it.
        grpc_status: Option<i32>,
    },
    /// The filter waits, for a call it made.
    Paused,
}

/// Status and headers of a response as the client receives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: u32,
    /// The headers, without pseudo-headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What is left of an exchange when it is over.
#[derive(Debug)]
pub struct Finished {
    /// What the filter had decided about the request.
    pub outcome: Outcome,
    /// What the client received.
    pub response: Option<ResponseHead>,
    /// What it cost, from the first callback to the last.
    pub calls: Calls,
}

impl Exchange {
    /// A request that no filter sees.
    pub(crate) fn unfiltered(worker: usize, stream: Stream) -> Self {
        Self {
            outcome: Outcome::Continue {
                headers: stream.request.sent_upstream(),
            },
            request_body: Vec::new(),
            response: None,
            context: 0,
            worker,
            calls: Calls::default(),
            instance: usize::MAX,
            responded: false,
            bypassed: false,
            unfiltered: true,
        }
    }

    /// The first value of a header that the upstream receives.
    pub fn upstream_header(&self, name: &str) -> Option<&[u8]> {
        self.outcome.upstream_headers(name).first().copied()
    }
}

impl Outcome {
    /// True if the request goes to the upstream.
    pub fn is_continue(&self) -> bool {
        matches!(self, Outcome::Continue { .. })
    }

    /// The status of the filter's own answer.
    pub fn local_status(&self) -> Option<u32> {
        match self {
            Outcome::LocalReply { status, .. } => Some(*status),
            Outcome::Continue { .. } | Outcome::Paused => None,
        }
    }

    /// Every value of a header that the upstream receives.
    pub fn upstream_headers(&self, name: &str) -> Vec<&[u8]> {
        match self {
            Outcome::Continue { headers } => named(headers, name),
            Outcome::LocalReply { .. } | Outcome::Paused => Vec::new(),
        }
    }

    /// The first value of a header of the filter's own answer.
    pub fn local_header(&self, name: &str) -> Option<&[u8]> {
        match self {
            Outcome::LocalReply { headers, .. } => named(headers, name).first().copied(),
            Outcome::Continue { .. } | Outcome::Paused => None,
        }
    }
}

impl ResponseHead {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        named(&self.headers, name).first().copied()
    }
}

fn named<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    let same = headers
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.as_slice()).collect()
}
