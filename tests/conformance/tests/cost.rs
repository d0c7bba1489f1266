//! What a request costs on the warm path, and what a flood costs.

use std::fmt::Write as _;

use portcullis_conformance::{FilterSubject, ModuleSubject, Sent, Subject, Then, metered, warm};
use portcullis_modulehost::take_calls;
use portcullis_sim::Dialect;

/// What one request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    /// Calls of the host that return a value: for each the host enters the module again, to allocate memory for it.
    values: u64,
    /// The other calls of the host.
    others: u64,
    callbacks: u64,
    /// Bytes that the host reads from the module.
    read: u64,
    /// Bytes that it writes into the module.
    written: u64,
    /// Instructions that the module executes, for its allocations too.
    instructions: u64,
}

/// What each filter costs, in either dialect. A line that is no longer true fails with the one that is: put that in its
/// place where the new cost is meant.
#[rustfmt::skip]
const BUDGETS: [(&str, Dialect, Cost); 10] = [
    ("jwt_auth", Dialect::Envoy, Cost { values: 1, others: 4, callbacks: 7, read: 58, written: 661, instructions: 23787 }),
    ("jwt_auth", Dialect::Kong, Cost { values: 2, others: 4, callbacks: 6, read: 70, written: 706, instructions: 24042 }),
    ("rate_limit", Dialect::Envoy, Cost { values: 4, others: 3, callbacks: 7, read: 1192, written: 1533, instructions: 41971 }),
    ("rate_limit", Dialect::Kong, Cost { values: 5, others: 9, callbacks: 6, read: 1077, written: 1511, instructions: 35828 }),
    ("circuit_breaker", Dialect::Envoy, Cost { values: 2, others: 2, callbacks: 7, read: 0, written: 725, instructions: 17780 }),
    ("circuit_breaker", Dialect::Kong, Cost { values: 4, others: 2, callbacks: 6, read: 35, written: 717, instructions: 15010 }),
    ("service_token", Dialect::Envoy, Cost { values: 1, others: 1, callbacks: 7, read: 61, written: 661, instructions: 7248 }),
    ("service_token", Dialect::Kong, Cost { values: 2, others: 1, callbacks: 6, read: 73, written: 706, instructions: 8653 }),
    ("edge", Dialect::Envoy, Cost { values: 4, others: 8, callbacks: 7, read: 1311, written: 1533, instructions: 63533 }),
    ("edge", Dialect::Kong, Cost { values: 6, others: 14, callbacks: 6, read: 1212, written: 1519, instructions: 55265 }),
];

/// By so many hundredths more or less than in the table instructions may be executed: another compiler counts a little
/// differently. Everything else is exact.
const PLAY: u64 = 5;

#[test]
fn the_warm_path_of_each_filter_keeps_to_its_budget() {
    let mut table = String::from(HEAD);
    let mut wrong = String::new();
    for (filter, budgets) in BUDGETS.chunks(2).map(|pair| (pair[0].0, pair)) {
        let module = metered(filter);
        for (_, dialect, budget) in budgets {
            let subject = FilterSubject::metered(&module, filter, *dialect, &warm::config(filter));
            let cost = cost(subject);
            if !cost.is_within(*budget) {
                let _ = writeln!(wrong, "(\"{filter}\", Dialect::{dialect:?}, {cost:?}),");
            }
            let _ = writeln!(table, "| `{filter}` | {dialect:?} | {}", cost.row());
        }
    }
    warm::keep("cost.md", &table);
    assert!(wrong.is_empty(), "not as in BUDGETS:\n{wrong}");
}

const HEAD: &str = "\
### Counted on the warm path

On the test host, which counts the same on every machine; `cargo xtask test` holds each figure.

| | host | calls that return a value | other calls | callbacks | bytes out of the module | bytes into it | instructions |
| --- | --- | --- | --- | --- | --- | --- | --- |
";

