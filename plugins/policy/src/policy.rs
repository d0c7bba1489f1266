//! The one trait that every plugin implements, and what it is given.

use serde::de::DeserializeOwned;

use crate::config::ConfigError;
use crate::{
    Abilities, CallId, CallReply, HttpCall, LocalReply, MetricRegistry, Origin, Problem, Request,
    RequestEdits, Response, ResponseEdits, SharedStore, Span, Telemetry, Timestamp,
};

/// A plugin's rules: an immutable value made from its configuration.
pub trait Policy: Sized {
    /// The plugin's name, as in its `.wasm` file, its metrics and its log lines.
    const NAME: &'static str;
    /// What a user writes.
    type Config: DeserializeOwned;
    /// What is remembered of one request until it has ended. Made by [`Policy::on_request`]; a
    /// stream without one (a neighbouring filter refused it first) is none of this policy's.
    type Flow;

    /// Turns a configuration into a policy.
    ///
    /// # Errors
    /// [`ConfigError`] names field, value and rule.
    fn from_config(config: Self::Config, setup: &mut Setup<'_>) -> Result<Self, ConfigError>;

    /// Called once when the configuration is in force, to lay out what workers share. What fails
    /// here is tried again by the requests that need it.
    fn prepare(&self, _ports: &Ports<'_>) {}

    /// How often [`Policy::on_tick`] is to be called.
    fn tick_every(&self) -> Span {
        Span::from_secs(1)
    }

    /// Looks after what is shared, at each tick.
    fn on_tick(&self, _ports: &Ports<'_>) {}

    /// Whether it keeps something for its next tick that others go by, so that a worker must not go idle without one.
    fn tells_with_ticks(&self) -> bool {
        false
    }

    /// Tells the others what it keeps, since there may be no tick for as long as no request comes.
    fn on_idle(&self, ports: &Ports<'_>) {
        self.on_tick(ports);
    }

    /// An HTTP call that is due, and what it is called. Asked for after each tick and after each
    /// call's end, until there is none or [`MOST_CALLS`](crate::MOST_CALLS) are under way.
    fn next_call(&self, _ports: &Ports<'_>) -> Option<(CallId, HttpCall)> {
        None
    }

    /// What calls would bring that requests lacked. Asked for after each request where another instance of this policy makes
    /// the calls; each is handed over once.
    fn take_wanted(&self) -> Vec<CallId> {
        Vec::new()
    }

    /// Hears from another instance that a request lacked what this call would bring.
    fn want(&self, _call: CallId, _ports: &Ports<'_>) {}

    /// Whether a request waits for a call that is due, so that it is made at once and not with the next tick.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Sees a call of [`Policy::next_call`] end. Each call ends once: a gateway that never answers
    /// is taken for one that could not.
    fn on_call_end(&self, _call: CallId, _reply: &dyn CallReply, _ports: &Ports<'_>) {}

    /// For how long at most a request is worth holding before it is decided on, since a call may bring what it needs; `None`
    /// where it is not. Asked before [`Policy::on_request`], and again after each tick and each call's end while it is held;
    /// only where [`Abilities::holds_requests`] says that the gateway can.
    fn hold<'a>(&'a self, _request: &'a Request<'a>, _ports: &Ports<'_>) -> Option<Span> {
        None
    }

    /// Hears that a request is held.
    fn on_held(&self, _ports: &Ports<'_>) {}

    /// Decides on a request.
    fn on_request<'a>(
        &'a self,
        request: &'a Request<'a>,
        ports: &Ports<'_>,
    ) -> (Verdict<'a>, Self::Flow);

    /// Whether it may answer with [`Verdict::Read`].
    fn reads_requests(&self) -> bool {
        false
    }

    /// Decides on a request that it wanted to wait ([`Verdict::Wait`]): after each tick and each call's end. `is_last`: it can't
    /// wait for longer, and goes no further with another [`Verdict::Wait`].
    fn on_request_waited<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _flow: &mut Self::Flow,
        _is_last: bool,
        _ports: &Ports<'_>,
    ) -> Verdict<'a> {
        Verdict::Refuse(Problem::UNAVAILABLE.reply_blind())
    }

    /// Takes the next bytes of a body that it wanted to read.
    fn on_request_bytes(&self, _flow: &mut Self::Flow, _bytes: &[u8]) {}

    /// Decides on a request whose body it wanted to read. It does not go on before.
    fn on_request_read<'a>(
        &'a self,
        _request: &'a Request<'a>,
        _flow: &mut Self::Flow,
        _end: BodyEnd,
        _ports: &Ports<'_>,
    ) -> Verdict<'a> {
        Verdict::Refuse(Problem::UNAVAILABLE.reply_blind())
    }

    /// Sees the end of a request's body, if it has one: only now can the upstream answer.
    fn on_request_sent(&self, _flow: &mut Self::Flow, _ports: &Ports<'_>) {}

    /// Whether [`Policy::on_response`] changes headers as a rule, so that all are worth fetching.
    fn writes_response_headers(&self) -> bool {
        false
    }

    /// Sees the response's head; answers with changes to it.
    fn on_response<'a>(
        &'a self,
        _flow: &'a mut Self::Flow,
        _response: &dyn Response,
        _ports: &Ports<'_>,
    ) -> ResponseEdits<'a> {
        ResponseEdits::none()
    }

