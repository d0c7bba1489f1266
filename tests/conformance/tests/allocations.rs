//! What a policy allocates on the warm path, counted natively: in the built modules nobody outside sees it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_circuit_breaker::CircuitBreaker;
use portcullis_conformance::{ENV, START_UNIX_SECS, warm};
use portcullis_edge::Edge;
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::{
    Counter, Ending, Expected, Gauge, Headers, LogLine, Origin, PeerAddress, Policy, Ports,
    Request, Response, SharedStore, StoreError, Stored, Telemetry, Timestamp, Verdict,
};
use portcullis_rate_limit::RateLimit;
use portcullis_service_token::ServiceToken;
use portcullis_sim::{Dialect, Worker, World};

/// What one request allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allocated {
    request: u64,
    response: u64,
    end: u64,
    /// Bytes of all of them.
    bytes: u64,
}

/// What each policy allocates. A line that is no longer true fails with the one that is: put that in its place where
/// the new cost is meant.
#[rustfmt::skip]
const BUDGETS: [(&str, Allocated); 5] = [
    ("jwt_auth", Allocated { request: 7, response: 0, end: 0, bytes: 671 }),
    ("rate_limit", Allocated { request: 5, response: 4, end: 0, bytes: 2368 }),
    ("circuit_breaker", Allocated { request: 1, response: 0, end: 0, bytes: 192 }),
    ("service_token", Allocated { request: 1, response: 0, end: 0, bytes: 192 }),
    ("edge", Allocated { request: 14, response: 4, end: 0, bytes: 3423 }),
];

#[test]
fn the_warm_path_of_each_policy_allocates_what_its_budget_says() {
    let mut table = String::from(HEAD);
    let mut wrong = String::new();
    for (name, budget) in BUDGETS {
        let allocated = match name {
            "jwt_auth" => allocated::<JwtAuth>(),
            "rate_limit" => allocated::<RateLimit>(),
            "circuit_breaker" => allocated::<CircuitBreaker>(),
            "service_token" => allocated::<ServiceToken>(),
            "edge" => allocated::<Edge>(),
            other => panic!("no policy {other}"),
        };
        if allocated != budget {
            let _ = writeln!(wrong, "(\"{name}\", {allocated:?}),");
        }
        let Allocated {
            request,
            response,
            end,
            bytes,
        } = allocated;
        let _ = writeln!(
            table,
            "| `{name}` | {request} | {response} | {end} | {bytes} |"
        );
    }
    warm::keep("allocations.md", &table);
    assert!(wrong.is_empty(), "not as in BUDGETS:\n{wrong}");
}

#[test]
fn only_what_happens_while_it_counts_is_counted() {
    let mut boxes = Vec::with_capacity(2);
    let (counted, bytes) = counted(|| {
        boxes.push(Box::new([0_u8; 100]));
        outside(|| boxes.push(Box::new([0_u8; 100])));
    });
    assert_eq!((counted, bytes), (1, 100));
}

const HEAD: &str = "\
Allocations of the policies themselves, without those that the host asks for to return a value:

| | for the request | for the response | for the end | bytes |
| --- | --- | --- | --- | --- |
";

/// What the request after a few others allocates.
fn allocated<P: Policy>() -> Allocated {
    let mut world = World::new(Dialect::Envoy, 1);
    world.clock.set(Timestamp::from_unix_secs(START_UNIX_SECS));
    let env = ENV.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.env.0 = env.to_vec();
    let worker: Worker<P> = match world.worker(&warm::config(P::NAME)) {
        Ok(worker) => worker,
        Err(error) => panic!("{}: {error}", P::NAME),
    };
    // Fails first, so that a breaker's slot is there to be read.
    let requests = [503, 200, 200, 200, 200].map(|status| request(&worker, status));
    requests[4]
}

fn request<P: Policy>(worker: &Worker<P>, status: u16) -> Allocated {
    let sent = warm::request();
    let mut headers = vec![
        (":method", sent.method.as_str()),
        (":path", &sent.path),
        (":authority", &sent.authority),
    ];
    headers.extend(sent.headers.iter().map(|(name, value)| (&**name, &**value)));
    let headers = Headers::from_pairs(headers);
    let ports = worker.ports();
    let (store, telemetry) = (Outside(ports.store), Outside(ports.telemetry));
    let ports = Ports {
        store: &store,
        telemetry: &telemetry,
        ..ports
    };
    let seen = Seen(status);
    let mut flow = None;
    let (request, of_request) = counted(|| {
        let request = Request::new(&headers, &seen);
        let (verdict, its) = worker.policy.on_request(&request, &ports);
        assert!(matches!(verdict, Verdict::Continue(_)), "{verdict:?}");
        flow = Some(its);
    });
    let mut flow = flow.expect("a flow");
    let (response, of_response) = counted(|| {
        drop(worker.policy.on_response(&mut flow, &seen, &ports));
    });
    let (end, of_end) = counted(|| {
        worker.policy.on_end(&mut flow, &seen, &ports);
        drop(flow);
    });
    Allocated {
        request,
        response,
        end,
        bytes: of_request + of_response + of_end,
    }
}

/// What the gateway shows of a request that the upstream answered with this status.
struct Seen(u16);

impl PeerAddress for Seen {
    fn peer(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 1).into())
    }
}

impl Response for Seen {
    fn status(&self) -> Option<u16> {
        Some(self.0)
    }
    fn origin(&self) -> Origin {
        Origin::Upstream
    }
}

impl Ending for Seen {
    fn origin(&self) -> Origin {
        Origin::Upstream
    }
}

/// A port, of which the other side's allocations are not counted: they are the simulation's.
struct Outside<T>(T);

impl SharedStore for Outside<&dyn SharedStore> {
    fn get(&self, key: &str) -> Result<Option<Stored>, StoreError> {
        outside(|| self.0.get(key))
    }
    fn set(&self, key: &str, value: &[u8], expected: Expected) -> Result<(), StoreError> {
        outside(|| self.0.set(key, value, expected))
    }
}

impl Telemetry for Outside<&dyn Telemetry> {
    fn add(&self, counter: Counter, by: u32) {
        outside(|| self.0.add(counter, by));
    }
    fn set(&self, gauge: Gauge, value: u64) {
        outside(|| self.0.set(gauge, value));
    }
    fn log(&self, line: LogLine) {
        outside(|| self.0.log(line));
    }
}

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// How often this allocates, and how many bytes.
fn counted(what: impl FnOnce()) -> (u64, u64) {
    ALLOCATIONS.set((0, 0));
    COUNTS.set(true);
    what();
    COUNTS.set(false);
    ALLOCATIONS.get()
}

fn outside<R>(what: impl FnOnce() -> R) -> R {
    let counted = COUNTS.replace(false);
    let result = what();
    COUNTS.set(counted);
    result
}

struct Counting;

impl Counting {
    fn count(bytes: usize) {
        if COUNTS.get() {
            let (allocations, all) = ALLOCATIONS.get();
            ALLOCATIONS.set((allocations + 1, all + bytes as u64));
        }
    }
}

// SAFETY: it hands everything on to the system's allocator. Counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: the caller keeps to the contract of the trait.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
