//! What a person on call sees of limits, and how a client is given a fresh start.

use portcullis_policy::{Answer, Command, Controlled as _, Failed, KeyNamed, Span};
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Dialect, Worker, World};
use serde_json::Value;

const CONTROL: &str =
    r#""control":{"path":"/control","token":{"value":"0123456789abcdef0123456789abcdef"}}"#;

type Limits = Worker<RateLimit>;

fn config(limits: &str) -> String {
    format!(r#"{{"capacity":64,{CONTROL},"limits":[{limits}]}}"#)
}

fn per_ip(algorithm: &str) -> String {
    config(&format!(
        r#"{{"name":"per_ip","key":["client_address"],"quota":3,"window":"1m","algorithm":"{algorithm}"}}"#
    ))
}

fn carry_out(worker: &Limits, command: &Command) -> Result<Answer, Failed> {
    worker.policy.carry_out(command, &worker.ports()).unwrap()
}

fn shown(worker: &Limits, command: &Command) -> Value {
    carry_out(worker, command).unwrap().shown["rate_limit"].clone()
}

fn values(limit: Option<&str>, values: &[&str]) -> KeyNamed {
    KeyNamed::Values {
        limit: limit.map(str::to_owned),
        values: values
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect(),
    }
}

fn status(worker: &Limits, peer: &str) -> u16 {
    worker
        .request(peer, &[(":method", "GET"), (":path", "/a")])
        .0
        .status()
}

#[test]
fn a_client_that_is_reset_has_its_whole_quota_on_all_workers_and_nobody_else_has() {
    for dialect in Dialect::BOTH {
        for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
            let world = World::new(dialect, 1);
            let [one, other]: [Limits; 2] =
                [(); 2].map(|()| world.worker(&per_ip(algorithm)).unwrap());
            for peer in ["192.0.2.1", "192.0.2.2"] {
                let admitted = (0..9).filter(|n| status([&one, &other][n % 2], peer) == 200);
                assert_eq!(admitted.count(), 3);
            }
            let key = values(None, &["192.0.2.1"]);
            let left = shown(&other, &Command::Key(key.clone()));
            assert_eq!(left["per_ip"]["remaining"], 0);
            assert!(left["per_ip"]["retry_after"].as_u64().unwrap() > 0);
            let left = shown(&other, &Command::Reset(key.clone()));
            let wait = &left["per_ip"]["retry_after"];
            assert_eq!((&left["per_ip"]["remaining"], wait), (&3.into(), &0.into()));
            assert_eq!(status(&one, "192.0.2.2"), 429, "{dialect:?} {algorithm}");
            let admitted = (0..9).filter(|_| status(&one, "192.0.2.1") == 200);
            assert_eq!(admitted.count(), 3, "{dialect:?} {algorithm}");
            assert_eq!(shown(&one, &Command::Key(key))["per_ip"]["remaining"], 0);
        }
    }
}

#[test]
fn a_key_that_is_looked_at_is_read_once_and_so_are_the_busiest() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Limits = world.worker(&per_ip("sliding_window")).unwrap();
    assert_eq!(status(&worker, "192.0.2.1"), 200);
    let before = worker.store.0.reads();
    let left = shown(&worker, &Command::Key(values(None, &["192.0.2.1"])));
    assert_eq!(left["per_ip"]["counted"], true);
    assert_eq!(worker.store.0.reads() - before, 2);
}

#[test]
fn the_line_of_a_refusal_names_a_caller_that_can_be_looked_up_and_reset() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Limits = world.worker(&per_ip("fixed_window")).unwrap();
    for _ in 0..4 {
        status(&worker, "192.0.2.1");
    }
    let lines = worker.telemetry.lines();
    let (_, caller) = lines[0].split_once(" caller=").unwrap();
    let caller = caller.split(' ').next().unwrap();
    assert!(!lines[0].contains("192.0.2.1"), "{}", lines[0]);
    let named = KeyNamed::Caller(caller.to_owned());
    let left = shown(&worker, &Command::Key(named.clone()));
    assert_eq!(
        (&left["per_ip"]["caller"], &left["per_ip"]["remaining"]),
        (&caller.into(), &0.into())
    );
    let answer = carry_out(&worker, &Command::Reset(named.clone())).unwrap();
    assert_eq!(answer.about.as_deref(), Some(caller));
    assert_eq!(status(&worker, "192.0.2.1"), 200);
    let by_value = shown(
        &worker,
        &Command::Key(values(Some("per_ip"), &["192.0.2.1"])),
    );
    assert_eq!(by_value["per_ip"]["caller"], caller);
    for wrong in [
        "k.",
        "k.0",
        &caller[2..],
        &caller.to_uppercase(),
        &format!("{caller}0"),
    ] {
        let failed = carry_out(&worker, &Command::Key(KeyNamed::Caller(wrong.to_owned())));
        assert!(matches!(failed, Err(Failed::Invalid(_))), "{wrong}");
    }
    let nobody = KeyNamed::Caller(format!("k.{}", "0".repeat(32)));
    assert!(matches!(
        carry_out(&worker, &Command::Reset(nobody)),
        Err(Failed::Unknown(_))
    ));
}