    /// Whether it reads the rest of this response's body.
    fn reads_response(&self, _flow: &Self::Flow) -> bool {
        false
    }

    /// Takes the next bytes of a response's body, which passes on meanwhile; `None`: the gateway did not show some.
    fn on_response_bytes(&self, _flow: &mut Self::Flow, _bytes: Option<&[u8]>, _ports: &Ports<'_>) {
    }

    /// Whether it may take something out of what comes of this response's body.
    fn trims_response(&self, _flow: &Self::Flow) -> bool {
        false
    }

    /// What passes on in place of these bytes of a response's body, which it has [read](Self::on_response_bytes), is added to
    /// `passing`. `ends`: whether nothing follows. Whether that is something else than these bytes.
    fn trim_response(
        &self,
        _flow: &mut Self::Flow,
        _bytes: &[u8],
        _ends: bool,
        _passing: &mut Vec<u8>,
    ) -> bool {
        false
    }

    /// Sees that all of a response has come.
    fn on_response_whole(&self, _flow: &mut Self::Flow) {}

    /// Whether it has something to fetch before a request comes, so that its ticks share data from the start.
    fn fetches(&self) -> bool {
        false
    }

    /// Whether [`Policy::on_end`] tells it something, so that it is worth asking how much of a request has come.
    fn observes_ends(&self) -> bool {
        false
    }

    /// Sees the stream end. Called once or more: after the log, and when the flow is dropped.
    fn on_end(&self, _flow: &mut Self::Flow, _ending: &dyn Ending, _ports: &Ports<'_>) {}

    /// Decides when the gateway failed to show the request, or to carry out a verdict on it: what
    /// `on_error` says. `None` lets the request pass.
    fn on_host_failure(&self, failure: HostFailure, ports: &Ports<'_>) -> Option<LocalReply>;
}

/// What a policy says of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'a> {
    /// It goes on, with these changes.
    Continue(RequestEdits<'a>),
    /// It is answered here.
    Refuse(LocalReply),
    /// Its body decides, of which no more than so many bytes are read. Where a gateway can't show it before the request goes on
    /// ([`Abilities::reads_requests`]), it is refused.
    Read {
        /// Bytes.
        most: usize,
    },
    /// It waits for a call's end, so long at most: [`Policy::on_request_waited`]. Only where [`Abilities::holds_requests`] says that the
    /// gateway can; elsewhere it is asked at once, for the last time.
    Wait {
        /// For how long.
        longest: Span,
    },
}

/// How the reading of a request's body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It has come whole.
    Whole,
    /// It is longer than what may be read.
    TooLong,
    /// Its client took too long.
    TimedOut,
    /// The gateway did not show it, or has no room for one more.
    Failed,
}

/// How a stream ended.
pub trait Ending {
    /// Who ended it, read when it is asked for; [`Origin::Upstream`] when a response was passed on
    /// whole; [`Origin::Lost`] when the gateway only forgot the stream.
    fn origin(&self) -> Origin;
    /// The gRPC status in the response's trailers, where the gateway shows them.
    fn grpc_status(&self) -> Option<u8> {
        None
    }
}

/// What the gateway failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFailure {
    /// It did not show the request's headers.
    Headers,
    /// It showed only some of them, since the client sent more than it shows. Not the gateway's own
    /// fault: whoever could have it pass by sending more headers would always do so.
    HeadersCut,
    /// It did not carry out a change to the request.
    Edit,
}

