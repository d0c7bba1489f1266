//! Limits on what models use: charged when a request is admitted, settled when it has ended.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use portcullis_policy::{Origin, Policy as _, Span};
use portcullis_rate_limit::{Flow, RateLimit};
use portcullis_sim::{Answer, Dialect, Draw, Worker, World, interleave};

use crate::concurrency::{PEER, errors};
use crate::schedules::TOKENS;

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v1/chat/completions")];
const EVENTS: &str = "text/event-stream";
const WHOLE: &str = "application/json";

fn config(quota: u64, algorithm: &str) -> String {
    format!(
        r#"{{"capacity":16,"limits":[{{"name":"tokens","key":["constant"],"quota":{quota},"window":"1h","algorithm":"{algorithm}",
            "cost":{{"tokens":{{"input":1,"cached_input":0.1,"output":4}},"reserve":{{"input":10,"output":{{"from":["max_tokens"],"at_most":200,"default":50}}}}}},
            "costs":[{{"match":{{"methods":["HEAD"]}},"cost":0}}]}}]}}"#
    )
}

fn of(world: &World, quota: u64) -> Worker<RateLimit> {
    world.worker(&config(quota, "fixed_window")).unwrap()
}

fn send(worker: &Worker<RateLimit>, body: &str) -> (Answer, Flow) {
    worker.send(PEER, &POST, Some(body.as_bytes()))
}

fn admitted(worker: &Worker<RateLimit>, body: &str) -> Flow {
    match send(worker, body) {
        (Answer::Passed(_), flow) => flow,
        (Answer::Refused(reply), _) => panic!("{reply:?}"),
    }
}

/// The answer begins; what is left by then.
fn begin(worker: &Worker<RateLimit>, flow: &mut Flow, media: &str) -> u64 {
    let headers = worker.respond_with(flow, 200, Origin::Upstream, &[("content-type", media)]);
    left_of(&headers)
}

fn left_of(headers: &[(String, String)]) -> u64 {
    let header = headers.iter().find(|(name, _)| name == "ratelimit");
    let (_, value) = header.expect("it says what is left");
    let left = value.split(";r=").nth(1).unwrap().split(';').next();
    left.unwrap().parse().unwrap()
}

/// What is left now, asked by a request that is not served.
fn left(worker: &Worker<RateLimit>) -> u64 {
    let mut flow = admitted(worker, "{\"max_tokens\":1}");
    let headers = worker.respond(&mut flow, 429, Origin::Upstream);
    worker.end(flow, Origin::Upstream);
    left_of(&headers)
}

const USAGE: &str = r#"{"usage":{"prompt_tokens":30,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":20}}}"#;

