//! `rate_limit`: what it changes in bodies of requests and of answers, row by row, on the hosts that show them.

use portcullis_conformance::{Handle, Seen, Sent, Subject, Then, where_bodies_are_shown};
use portcullis_edge::Edge;
use portcullis_rate_limit::RateLimit;

const EVENTS: [(&str, &str); 1] = [("content-type", "text/event-stream")];
const CHAT: &str = "/v1/chat/completions";

/// 1,000 units: a token of the prompt is one, one of the answer four; what does not fit asks for less.
const CLAMPED: &str = r#"{"capacity":64,"limits":[{"name":"tokens","key":["client_address"],"quota":1000,"window":"1h",
    "cost":{"tokens":{"input":1,"output":4},"reserve":{"input":10,
        "output":{"from":["max_tokens","options.num_predict"],"default":50,"at_most":200,"clamp":true}}}}]}"#;

const FORCED: &str = r#"{"capacity":64,"limits":[{"name":"tokens","key":["client_address"],"quota":1000,"window":"1h",
    "cost":{"tokens":{},"reserve":{"input":10,"output":{"default":50,"at_most":200}}}}],"usage":{"include_usage":"force"}}"#;

fn post(path: &str) -> Sent {
    Sent::new("POST", path)
}

/// The same as one policy and behind `edge`.
fn everywhere(config: &str, row: impl Fn(&mut dyn Subject) + Copy) {
    where_bodies_are_shown::<RateLimit>(config, row);
    where_bodies_are_shown::<Edge>(&format!(r#"{{"rate_limit":{config}}}"#), row);
}

/// Takes so many tokens of an answer from the budget.
fn spend(subject: &mut dyn Subject, output: u32) {
    let (seen, handle) = subject.send(post(CHAT), br#"{"max_tokens":200}"#);
    assert_eq!(seen.refused, None);
    subject.head_with(handle, 200, &EVENTS);
    let used =
        format!("data: {{\"usage\":{{\"prompt_tokens\":0,\"completion_tokens\":{output}}}}}\n\n");
    subject.answer_part(handle, used.as_bytes());
    subject.finish(handle, Then::Upstream(200));
}

fn granted(subject: &mut dyn Subject, handle: Handle) -> Option<String> {
    let headers = subject.head_with(handle, 200, &EVENTS);
    let named = |(name, _): &(String, String)| name == "x-ratelimit-granted-tokens";
    headers.into_iter().find(named).map(|(_, granted)| granted)
}

fn is_as_long_as_it_says(seen: &Seen) {
    let length = seen.body.len().to_string();
    assert_eq!(seen.header("content-length"), Some(&*length), "{seen:?}");
}

#[test]
fn a_request_that_asks_for_more_than_is_left_asks_for_what_is_left() {
    everywhere(CLAMPED, |subject| {
        spend(subject, 150);
        // 400 are left: 390 for an answer, of four a token.
        let (seen, handle) = subject.send(post(CHAT), br#"{"max_tokens": 100, "prompt":"x"}"#);
        assert_eq!(seen.refused, None);
        assert_eq!(seen.body, r#"{"max_tokens": 97, "prompt":"x"}"#);
        is_as_long_as_it_says(&seen);
        assert_eq!(granted(subject, handle).as_deref(), Some("97"));
        // All of that is charged, and nothing more.
        assert_eq!(subject.send(post(CHAT), b"{}").0.status(), 429);
        subject.finish(handle, Then::Upstream(200));
    });
}

#[test]
fn nobody_gets_more_than_what_is_charged_at_most() {
    everywhere(CLAMPED, |subject| {
        for (body, expected) in [
            (r#"{"max_tokens":5000}"#, r#"{"max_tokens":200}"#),
            (r#"{"max_tokens":-1}"#, r#"{"max_tokens":200}"#),
            (r#"{"max_tokens":0}"#, r#"{"max_tokens":200}"#),
            (r#"{"max_tokens":"all"}"#, r#"{"max_tokens":200}"#),
            (r#"{"n":8}"#, r#"{"max_tokens":25,"n":8}"#),
        ] {
            let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
            assert_eq!((seen.refused, &*seen.body), (None, expected), "{body}");
            subject.finish(handle, Then::Upstream(400));
        }
    });
}

#[test]
fn what_a_request_does_not_say_is_said_for_it() {
    everywhere(CLAMPED, |subject| {
        spend(subject, 200);
        // 200 are left: 190 for an answer.
        for (body, expected) in [
            (r"{}", r#"{"max_tokens":47}"#),
            (
                r#"{"options":{"num_predict":199}}"#,
                r#"{"options":{"num_predict":47}}"#,
            ),
            (r#"{"max_tokens":null}"#, r#"{"max_tokens":47}"#),
            // Of two answers each may have half.
            (r#"{"n":2,"max_tokens":40}"#, r#"{"n":2,"max_tokens":23}"#),
        ] {
            let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
            assert_eq!((seen.refused, &*seen.body), (None, expected), "{body}");
            is_as_long_as_it_says(&seen);
            subject.finish(handle, Then::Upstream(400));
        }
    });
}

#[test]
fn a_request_that_fits_goes_on_as_it_is() {
    everywhere(CLAMPED, |subject| {
        spend(subject, 200);
        let body = r#"{"max_tokens":40,"a":[1, 2]}"#;
        let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
        assert_eq!((seen.refused, &*seen.body), (None, body));
        assert_eq!(granted(subject, handle), None);
        subject.finish(handle, Then::Upstream(200));
    });
}

#[test]
fn a_request_that_can_not_be_changed_or_is_worth_nothing_then_is_refused() {
    everywhere(CLAMPED, |subject| {
        spend(subject, 200);
        for body in [
            r#"{"max_tokens":100,"max_tokens":100}"#,
            r#"{"MAX_TOKENS":100}"#,
            r#"{"options":{"num_predict":100},"options":{}}"#,
            r"[]",
            // Fewer than 16 for each of four.
            r#"{"n":4,"max_tokens":20}"#,
        ] {
            let (seen, _) = subject.send(post(CHAT), body.as_bytes());
            assert_eq!(seen.status(), 429, "{body}");
        }
        let digested = post(CHAT).with("content-digest", "sha-256=:AA==:");
        let (seen, _) = subject.send(digested, br#"{"max_tokens":100}"#);
        assert_eq!(seen.status(), 429);
        assert_eq!(subject.metric("rate_limit_limited.limit.tokens"), 6);
    });
}

#[test]
fn a_request_for_more_than_is_charged_at_most_that_can_not_be_lowered_is_refused() {
    everywhere(CLAMPED, |subject| {
        for body in [
            r#"{"max_tokens":5000,"max_tokens":5000}"#,
            r#"{"max_tokens":5000,"Max_tokens":1}"#,
            r#"{"max_tokens":5000,"n":57}"#,
            r#"{"max_tokens":5000,"n":"1"}"#,
            r#"{"n":1e300}"#,
        ] {
            let (seen, _) = subject.send(post(CHAT), body.as_bytes());
            assert_eq!(seen.status(), 400, "{body}");
            assert!(seen.body.contains("cost-exceeds-quota"), "{}", seen.body);
        }
        let digested = post(CHAT).with("content-digest", "sha-256=:AA==:");
        let (seen, _) = subject.send(digested, br#"{"max_tokens":5000}"#);
        assert_eq!(seen.status(), 400);
    });
}

#[test]
fn a_null_beside_a_number_may_be_what_counts() {
    let plain = CLAMPED.replace(r#","clamp":true"#, "");
    for config in [CLAMPED, &plain] {
        let of_one = config.replace(r#","options.num_predict""#, "");
        everywhere(&of_one, |subject| {
            for body in [
                r#"{"max_tokens":1,"max_tokens":null}"#,
                r#"{"max_tokens":null,"max_tokens":1}"#,
                "{\"max_to\u{212a}ens\":1,\"max_tokens\":null}",
                r#"{"max_tokens":null}"#,
            ] {
                let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
                assert_eq!((seen.refused, &*seen.body), (None, body));
                let head = subject.head_with(handle, 200, &EVENTS);
                let left = head.iter().find(|(name, _)| name == "ratelimit");
                assert!(
                    left.is_some_and(|(_, left)| left.contains(";r=790;")),
                    "{body}: {left:?}"
                );
                let used = b"data: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n";
                subject.answer_part(handle, used);
                subject.finish(handle, Then::Upstream(200));
            }
        });
    }
}

#[test]
fn a_prompt_that_leaves_nothing_for_an_answer_is_refused_and_one_that_leaves_little_gets_that() {
    const BY_LENGTH: &str = r#"{"capacity":64,"usage":{"bytes_per_token":1},"limits":[{"name":"tokens","key":["client_address"],"quota":1000,
        "window":"1h","cost":{"tokens":{},"reserve":{"output":{"from":["max_tokens"],"default":500,"at_most":1000,"clamp":true}}}}]}"#;
    everywhere(BY_LENGTH, |subject| {
        let body = |length: usize| format!(r#"{{"max_tokens":900,"x":"{}"}}"#, "y".repeat(length));
        let long = body(900 - body(0).len());
        let (seen, handle) = subject.send(post(CHAT), long.as_bytes());
        assert_eq!(seen.refused, None);
        assert!(
            seen.body.starts_with(r#"{"max_tokens":100,"#),
            "{}",
            seen.body
        );
        is_as_long_as_it_says(&seen);
        subject.finish(handle, Then::Upstream(400));
        let too_long = body(990 - body(0).len());
        assert_eq!(
            subject.send(post(CHAT), too_long.as_bytes()).0.status(),
            400
        );
    });
}

#[test]
fn in_shadow_nothing_is_changed() {
    let config = CLAMPED.replace(r#""capacity""#, r#""mode":"shadow","capacity""#);
    where_bodies_are_shown::<RateLimit>(&config, |subject| {
        spend(subject, 200);
        for body in [r#"{"max_tokens":100}"#, r#"{"max_tokens":5000}"#] {
            let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
            assert_eq!((seen.refused, &*seen.body), (None, body));
            assert_eq!(granted(subject, handle), None);
            subject.finish(handle, Then::Upstream(200));
        }
    });
}

#[test]
fn where_several_limits_lower_it_the_least_counts() {
    let limit = |name: &str, at_most: u32| {
        format!(
            r#"{{"name":"{name}","key":["client_address"],"quota":10000,"window":"1h","cost":{{"tokens":{{}},
                "reserve":{{"input":10,"output":{{"from":["max_tokens"],"default":50,"at_most":{at_most},"clamp":true}}}}}}}}"#
        )
    };
    for (first, second) in [(500, 100), (100, 500)] {
        let limits = [limit("one", first), limit("two", second)].join(",");
        let config = format!(r#"{{"capacity":64,"limits":[{limits}]}}"#);
        everywhere(&config, |subject| {
            let (seen, handle) = subject.send(post(CHAT), br#"{"max_tokens":5000}"#);
            assert_eq!(seen.body, r#"{"max_tokens":100}"#);
            assert_eq!(granted(subject, handle).as_deref(), Some("100"));
            subject.finish(handle, Then::Upstream(200));
        });
    }
}

#[test]
fn a_stream_is_asked_for_what_it_uses_and_its_client_does_not_see_it() {
    const WORD: &str =
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hallo\"}}],\"usage\":null}\n\n";
    const EXTRA: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    everywhere(FORCED, |subject| {
        let body = r#"{"stream":true,"model":"m"}"#;
        let (seen, handle) = subject.send(post(CHAT), body.as_bytes());
        assert_eq!(
            seen.body,
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#
        );
        is_as_long_as_it_says(&seen);
        let headers = [EVENTS[0], ("content-length", "999")];
        let head = subject.head_with(handle, 200, &headers);
        assert!(
            head.iter().all(|(name, _)| name != "content-length"),
            "{head:?}"
        );
        let stream = [WORD, WORD, EXTRA, DONE].concat();
        let mut passed = Vec::new();
        for part in stream.as_bytes().chunks(31) {
            passed.extend(subject.answer_part(handle, part));
        }
        assert_eq!(
            String::from_utf8(passed).unwrap(),
            [WORD, WORD, DONE].concat()
        );
        subject.finish(handle, Then::Upstream(200));
        assert_eq!(subject.metric("rate_limit_output_tokens.limit.tokens"), 3);
        assert_eq!(subject.metric("rate_limit_estimated.limit.tokens"), 0);
    });
}

#[test]
fn who_asks_for_it_sees_it_and_what_is_no_such_stream_is_left_alone() {
    const EXTRA: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n";
    everywhere(FORCED, |subject| {
        for (path, body) in [
            (
                CHAT,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (CHAT, r#"{"stream":false}"#),
            (CHAT, "{}"),
            (CHAT, r#"{"stream":true,"stream":true}"#),
            (CHAT, r#"{"stream":true,"stream_options":[]}"#),
            ("/v1/messages", r#"{"stream":true}"#),
            ("/api/chat", r#"{"stream":true}"#),
        ] {
            let (seen, handle) = subject.send(post(path), body.as_bytes());
            assert_eq!((seen.refused, &*seen.body), (None, body), "{path}");
            subject.head_with(handle, 200, &EVENTS);
            let passed = subject.answer_part(handle, EXTRA.as_bytes());
            assert_eq!(String::from_utf8(passed).unwrap(), EXTRA, "{path} {body}");
            subject.finish(handle, Then::Upstream(200));
        }
        for (body, expected) in [
            (
                r#"{"stream":true,"stream_options":{}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
                r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
            ),
        ] {
            let (seen, handle) = subject.send(
                post("/openai/deployments/d/chat/completions"),
                body.as_bytes(),
            );
            assert_eq!(seen.body, expected);
            subject.finish(handle, Then::Upstream(400));
        }
    });
}

#[test]
fn tokens_are_counted_by_the_model_that_is_wanted_under_names_of_the_configuration_alone() {
    const NAMED: &str = r#"{"capacity":64,"limits":[{"name":"tokens","key":["client_address"],"quota":1000,"window":"1h",
        "cost":{"tokens":{},"reserve":{"input":10,"output":{"default":50,"at_most":200}}}}],
        "usage":{"models":{"all":["gpt*"],"large":["gpt-4o","gpt-4o-2*"],"small":["llama3.2:3b","qwen*"]}}}"#;
    everywhere(NAMED, |subject| {
        for (model, output) in [
            (r#""llama3.2:3b""#, 1),
            (r#""qwen2.5:7b""#, 2),
            (r#""gpt-4o""#, 4),
            (r#""gpt-4o-2024""#, 32),
            (r#""gpt-4o-mini""#, 8),
            ("7", 16),
        ] {
            let body = format!(r#"{{"model":{model}}}"#);
            let (seen, handle) = subject.send(post("/api/chat"), body.as_bytes());
            assert_eq!((seen.refused, &*seen.body), (None, &*body));
            subject.head_with(handle, 200, &EVENTS);
            let used = format!("data: {{\"eval_count\":{output},\"prompt_eval_count\":1}}\n\n");
            subject.answer_part(handle, used.as_bytes());
            subject.finish(handle, Then::Upstream(200));
        }
        let mut counted = |model: &str, what: &str| {
            subject.metric(&format!(
                "rate_limit_model_{what}_tokens.limit.tokens.model.{model}"
            ))
        };
        let counted = ["small", "large", "all", "other"]
            .map(|model| (counted(model, "input"), counted(model, "output")));
        assert_eq!(counted, [(2, 3), (2, 36), (1, 8), (1, 16)]);
    });
}