impl HostFailure {
    /// What a plugin that lets nothing pass unseen answers.
    #[must_use]
    pub const fn problem(self) -> Problem {
        match self {
            Self::Headers | Self::Edit => Problem::UNAVAILABLE,
            Self::HeadersCut => Problem::HEADERS_CUT,
        }
    }

    /// Whether `on_error` decides: the failure is the gateway's, and no client can bring it about.
    #[must_use]
    pub const fn is_the_gateways(self) -> bool {
        match self {
            Self::Headers | Self::Edit => true,
            Self::HeadersCut => false,
        }
    }

    /// A fixed word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Headers => "headers_unreadable",
            Self::HeadersCut => "headers_cut",
            Self::Edit => "edit_failed",
        }
    }
}

/// What a policy may ask of the world while it decides.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// Wall-clock time.
    pub clock: &'a dyn Clock,
    /// Random bytes.
    pub entropy: &'a dyn Entropy,
    /// What all workers share.
    pub store: &'a dyn SharedStore,
    /// Counters, gauges and log lines.
    pub telemetry: &'a dyn Telemetry,
}

/// Wall-clock time. One reading serves a whole callback.
pub trait Clock {
    /// The time.
    ///
    /// # Errors
    /// [`ClockUnavailable`] when the gateway would not tell.
    fn now(&self) -> Result<Timestamp, ClockUnavailable>;

    /// Time since some moment that is the same for all workers of a gateway. Nobody sets it: for spans, also between workers.
    ///
    /// # Errors
    /// [`ClockUnavailable`] when the gateway would not tell.
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable>;
}

/// The gateway would not tell the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockUnavailable;

/// Random bytes. Kong's are libc's `random()`: never make a key or a nonce of these alone.
pub trait Entropy {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`EntropyUnavailable`] when the gateway has none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable>;
}

/// The gateway has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyUnavailable;

/// The variables that the gateway lets a filter see.
pub trait Environment {
    /// A variable's value.
    fn var(&self, name: &str) -> Option<String>;
}

impl Setup<'_> {
    /// What goes by responses' bodies needs a gateway, and a build of the filter, that shows them.
    ///
    /// # Errors
    /// They are not shown.
    pub fn check_reads_responses(&self) -> Result<(), ConfigError> {
        if self.abilities.reads_responses {
            return Ok(());
        }
        let rule = "answers' bodies are not shown to this build of the filter; on Envoy load target/filters/<filter>.wasm in place of \
                    target/filters/envoy/<filter>.wasm";
        Err(ConfigError::at("", rule))
    }
}

/// What is at hand while a configuration is turned into a policy.
pub struct Setup<'a> {
    /// For secrets given as `env: NAME`.
    pub environment: &'a dyn Environment,
    /// Where the policy announces its metrics.
    pub metrics: &'a mut MetricRegistry,
    /// What the gateway can do.
    pub abilities: Abilities,
}
