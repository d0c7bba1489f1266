//! What a host can do.

use portcullis_policy::{
    Abilities, CallId, ClockUnavailable, EntropyUnavailable, Headers, HostFailure, HttpCall,
    LocalReply, MetricKind, NoReply, Origin, PeerAddress, Request, RequestEdits, Response,
    ResponseEdits, Sent, SharedStore, Splice, Timestamp,
};

use crate::body::RequestBody;

/// A gateway's worker, outside of any request. A handle: clones are the same worker.
pub trait Host: Clone + 'static {
    /// What its workers share.
    type Store: SharedStore;
    /// A stream that was entered.
    type Entered: Exchange;

    /// Whether a configuration that is refused leaves the one before it in force. Where it does not, a filter accepts any
    /// configuration and refuses requests instead: the gateway would go on without it.
    const KEEPS_FORMER_CONFIGURATION: bool;
    /// Whether shared data can be used before the first request.
    const SHARES_BEFORE_REQUESTS: bool;
    /// Whether a call can be made while the answer to another is handed over.
    const CALLS_FROM_ANSWERS: bool;
    /// What it can do with any build of a filter, at most.
    const ABILITIES: Abilities;
    /// Whether its policy's calls are its own to make. Where they are not, another instance of the same policy makes them, and
    /// [hears](Host::want) what requests lack.
    const MAKES_CALLS: bool;
    /// Whether handing a counter over costs so much that counters are added up until the next tick.
    const ADDS_COUNTERS_UP: bool;

    /// Wall-clock time.
    ///
    /// # Errors
    /// [`ClockUnavailable`].
    fn now(&self) -> Result<Timestamp, ClockUnavailable>;

    /// Time that nobody sets, the same for all workers.
    ///
    /// # Errors
    /// [`ClockUnavailable`].
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable>;

    /// Fills `bytes` with random ones.
    ///
    /// # Errors
    /// [`EntropyUnavailable`].
    fn fill_random(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable>;

    /// What its workers share.
    fn store(&self) -> Self::Store;

    /// Defines a metric; `None` where the host does not take it.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<MetricId>;

    /// Adds to a counter.
    ///
    /// # Errors
    /// [`Failed`]: nothing was added.
    fn add(&self, counter: MetricId, by: u32) -> Result<(), Failed>;

    /// Sets a gauge.
    ///
    /// # Errors
    /// [`Failed`].
    fn set(&self, gauge: MetricId, value: u64) -> Result<(), Failed>;

    /// Has the root's tick called so often from now on. Called once.
    ///
    /// # Errors
    /// [`Failed`]: there is no tick.
    fn start_ticking(&self, millis: u32) -> Result<(), Failed>;

    /// Makes a call; the number names it when its answer comes. No two that are under way in one worker have the same.
    ///
    /// # Errors
    /// There will be no answer.
    fn start_call(&self, call: &HttpCall) -> Result<u32, NoReply>;

    /// What it can do with this build of the filter.
    fn abilities(&self) -> Abilities {
        Self::ABILITIES
    }

    /// Has what makes the calls know that a request lacks what this one would bring.
    fn want(&self, _: CallId) {}

    /// Enters a stream whose request is held: until the callback at hand ends, what is asked of the host is about that.
    ///
    /// # Errors
    /// [`Failed`]: it can't be entered.
    fn enter(&self, stream: StreamId) -> Result<Self::Entered, Failed>;

    /// What is asked of the host from now on is about no stream, until one is [entered](Self::enter).
    ///
    /// # Errors
    /// [`Failed`]: it still is.
    fn leave_stream(&self) -> Result<(), Failed>;

    /// Lets the request go on that is held in this stream, which was entered.
    ///
    /// # Errors
    /// [`Failed`]: it does not go on.
    fn resume(&self, stream: StreamId) -> Result<(), Failed>;
}

/// What a host calls a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub u64);

/// One request and its response, within a callback of theirs, or where it was entered.
pub trait Exchange: PeerAddress {
    /// A response's head.
    type Head: Response;

    /// The request's headers. `count`: how many the host says there are.
    ///
    /// # Errors
    /// It did not show them, or not all.
    fn request_headers(&self, count: usize) -> Result<Headers, HostFailure>;

    /// The request target as the client sent it, where `:path` is something else.
    ///
    /// # Errors
    /// It did not show it.
    fn target(&self) -> Result<Option<Vec<u8>>, HostFailure> {
        Ok(None)
    }

    /// What the head of a request tells of its body. `ends`: whether the host says that there is none. `observed`: whether
    /// anybody asks how the stream ended. As long as [`Self::ending`] tells that, nothing depends on what its deletion does.
    fn body(&self, request: &Request<'_>, ends: bool, _observed: bool) -> RequestBody {
        RequestBody {
            sent: if ends { request.sent() } else { Sent::HeadOnly },
            sent_at_deletion: Sent::Whole,
            is_denied: false,
        }
    }

    /// Hands over what has come of the request's body, which goes no further yet: the bytes from `from` on, of `size` in all.
    ///
    /// # Errors
    /// [`Failed`]: it did not show all of it.
    fn request_body(
        &self,
        from: usize,
        size: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failed>;

    /// Changes the request's body, of which so many bytes have come, and all of them.
    ///
    /// # Errors
    /// [`Failed`]: it did not, and what of it goes on is not known.
    fn change_request_body(&self, size: usize, splices: &[Splice]) -> Result<(), Failed>;

    /// Hands over the part of the response's body that is at hand, `size` bytes.
    ///
    /// # Errors
    /// [`Failed`]: it did not show all of it.
    fn response_body(&self, size: usize, take: &mut dyn FnMut(&[u8])) -> Result<(), Failed>;

    /// Has other bytes pass on in place of the part of the response's body that is at hand, `size` bytes.
    ///
    /// # Errors
    /// [`Failed`]: that part passes on as it is.
    fn change_response_body(&self, size: usize, passing: &[u8]) -> Result<(), Failed>;

    /// Changes the request. All changes are tried, also those behind one that fails: if the request passes all the same,
    /// nothing that was to be taken away passes with it. `sent`: its headers as they
    /// are, where they were read in this callback.
    ///
    /// # Errors
    /// [`Failed`]: a change was not made.
    fn change_request(
        &self,
        sent: Option<&Headers>,
        edits: &RequestEdits<'_>,
    ) -> Result<(), Failed>;

    /// The response's head. `all`: whether all of its headers are of use, so that they are worth fetching at once.
    fn response(&self, all: bool) -> Self::Head;

    /// Whether the head says that the upstream made it, and without a call of the host.
    fn is_from_upstream(&self, _: &Self::Head) -> bool {
        false
    }

    /// Changes the response's headers.
    ///
    /// # Errors
    /// [`Failed`]: a change was not made.
    fn change_response(&self, head: &Self::Head, edits: &ResponseEdits<'_>) -> Result<(), Failed>;

    /// How the stream ended, at its log. `answered`: whether a response was seen.
    fn ending(&self, answered: bool) -> Origin;

    /// The gRPC status in the trailers of a response that has ended.
    fn trailing_grpc_status(&self) -> Option<u8>;

    /// Answers the request in the upstream's stead.
    ///
    /// # Errors
    /// [`Failed`]: nothing was sent.
    fn reply(&self, reply: &LocalReply) -> Result<(), Failed>;
}

/// What a host calls a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricId(pub u32);

/// The host did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;
