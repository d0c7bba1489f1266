//! What bodies cost: for each part of an answer, and in memory.

use portcullis_conformance::{FilterSubject, ModuleSubject, Sent, Subject, Then};
use portcullis_modulehost::take_calls;
use portcullis_sim::Dialect;

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const WORD: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n";

/// Everything that reads answers, behind one boundary.
const EDGE: &str = r#"{
    "rate_limit":{"capacity":64,"limits":[{"name":"tokens","key":["client_address"],"quota":1000000,"window":"1h",
        "cost":{"tokens":{},"reserve":{"output":{"default":50,"at_most":200}}}}]},
    "circuit_breaker":{"breakers":[{"name":"model","failures":{"stall":"30s"},
        "trip":{"slow_first_token":{"above":0.5,"slower_than":"10s","window":"1m","minimum_requests":10}}}]}}"#;

fn begin(subject: &mut dyn Subject) -> usize {
    let (seen, handle) = subject.send(Sent::new("POST", "/v1/chat/completions"), b"{}");
    assert_eq!(seen.refused, None);
    subject.head_with(handle, 200, &EVENTS);
    handle
}

#[test]
fn a_part_of_an_answer_costs_one_callback_and_one_call_that_returns_a_value() {
    let mut filter = FilterSubject::new("edge", Dialect::Envoy, EDGE, 1);
    let handle = begin(&mut filter);
    // The first one ends the wait for some text.
    filter.answer_part(handle, WORD);
    filter.host.reset_calls();
    for _ in 0..10 {
        filter.answer_part(handle, WORD);
    }
    let calls = filter.host.calls();
    assert_eq!(calls.callbacks().values().sum::<u64>(), 10);
    assert_eq!((calls.value_calls(), calls.other_calls()), (10, 0));
    filter.finish(handle, Then::Upstream(200));

    let mut native = ModuleSubject::new("edge", EDGE);
    let handle = begin(&mut native);
    native.answer_part(handle, WORD);
    take_calls();
    native.answer_part(handle, WORD);
    let calls: Vec<_> = take_calls().into_iter().collect();
    let expected = [
        ("http_get_body_chunks", 1),
        ("http_get_body_chunks_size", 1),
        ("http_get_body_size", 1),
    ];
    assert_eq!(calls, expected);
}

#[test]
fn what_no_configuration_goes_by_costs_nothing() {
    const PLAIN: &str = r#"{"rate_limit":{"limits":[{"name":"few","key":["client_address"],"quota":10,"window":"1h"}]},
        "circuit_breaker":{"breakers":[{"name":"model","trip":{"consecutive_failures":3}}]}}"#;
    let mut filter = FilterSubject::new("edge", Dialect::Envoy, PLAIN, 1);
    let (_, handle) = filter.begin(Sent::new("POST", "/"));
    filter.head_with(handle, 200, &EVENTS);
    filter.host.reset_calls();
    filter.answer_part(handle, WORD);
    assert_eq!(filter.host.calls().total_calls(), 0);
    let mut native = ModuleSubject::new("edge", PLAIN);
    let (_, handle) = native.begin(Sent::new("POST", "/"));
    native.head_with(handle, 200, &EVENTS);
    take_calls();
    native.answer_part(handle, WORD);
    assert_eq!(take_calls().len(), 0);
}

#[test]
fn a_stream_of_ten_thousand_parts_and_a_body_of_a_megabyte_leave_memory_where_it_was() {
    let mut filter = FilterSubject::new("edge", Dialect::Envoy, EDGE, 1);
    let exchange = |filter: &mut FilterSubject, parts: usize, length: usize| {
        let body = format!("{{\"x\":\"{}\"}}", "y".repeat(length));
        let sent = Sent::new("POST", "/v1/chat/completions");
        let (seen, handle) = (filter as &mut dyn Subject).send(sent, body.as_bytes());
        assert_eq!(seen.refused, None);
        filter.head_with(handle, 200, &EVENTS);
        for part in 0..parts {
            // Cut anywhere.
            let (first, second) = WORD.split_at(part % WORD.len());
            filter.answer_part(handle, first);
            filter.answer_part(handle, second);
        }
        filter.finish(handle, Then::Upstream(200));
    };
    exchange(&mut filter, 10, 300_000);
    let before = filter.host.memory_bytes(0);
    exchange(&mut filter, 10_000, 600_000);
    exchange(&mut filter, 10, 1_000_000);
    assert_eq!(filter.host.memory_bytes(0), before);
    let tokens = filter.metric("rate_limit_output_tokens.limit.tokens");
    assert_eq!(tokens, 10_020);
}