#[test]
fn a_request_is_charged_what_it_asks_for_and_settled_by_what_it_used() {
    for dialect in Dialect::BOTH {
        for (body, reserved) in [
            ("{}", 10 + 4 * 50),
            (r#"{"max_tokens":5}"#, 10 + 4 * 5),
            (r#"{"max_tokens":5,"n":3}"#, 10 + 4 * 15),
            (r#"{"max_tokens":5,"MAX_tokens":7}"#, 10 + 4 * 7),
            (r#"{"max_tokens":5,"prompt":["a","b"]}"#, 10 + 4 * 10),
            (r#"{"max_tokens":{"a":1}}"#, 10 + 4 * 200),
            (r#"{"options":{"num_predict":6}}"#, 10 + 4 * 50),
            (r#"{"max_tokens":100000}"#, 10 + 4 * 200),
            (r#"{"max_tokens":-1}"#, 10 + 4 * 200),
            (r#"{"max_tokens":"5"}"#, 10 + 4 * 200),
            (r#"{"max_tokens":null}"#, 10 + 4 * 50),
        ] {
            let world = World::new(dialect, 1);
            let worker = of(&world, 1_000);
            let mut flow = admitted(&worker, body);
            assert_eq!(begin(&worker, &mut flow, WHOLE), 1_000 - reserved, "{body}");
            worker.chunk(&mut flow, &USAGE.as_bytes()[..40]);
            worker.chunk(&mut flow, &USAGE.as_bytes()[40..]);
            worker.end(flow, Origin::Upstream);
            // 10 of the prompt, 20 of it from a cache, 20 of the answer.
            assert_eq!(left(&worker), 1_000 - (10 + 2 + 80), "{body}");
            let counted = |what: &str| {
                let name = format!("rate_limit_{what}.limit.tokens");
                worker.telemetry.metric(&name)
            };
            assert_eq!(counted("input_tokens"), 10);
            assert_eq!(counted("cached_input_tokens"), 20);
            assert_eq!(counted("output_tokens"), 20);
            assert_eq!((counted("estimated"), counted("unreadable")), (0, 0));
        }
    }
}

#[test]
fn what_was_used_beyond_what_was_charged_is_a_debt() {
    for dialect in Dialect::BOTH {
        for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
            let world = World::new(dialect, 2);
            let worker: Worker<RateLimit> = world.worker(&config(1_000, algorithm)).unwrap();
            let mut flow = admitted(&worker, r#"{"max_tokens":5}"#);
            begin(&worker, &mut flow, WHOLE);
            worker.chunk(
                &mut flow,
                br#"{"usage":{"prompt_tokens":400,"completion_tokens":300}}"#,
            );
            worker.end(flow, Origin::Upstream);
            // 1,600 of 1,000.
            let (Answer::Refused(reply), _) = send(&worker, r#"{"max_tokens":1}"#) else {
                panic!("{algorithm}: there is nothing left");
            };
            let headers = reply.headers.iter();
            let wait = headers.clone().find(|(name, _)| *name == "retry-after");
            let wait: u64 = wait.unwrap().1.parse().unwrap();
            world.clock.advance(Span::from_secs(wait));
            if algorithm == "fixed_window" {
                // The debt is taken off the window that has begun.
                assert_eq!(left(&worker), 400);
            }
            worker.end(admitted(&worker, r#"{"max_tokens":1}"#), Origin::Upstream);
        }
    }
}

/// A client that leaves pays for what it got; one that no answer was seen of stays charged.
#[test]
fn however_a_request_ends_what_it_used_is_charged_once() {
    let delta = |text: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let usage = format!("data: {USAGE}\n\n");
    for dialect in Dialect::BOTH {
        for (chunks, origin, charged) in [
            // Told.
            (vec![delta("12345678"), usage.clone()], Origin::Upstream, 92),
            // No usage: eight bytes are two tokens.
            (vec![delta("12345678")], Origin::Upstream, 10 + 4 * 2),
            (
                vec![delta("12345678"), delta("abcd")],
                Origin::ClientGone,
                10 + 4 * 3,
            ),
            // Nothing of the answer's text has come yet.
            (vec![delta("")], Origin::ClientGone, 10),
            // Nothing that is known.
            (vec![": ping\n\n".to_owned()], Origin::ClientGone, 210),
            (
                vec!["data: {\"token\":\"x\"}\n\n".to_owned()],
                Origin::Upstream,
                210,
            ),
            (vec![], Origin::Upstream, 210),
        ] {
            let world = World::new(dialect, 3);
            let worker = of(&world, 1_000);
            let mut flow = admitted(&worker, "{}");
            begin(&worker, &mut flow, EVENTS);
            for chunk in &chunks {
                worker.chunk(&mut flow, chunk.as_bytes());
            }
            worker.end(flow, origin);
            assert_eq!(left(&worker), 1_000 - charged, "{chunks:?}");
        }
        for (status, origin, charged) in [
            (500, Origin::Upstream, 0),
            (400, Origin::Upstream, 0),
            (503, Origin::Gateway, 0),
            (503, Origin::ConnectionFailed, 0),
            // The upstream has it, and nobody knows what it did.
            (504, Origin::TimedOut, 210),
            (503, Origin::Reset, 210),
        ] {
            let world = World::new(dialect, 4);
            let worker = of(&world, 1_000);
            let mut flow = admitted(&worker, "{}");
            worker.respond(&mut flow, status, origin);
            worker.end(flow, origin);
            assert_eq!(left(&worker), 1_000 - charged, "{status}");
        }
        let world = World::new(dialect, 5);
        let worker = of(&world, 1_000);
        worker.end(admitted(&worker, "{}"), Origin::ClientGone);
        assert_eq!(left(&worker), 1_000 - 210);
        let mut packed = admitted(&worker, "{}");
        let headers = [("content-type", EVENTS), ("content-encoding", "gzip")];
        worker.respond_with(&mut packed, 200, Origin::Upstream, &headers);
        worker.chunk(&mut packed, b"\x1f\x8b");
        worker.end(packed, Origin::Upstream);
        assert_eq!(left(&worker), 1_000 - 420);
        let unreadable = worker
            .telemetry
            .metric("rate_limit_unreadable.limit.tokens");
        assert_eq!(unreadable, 2);
    }
}

#[test]
fn a_request_that_asks_for_more_than_is_left_is_refused_and_one_for_more_than_there_ever_is_at_once()
 {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 6);
        let config = r#"{"capacity":16,"limits":[{"name":"tokens","key":["constant"],"quota":100,"window":"1h",
            "cost":{"tokens":{},"reserve":{"output":{"at_most":90}, "output":{"at_most":90,"default":10}}}}]}"#;
        let config = config.replace(r#""output":{"at_most":90}, "#, "");
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let _first = admitted(&worker, r#"{"max_tokens":80}"#);
        let status = |body: &str| send(&worker, body).0.status();
        assert_eq!(status(r#"{"max_tokens":80}"#), 429);
        assert_eq!(
            status(&format!(r#"{{"max_tokens":80,"x":"{}"}}"#, "y".repeat(400))),
            400
        );
        assert_eq!(status("{"), 400);
        assert_eq!(status(r#"{"max_tokens":1}{"max_tokens":2}"#), 400);
        assert_eq!(status(&"9".repeat(2_000_000)), 413);
        assert_eq!(status(r#"{"max_tokens":1}"#), 200);
    }
}

/// A field that a backend does not know is no bound.
#[test]
fn of_several_fields_each_that_is_not_there_may_be_the_one_that_counts() {
    let config = config(1_000, "fixed_window").replace(
        r#"["max_tokens"]"#,
        r#"["max_tokens","options.num_predict"]"#,
    );
    for (body, reserved) in [
        (r#"{"max_tokens":5}"#, 10 + 4 * 50),
        (r#"{"max_tokens":60}"#, 10 + 4 * 60),
        (
            r#"{"max_tokens":5,"options":{"num_predict":6}}"#,
            10 + 4 * 6,
        ),
    ] {
        let world = World::new(Dialect::Envoy, 9);
        let worker: Worker<RateLimit> = world.worker(&config).unwrap();
        let mut flow = admitted(&worker, body);
        assert_eq!(begin(&worker, &mut flow, WHOLE), 1_000 - reserved, "{body}");
    }
}

/// Some backends go by what headers say of a body.
#[test]
fn a_body_that_is_not_what_it_looks_like_is_not_read() {
    let world = World::new(Dialect::Envoy, 13);
    let worker = of(&world, 100_000);
    for (name, value, status) in [
        ("content-type", "application/json; charset=UTF-8", 200),
        ("content-type", "application/json; charset=\"utf-8\"", 200),
        ("content-type", "text/plain", 200),
        ("content-encoding", "identity", 200),
        ("content-type", "application/json; charset=utf-7", 400),
        (
            "content-type",
            "application/json;x=y; Charset = UTF-16",
            400,
        ),
        ("content-encoding", "br", 400),
    ] {
        let head = [POST[0], POST[1], (name, value)];
        let (answer, flow) = worker.send(PEER, &head, Some(b"{\"+AG0-ax_tokens\":900}"));
        assert_eq!(answer.status(), status, "{name}: {value}");
        worker.end(flow, Origin::Gateway);
    }
    let two = [
        POST[0],
        POST[1],
        ("content-type", "a/b"),
        ("content-type", "c/d"),
    ];
    assert_eq!(worker.send(PEER, &two, Some(b"{}")).0.status(), 400);
}

/// Nothing of a body is waited for where there is nothing left anyway.
#[test]
fn who_has_nothing_left_is_refused_before_the_body_is_read() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 10);
        let worker = of(&world, 1_000);
        let _spent = admitted(&worker, r#"{"max_tokens":200}"#);
        let _spent = admitted(&worker, r#"{"max_tokens":45}"#);
        // Whatever it says, and however long it is.
        let (answer, flow) = send(&worker, &"9".repeat(2_000_000));
        assert_eq!(answer.status(), 429);
        worker.end(flow, Origin::Gateway);
    }
}

#[test]
fn a_preflight_with_a_body_that_was_read_is_none() {
    let world = World::new(Dialect::Envoy, 11);
    let worker = of(&world, 1_000);
    let head = [
        (":method", "OPTIONS"),
        (":path", "/"),
        ("origin", "https://a.example"),
        ("access-control-request-method", "POST"),
    ];
    let (answer, mut flow) = worker.send(PEER, &head, Some(b"{}"));
    assert_eq!(answer.status(), 200);
    assert_eq!(begin(&worker, &mut flow, WHOLE), 790);
}

#[test]
fn what_stays_charged_where_it_was_not_served_is_said() {
    let config = config(1_000, "fixed_window").replacen(
        r#""quota""#,
        r#""when_unserved":"charge","quota""#,
        1,
    );
    let world = World::new(Dialect::Envoy, 12);
    let worker: Worker<RateLimit> = world.worker(&config).unwrap();
    let mut flow = admitted(&worker, "{}");
    worker.respond(&mut flow, 503, Origin::Gateway);
    worker.end(flow, Origin::Gateway);
    assert_eq!(left(&worker), 790);
}

#[test]
fn a_batch_takes_as_much_as_it_asks_for() {
    for dialect in Dialect::BOTH {
        for (target, body, cost) in [
            ("/search", Some(r#"{"max_results":7}"#), 7),
            ("/search", Some(r#"{"max_results":[1,2,3]}"#), 3),
            ("/search", Some(r#"{"max_results":7,"MAX_RESULTS":9}"#), 9),
            ("/search", Some(r#"{"max_results":"7"}"#), 50),
            ("/search", Some(r#"{"max_results":0}"#), 50),
            ("/search", Some(r#"{"max_results":1e9}"#), 50),
            ("/search", Some(r#"{"max_results":[]}"#), 50),
            ("/search", Some(r#"{"max_results":{"0":1}}"#), 50),
            ("/search", Some("{}"), 10),
            ("/search", None, 10),
            ("/search?limit=4", None, 4),
            ("/search?limit=4", Some(r#"{"max_results":2}"#), 4),
            ("/search?limit=4&limit=1", None, 50),
            ("/search?limit=x", None, 50),
        ] {
            let world = World::new(dialect, 7);
            let config = r#"{"capacity":16,"limits":[{"name":"cost","key":["constant"],"quota":100,"window":"1h",
                "cost":{"field":{"json":"max_results","query":"limit","default":10,"at_most":50}}}]}"#;
            let worker: Worker<RateLimit> = world.worker(config).unwrap();
            let head = [(":method", "POST"), (":path", target)];
            let (answer, mut flow) = worker.send(PEER, &head, body.map(str::as_bytes));
            assert_eq!(answer.status(), 200, "{target} {body:?}");
            let headers = worker.respond(&mut flow, 200, Origin::Upstream);
            assert_eq!(left_of(&headers), 100 - cost, "{target} {body:?}");
        }
    }
}

#[test]
fn where_no_limit_goes_by_bodies_none_is_read() {
    let world = World::new(Dialect::Envoy, 8);
    let plain = r#"{"limits":[{"name":"few","key":["constant"],"quota":2,"window":"1h"}]}"#;
    let worker: Worker<RateLimit> = world.worker(plain).unwrap();
    assert!(!worker.policy.reads_requests() && !worker.policy.observes_ends());
    let (_, mut flow) = send(&worker, "{");
    begin(&worker, &mut flow, EVENTS);
    assert!(!worker.policy.reads_response(&flow));
}

/// What a request asks for, as a backend reads it.
#[derive(serde::Deserialize)]
struct Asked {
    max_tokens: u64,
}

/// Workers whose streams end as it comes, a third of them by their clients: what was used of a budget is never more than it, where
/// no answer is longer than its request has asked for; and once all have ended, what is left is what was not used.
#[test]
fn in_whatever_order_streams_end_no_more_is_used_than_the_budget_and_nothing_is_lost() {
    const BUDGET: u64 = 1_000;
    TOKENS.run(|seed| {
        for dialect in Dialect::BOTH {
            // Some ask for more than there is, and are granted what is left.
            for (algorithm, clamps) in [
                ("fixed_window", false),
                ("fixed_window", true),
                ("sliding_window", false),
                ("sliding_window", true),
            ] {
                let world = World::new(dialect, seed);
                let config = config(BUDGET, algorithm);
                let config = match clamps {
                    true => config.replace(r#""default":50"#, r#""default":50,"clamp":true"#),
                    false => config,
                };
                let _laid_out: Worker<RateLimit> = world.worker(&config).unwrap();
                let (used, kept) = (AtomicU64::new(0), AtomicU64::new(0));
                interleave(3, seed, |me, turns| {
                    let number = me as u64;
                    let worker: Worker<RateLimit> =
                        world.worker_taking(&config, Some(turns), number).unwrap();
                    let draw = Draw::new(seed, number + 1);
                    let mut streams: Vec<(Flow, u64, u64)> = Vec::new();
                    for _ in 0..20 {
                        if draw.once_in(2) || streams.is_empty() {
                            let asked = draw.between(1, if clamps { 300 } else { 60 });
                            let body = format!("{{\"max_tokens\":{asked}}}");
                            if let (Answer::Passed(_), mut flow) = send(&worker, &body) {
                                let passed = worker.passed_body.borrow();
                                let passed: Asked = serde_json::from_slice(&passed).unwrap();
                                assert!(passed.max_tokens <= asked);
                                assert!(clamps || passed.max_tokens == asked);
                                let asked = passed.max_tokens;
                                begin(&worker, &mut flow, EVENTS);
                                streams.push((flow, asked, 0));
                            }
                            continue;
                        }
                        let at = draw.between(0, streams.len() as u64 - 1) as usize;
                        let (flow, asked, got) = &mut streams[at];
                        if *got < *asked && !draw.once_in(3) {
                            *got += 1;
                            worker.chunk(flow, b"data: {\"response\":\"word\"}\n\n");
                            continue;
                        }
                        let (mut flow, asked, got) = streams.swap_remove(at);
                        let origin = match draw.between(0, 2) {
                            0 => Origin::ClientGone,
                            _ => {
                                let told = format!(
                                    "data: {{\"prompt_eval_count\":10,\"eval_count\":{got}}}\n\n"
                                );
                                worker.chunk(&mut flow, told.as_bytes());
                                Origin::Upstream
                            }
                        };
                        if got > 0 || origin == Origin::Upstream {
                            used.fetch_add(10 + 4 * got, SeqCst);
                        } else {
                            // It stays charged: of its answer nothing has come.
                            kept.fetch_add(10 + 4 * asked, SeqCst);
                        }
                        worker.end(flow, origin);
                        assert!(used.load(SeqCst) <= BUDGET, "more than the budget");
                    }
                    for (mut flow, _, got) in streams {
                        let told =
                            format!("data: {{\"prompt_eval_count\":10,\"eval_count\":{got}}}\n\n");
                        worker.chunk(&mut flow, told.as_bytes());
                        used.fetch_add(10 + 4 * got, SeqCst);
                        worker.end(flow, Origin::Upstream);
                    }
                    assert_eq!(errors(&worker), 0);
                });
                let (used, kept) = (used.load(SeqCst), kept.load(SeqCst));
                let last: Worker<RateLimit> = world.worker(&config).unwrap();
                let (answer, mut flow) = last.request(PEER, &[(":method", "HEAD"), POST[1]]);
                assert_eq!(answer.status(), 200);
                let headers = last.respond(&mut flow, 200, Origin::Upstream);
                assert_eq!(
                    left_of(&headers),
                    BUDGET - used - kept,
                    "{used} and {kept} of {BUDGET}"
                );
            }
        }
    });
}

/// What a stream was charged and used, and when: seconds from the begin.
struct Ended {
    admitted: u64,
    settled: u64,
    reserved: u64,
    used: u64,
}

/// A bucket lets through what drips into it, what answers use beyond what they were charged, and what is given back: in any span.
#[test]
fn a_bucket_of_tokens_keeps_to_its_bound_in_every_span() {
    const BURST: u64 = 600;
    const QUOTA: u64 = 3_600;
    let config = config(QUOTA, "token_bucket")
        .replace(r#""algorithm""#, &format!(r#""burst":{BURST},"algorithm""#));
    let config = config.replace(r#""at_most":200"#, r#""at_most":100"#);
    for dialect in Dialect::BOTH {
        for seed in 0..60 {
            let world = World::new(dialect, seed);
            let worker: Worker<RateLimit> = world.worker(&config).unwrap();
            let draw = Draw::new(seed, 1);
            let mut now = 0;
            let mut running: Vec<(Flow, u64, u64, u64)> = Vec::new();
            let mut ended: Vec<Ended> = Vec::new();
            let mut refused = 0;
            for _ in 0..200 {
                let passes = draw.between(0, 30);
                world.clock.advance(Span::from_secs(passes));
                now += passes;
                if draw.once_in(2) {
                    let asked = draw.between(1, 100);
                    let body = format!("{{\"max_tokens\":{asked}}}");
                    match send(&worker, &body) {
                        (Answer::Passed(_), mut flow) => {
                            begin(&worker, &mut flow, EVENTS);
                            // A few say more than they were asked for.
                            let used = match draw.once_in(9) {
                                true => asked + draw.between(1, 50),
                                false => draw.between(0, asked),
                            };
                            running.push((flow, now, 10 + 4 * asked, 10 + 4 * used));
                        }
                        (Answer::Refused(_), _) => refused += 1,
                    }
                } else if !running.is_empty() {
                    let at = draw.between(0, running.len() as u64 - 1) as usize;
                    let (mut flow, admitted, reserved, used) = running.swap_remove(at);
                    let told = format!(
                        "data: {{\"prompt_eval_count\":10,\"eval_count\":{}}}\n\n",
                        (used - 10) / 4
                    );
                    worker.chunk(&mut flow, told.as_bytes());
                    worker.end(flow, Origin::Upstream);
                    ended.push(Ended {
                        admitted,
                        settled: now,
                        reserved,
                        used,
                    });
                }
            }
            for from in ended.iter().map(|stream| stream.admitted) {
                for to in ended
                    .iter()
                    .map(|stream| stream.admitted)
                    .filter(|to| *to >= from)
                {
                    let within = |at: u64| (from..=to).contains(&at);
                    let admitted = || ended.iter().filter(|stream| within(stream.admitted));
                    let used: u64 = admitted().map(|stream| stream.used).sum();
                    let beyond: u64 = admitted().map(|s| s.used.saturating_sub(s.reserved)).sum();
                    let given_back: u64 = ended
                        .iter()
                        .filter(|stream| within(stream.settled))
                        .map(|stream| stream.reserved.saturating_sub(stream.used))
                        .sum();
                    let drips = QUOTA * (to - from) / 3_600;
                    let most = BURST + drips + beyond + given_back;
                    assert!(
                        used <= most,
                        "seed {seed}: {used} of {most} in {from} to {to}"
                    );
                }
            }
            assert!(
                refused > 0 && !ended.is_empty(),
                "seed {seed}: nothing was tried"
            );
        }
    }
}
