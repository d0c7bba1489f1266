//! What host calls work on: the process's part and the instance's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use wasmtime::{Memory, TypedFunc};

use crate::Dialect;
use crate::callout::{PendingCall, SeenReply};
use crate::calls::Calls;
use crate::failures::Failures;
use crate::log::{LogLevel, LogLine};
use crate::metrics::Metrics;
use crate::stream::Stream;
use portcullis_sim::Zone;

/// The process's part. It lives in the host and is lent to the instance that runs, so that no lock is needed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dialect: Dialect,
    /// Nanoseconds since 1970.
    pub(crate) clock: u64,
    /// Shared data; none if Kong has no zone configured.
    pub(crate) zone: Option<Zone>,
    pub(crate) metrics: Metrics,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) calls: Calls,
    /// Calls since the current operation of the host began, for the exchange's own count.
    pub(crate) recent: Calls,
    pub(crate) failures: Failures,
    pub(crate) entropy: ChaCha8Rng,
    pub(crate) pending: Vec<PendingCall>,
    pub(crate) next_token: u32,
    pub(crate) environment: Vec<(String, String)>,
    /// Envoy's clusters; `None` knows every name.
    pub(crate) clusters: Option<Vec<String>>,
    pub(crate) root_id: String,
}

impl Shared {
    pub(crate) fn new(dialect: Dialect) -> Shared {
        Shared {
            dialect,
            clock: 1_700_000_000_000_000_000,
            zone: None,
            metrics: Metrics::default(),
            logs: Vec::new(),
            calls: Calls::default(),
            recent: Calls::default(),
            failures: Failures::default(),
            entropy: ChaCha8Rng::seed_from_u64(0),
            pending: Vec::new(),
            next_token: 1,
            environment: Vec::new(),
            clusters: None,
            root_id: String::new(),
        }
    }

    /// A line by the host itself.
    pub(crate) fn note(&mut self, worker: usize, level: LogLevel, text: String) {
        self.logs.push(LogLine {
            level,
            text,
            worker,
            from_host: true,
        });
    }
}

/// The instance's part.
pub(crate) struct State {
    /// Empty while nothing runs.
    pub(crate) shared: Shared,
    pub(crate) memory: Option<Memory>,
    pub(crate) malloc: Option<TypedFunc<u32, u32>>,
    pub(crate) worker: usize,
    pub(crate) instance: usize,
    pub(crate) root: u32,
    /// The context that host calls are about.
    pub(crate) context: u32,
    pub(crate) phase: Phase,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) configuration: Arc<[u8]>,
    pub(crate) tick_ms: u32,
    pub(crate) call_reply: Option<SeenReply>,
}

impl State {
    /// The request that host calls are about; none in the root context.
    pub(crate) fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.get_mut(&self.context)
    }
}

/// Which callback runs. What a host call may do depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Create,
    VmStart,
    Configure,
    Tick,
    RequestHeaders,
    RequestBody,
    ResponseHeaders,
    ResponseBody,
    CallResponse,
    Log,
    Done,
    Delete,
}

/// Why a host call did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It returns this status.
    Status(u32),
    /// It traps.
    Trap(String),
    /// It takes the worker process down.
    Crash(String),
}

pub(crate) const OK: u32 = 0;
pub(crate) const NOT_FOUND: u32 = 1;
pub(crate) const BAD_ARGUMENT: u32 = 2;
pub(crate) const SERIALIZATION_FAILURE: u32 = 3;
pub(crate) const INVALID_MEMORY_ACCESS: u32 = 6;
pub(crate) const CAS_MISMATCH: u32 = 8;
pub(crate) const INTERNAL_FAILURE: u32 = 10;
pub(crate) const UNIMPLEMENTED: u32 = 12;