/// What native code asks of Envoy for a request: each function by the end of its name, and how often.
#[rustfmt::skip]
const NATIVE: [(&str, &str); 5] = [
    ("jwt_auth", "http_add_header 2, http_clear_route_cache 1, http_get_headers 1, http_get_headers_size 3, http_set_header 1"),
    ("rate_limit", "http_add_header 7, http_filter_get_attribute_string 1, http_get_headers 2, http_get_headers_size 4"),
    ("circuit_breaker", "http_filter_scheduler_new 1, http_get_headers 2, http_get_headers_size 3"),
    ("service_token", "http_add_header 1, http_clear_route_cache 1, http_get_headers 1, http_get_headers_size 3"),
    ("edge", "http_add_header 10, http_clear_route_cache 1, http_filter_get_attribute_string 1, http_filter_scheduler_new 1, http_get_headers 2, http_get_headers_size 5, http_set_header 1"),
];

#[test]
fn native_code_calls_envoy_as_often_as_it_must() {
    let mut wrong = String::new();
    for (filter, budget) in NATIVE {
        let subject: &mut dyn Subject = &mut ModuleSubject::new(filter, &warm::config(filter));
        warm::up(subject);
        take_calls();
        assert_eq!(subject.ask(warm::request()).refused, None);
        let calls = take_calls().into_iter();
        let calls: Vec<_> = calls
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let calls = calls.join(", ");
        if calls != budget {
            let _ = writeln!(wrong, "(\"{filter}\", \"{calls}\"),");
        }
    }
    assert!(wrong.is_empty(), "not as in NATIVE:\n{wrong}");
}

fn cost(mut subject: FilterSubject) -> Cost {
    warm::up(&mut subject);
    subject.host.reset_calls();
    assert_eq!(subject.ask(warm::request()).refused, None);
    let calls = subject.host.calls();
    println!("{:#?}\n{:#?}", calls.hostcalls(), calls.instructions());
    Cost {
        values: calls.value_calls(),
        others: calls.other_calls(),
        callbacks: calls.callbacks().values().sum(),
        read: calls.bytes_in(),
        written: calls.bytes_out(),
        instructions: calls.instructions().values().sum(),
    }
}

impl Cost {
    fn is_within(self, budget: Self) -> bool {
        let play = budget.instructions * PLAY / 100;
        let exact = Self {
            instructions: budget.instructions,
            ..self
        };
        exact == budget && self.instructions.abs_diff(budget.instructions) <= play
    }

    fn row(self) -> String {
        let Self {
            values,
            others,
            callbacks,
            read,
            written,
            instructions,
        } = self;
        format!("{values} | {others} | {callbacks} | {read} | {written} | {instructions} |")
    }
}

#[test]
fn a_million_random_keys_leave_memory_where_it_was() {
    for dialect in Dialect::BOTH {
        let config = r#"{"limits":[{"name":"key","key":["header:x-key"],"quota":10,"window":"1m"}],"capacity":4096}"#;
        let mut subject = FilterSubject::new("rate_limit", dialect, config, 1);
        let flood = |subject: &mut FilterSubject, from: u64, count: u64| {
            for key in from..from + count {
                let key = format!("{:016x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                assert_eq!(
                    subject.exchange_plain(Sent::get("/").with("x-key", &key)),
                    None
                );
            }
        };
        flood(&mut subject, 0, 50_000);
        let (memory, zone, keys) = (
            subject.host.memory_bytes(0),
            subject.host.zone().bytes(),
            subject.host.zone().len(),
        );
        flood(&mut subject, 50_000, 950_000);
        assert_eq!(subject.host.memory_bytes(0), memory, "{dialect:?}");
        assert_eq!(subject.host.zone().bytes(), zone, "{dialect:?}");
        assert_eq!(
            (keys, subject.host.zone().len()),
            (4096 / 8 + 2, 4096 / 8 + 2)
        );
        assert_eq!(subject.host.open_streams(0), 0);
        assert!(subject.metric("rate_limit_evictions.limit.key") > 900_000);
        let handle = subject.begin(Sent::get("/").with("x-key", "last")).1;
        subject.finish(handle, Then::Upstream(200));
    }
}