#[test]
fn a_value_names_the_key_that_requests_are_counted_under() {
    let parts = [
        (r#"["client_address"]"#, &["2001:db8::7"][..], "2001:db8::1"),
        (
            r#"["client_address","path"]"#,
            &["192.0.2.1", "/a/"],
            "192.0.2.1",
        ),
        (
            r#"["method","host"]"#,
            &["GET", "RAG.example.:8443"],
            "192.0.2.1",
        ),
        (r#"["header:x-api-key"]"#, &["k 1"], "192.0.2.1"),
        (r#"["header:host"]"#, &["rag.example"], "192.0.2.1"),
        (r#"["query:q"]"#, &["a b"], "192.0.2.1"),
        (r#"["cookie:session"]"#, &["s1"], "192.0.2.1"),
        (r#"["constant"]"#, &[], "192.0.2.1"),
        (r#"["constant","claim:sub"]"#, &["alice"], "192.0.2.1"),
        (r#"["header:x-none"]"#, &[""], "192.0.2.1"),
    ];
    for (key, given, peer) in parts {
        let limit = format!(
            r#"{{"name":"l","key":{key},"quota":3,"window":"1m","algorithm":"fixed_window","when_key_missing":"share"}}"#
        );
        let claims = match key.contains("claim:") {
            true => r#","claim_headers":{"sub":"x-user-id"}}"#,
            false => "}",
        };
        let config = config(&limit);
        let config = format!("{}{claims}", config.strip_suffix('}').unwrap());
        let worker: Limits = World::new(Dialect::Envoy, 1).worker(&config).unwrap();
        let headers = [
            (":method", "GET"),
            (":path", "/a?q=a+b"),
            (":authority", "rag.example:443"),
            ("x-api-key", "k 1"),
            ("cookie", "session=s1"),
            ("x-user-id", "alice"),
        ];
        assert_eq!(worker.request(peer, &headers).0.status(), 200, "{key}");
        let left = shown(&worker, &Command::Key(values(Some("l"), given)));
        assert_eq!(left["l"]["remaining"], 2, "{key}");
    }
}

#[test]
fn a_key_that_no_limit_can_have_is_refused_with_the_reason() {
    let both = config(
        r#"{"name":"per_ip","key":["client_address"],"quota":3,"window":"1m"},
           {"name":"per_path","key":["client_address","path"],"quota":3,"window":"1m"},
           {"name":"all","key":["constant"],"quota":3,"window":"1m"}"#,
    );
    let worker: Limits = World::new(Dialect::Kong, 1).worker(&both).unwrap();
    for (key, detail) in [
        (
            values(Some("per_ip"), &["nobody"]),
            "\"nobody\" is no address",
        ),
        (
            values(Some("per_ip"), &[]),
            "0 values of `key`; expected one for each of client_address",
        ),
        (
            values(Some("all"), &["x"]),
            "1 values of `key`; expected none: all of its requests have one key",
        ),
        (
            values(Some("per_path"), &["192.0.2.1", "nowhere"]),
            "\"nowhere\" is no path",
        ),
        (
            values(None, &[""]),
            "an empty `key` is a part that is missing, and wants `limit`",
        ),
        (
            values(Some("per_path"), &["192.0.2.1"]),
            "1 values of `key`; expected one for each of client_address, path",
        ),
        (
            values(None, &["nobody"]),
            "no limit has such a key; name one by `limit` to hear why",
        ),
        (
            values(None, &["a", "b", "c"]),
            "no limit has such a key; name one by `limit` to hear why",
        ),
    ] {
        let failed = carry_out(&worker, &Command::Reset(key)).unwrap_err();
        assert_eq!(failed, Failed::Invalid(detail.to_owned()));
    }
    let failed = carry_out(&worker, &Command::Limit("other".to_owned())).unwrap_err();
    let detail = "\"other\" is no limit here; there is per_ip, per_path, all";
    assert_eq!(failed, Failed::Unknown(detail.to_owned()));
    let state = shown(&worker, &Command::Limit("all".to_owned()));
    assert_eq!(
        state["all"]["remaining"], 3,
        "a limit of one key shows what it has left"
    );
    let all = shown(&worker, &Command::Reset(values(Some("all"), &[])));
    assert_eq!(all["all"]["remaining"], 3);
    let fit = carry_out(&worker, &Command::Key(values(None, &["192.0.2.1"]))).unwrap();
    let asked = fit.shown["rate_limit"].as_object().unwrap();
    assert_eq!(asked.keys().collect::<Vec<_>>(), ["per_ip"]);
    assert_eq!(asked["per_ip"]["counted"], false);
    let others = serde_json::json!({"all": ["constant"], "per_path": ["client_address", "path"]});
    assert_eq!(fit.shown["not_asked"], others);
    let reset = |peer: &str| carry_out(&worker, &Command::Reset(values(None, &[peer])));
    let failed = reset("192.0.2.1").unwrap_err();
    assert!(matches!(failed, Failed::Unknown(why) if why.starts_with("no limit counts anything")));
    status(&worker, "192.0.2.1");
    assert!(reset("192.0.2.1").is_ok() && reset("192.0.2.2").is_err());
    worker.store.0.fail_after(Some(0));
    let failed = carry_out(&worker, &Command::Key(values(None, &["192.0.2.1"]))).unwrap_err();
    assert_eq!(failed, Failed::Unavailable("store_unavailable"));
}

#[test]
fn the_busiest_keys_are_those_of_all_workers_within_a_second_and_secrets_are_not_shown() {
    for dialect in Dialect::BOTH {
        let world = World::new(dialect, 1);
        let limits = config(
            r#"{"name":"per_ip","key":["client_address"],"quota":3,"window":"1m","algorithm":"fixed_window"},
               {"name":"per_key","key":["header:x-api-key"],"quota":99,"window":"1m"}"#,
        );
        let [one, other]: [Limits; 2] = [(); 2].map(|()| world.worker(&limits).unwrap());
        let ask = |worker: &Limits, peer| {
            let headers = [
                (":method", "GET"),
                (":path", "/a"),
                ("x-api-key", "hunter2"),
            ];
            worker.request(peer, &headers)
        };
        for _ in 0..4 {
            ask(&one, "192.0.2.1");
            ask(&other, "192.0.2.1");
        }
        ask(&one, "192.0.2.2");
        world.clock.advance(Span::from_secs(1));
        one.tick();
        other.tick();
        let state = shown(&one, &Command::State);
        let busiest = &state["per_ip"]["busiest"];
        assert_eq!(busiest["asked"], 9);
        let [first, second] = [0, 1].map(|at| busiest["keys"][at].clone());
        assert_eq!(
            (&first["named"], &first["asked"]),
            (&"192.0.2.1".into(), &8.into())
        );
        assert_eq!((&first["refused"], &first["error"]), (&5.into(), &0.into()));
        assert_eq!(
            (&second["named"], &second["asked"]),
            (&"192.0.2.2".into(), &1.into())
        );
        assert_eq!(state["per_key"]["busiest"]["keys"][0]["named"], "…");
        assert!(!state.to_string().contains("hunter2"), "{dialect:?}");
        let caller = KeyNamed::Caller(first["caller"].as_str().unwrap().to_owned());
        let left = shown(&other, &Command::Key(caller));
        assert_eq!(left["per_ip"]["named"], "192.0.2.1");
        let named = |peer| values(Some("per_ip"), &[peer]);
        shown(&one, &Command::Reset(named("192.0.2.1")));
        let again = Command::Reset(KeyNamed::Caller(
            first["caller"].as_str().unwrap().to_owned(),
        ));
        assert_eq!(
            shown(&one, &again)["per_ip"]["remaining"],
            3,
            "it is known as busy"
        );
        // Again only after a second.
        ask(&one, "192.0.2.2");
        let writes = one.store.0.writes();
        world.clock.advance(Span::from_nanos(999_999_999));
        one.tick();
        assert_eq!(one.store.0.writes(), writes);
        world.clock.advance(Span::from_nanos(1));
        one.tick();
        assert_eq!(one.store.0.writes(), writes + 2, "of each limit one");
        world.clock.advance(Span::from_secs(60));
        one.tick();
        let state = shown(&other, &Command::Limit("per_ip".to_owned()));
        let before = &state["per_ip"]["busiest_before"];
        assert_eq!(before["asked"], 10, "also what was told after its end");
    }
}

#[test]
fn without_a_control_path_nothing_is_kept_of_who_is_busy() {
    let world = World::new(Dialect::Envoy, 1);
    let config = per_ip("fixed_window").replace(&format!("{CONTROL},"), "");
    let worker: Limits = world.worker(&config).unwrap();
    let with_control = World::new(Dialect::Envoy, 1);
    let other: Limits = with_control.worker(&per_ip("fixed_window")).unwrap();
    let (with, without) = (with_control.zone.len(), world.zone.len());
    assert_eq!(
        with,
        without + 1,
        "its place is taken before a client comes"
    );
    let names = |worker: &Limits| {
        let names: std::collections::BTreeSet<String> = worker.policy.slot_names().collect();
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("portcullis/rate_limit/"))
        );
        names.len()
    };
    let named = (names(&other), names(&worker));
    assert_eq!(named, (with, without), "all of its keys are named");
    status(&worker, "192.0.2.1");
    let writes = worker.store.0.writes();
    world.clock.advance(Span::from_secs(2));
    worker.tick();
    assert_eq!(worker.store.0.writes(), writes);
    assert!(
        worker
            .policy
            .slot_names()
            .all(|name| !name.contains("busiest"))
    );
}

#[test]
fn what_is_given_back_after_a_reset_admits_no_more_than_was_under_way() {
    let world = World::new(Dialect::Envoy, 1);
    let worker: Limits = world.worker(&per_ip("fixed_window")).unwrap();
    let headers = [(":method", "GET"), (":path", "/a")];
    let (_, mut flow) = worker.request("192.0.2.1", &headers);
    carry_out(&worker, &Command::Reset(values(None, &["192.0.2.1"]))).unwrap();
    worker.policy.return_unserved(&mut flow, &worker.ports());
    let admitted = (0..9)
        .filter(|_| status(&worker, "192.0.2.1") == 200)
        .count();
    assert_eq!(admitted, 3);
}

#[test]
fn a_line_names_a_few_callers_and_how_many_more_there_are() {
    for (limits, more) in [(1, None), (5, None), (6, Some("+1")), (8, Some("+3"))] {
        let of = |number: u32| {
            format!(r#"{{"name":"l{number}","key":["client_address"],"quota":3,"window":"1m"}}"#)
        };
        let all: Vec<String> = (0..limits).map(of).collect();
        let config = config(&all.join(",")).replace("\"capacity\":64", "\"capacity\":1024");
        let worker: Limits = World::new(Dialect::Envoy, 1).worker(&config).unwrap();
        let answer = carry_out(&worker, &Command::Key(values(None, &["192.0.2.1"]))).unwrap();
        let about = answer.about.unwrap();
        let named = about
            .split(',')
            .filter(|name| name.starts_with("k."))
            .count();
        assert_eq!(named, limits.min(5) as usize, "{about}");
        assert_eq!(
            about.split(',').find(|name| name.starts_with('+')),
            more,
            "{about}"
        );
    }
}

#[test]
fn a_limit_is_shown_as_it_is_set_and_what_it_counts_until_that_is_over() {
    let limits = r#"{"name":"w","key":["client_address"],"quota":3,"window":"1m","algorithm":"fixed_window"},
        {"name":"b","key":["client_address"],"quota":6,"burst":2,"window":"1m","algorithm":"token_bucket","mode":"shadow"}"#;
    let world = World::new(Dialect::Envoy, 1);
    let worker: Limits = world.worker(&config(limits)).unwrap();
    let state = shown(&worker, &Command::State);
    let setting = |limit: &str, name: &str| state[limit][name].clone();
    for (limit, name, value) in [
        ("w", "mode", serde_json::json!("enforce")),
        ("w", "key", serde_json::json!(["client_address"])),
        ("w", "quota", 3.into()),
        ("w", "window", 60.into()),
        ("w", "burst", Value::Null),
        ("b", "mode", "shadow".into()),
        ("b", "burst", 2.into()),
    ] {
        assert_eq!(setting(limit, name), value, "{limit} {name}");
    }
    // The world begins at the beginning of a minute, so that the window is over after one.
    status(&worker, "192.0.2.1");
    let counted = |worker: &Limits| {
        let key = values(Some("w"), &["192.0.2.1"]);
        shown(worker, &Command::Key(key))["w"]["counted"].clone()
    };
    world.clock.advance(Span::from_nanos(59_999_999_999));
    assert_eq!(counted(&worker), true);
    world.clock.advance(Span::from_nanos(1));
    assert_eq!(counted(&worker), false);
}
