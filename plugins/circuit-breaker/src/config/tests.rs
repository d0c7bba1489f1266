use portcullis_policy::config::{Duration, parse_text};

use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let config: Config = parse_text(text.as_bytes()).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn what_is_not_written_has_a_default() {
    let config = parse(r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5}}]}"#).unwrap();
    assert_eq!(
        (config.mode, config.on_error),
        (Mode::Enforce, OnError::Allow)
    );
    let breaker = &config.breakers.as_slice()[0];
    let statuses: Vec<u16> = breaker.failures.status.0.iter().map(|s| s.get()).collect();
    assert_eq!(statuses, [500, 502, 503, 504]);
    let grpc: Vec<u8> = breaker
        .failures
        .grpc_status
        .0
        .iter()
        .map(|s| s.get())
        .collect();
    assert_eq!(grpc, [4, 8, 13, 14]);
    assert!(breaker.failures.connection && breaker.failures.timeout);
    assert_eq!(breaker.open_for.initial, Duration::from_secs(30));
    assert_eq!(breaker.open_for.multiplier.millionths(), 1_000_000);
    assert_eq!(breaker.open_for.longest(), Duration::from_secs(300));
    assert_eq!(breaker.open_for.jitter.millionths(), 0);
    assert_eq!(breaker.force, Force::None);
    assert_eq!(breaker.half_open.probes.get(), 1);
    assert_eq!(breaker.half_open.successes_to_close.get(), 1);
    assert_eq!(breaker.half_open.probe_lease, Duration::from_secs(35));
}

#[test]
fn an_empty_list_of_statuses_may_be_written_as_kong_writes_it() {
    let text =
        r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5},"failures":{"status":{}}}]}"#;
    let config = parse(text).unwrap();
    assert!(config.breakers.as_slice()[0].failures.status.0.is_empty());
}

#[test]
fn an_error_says_path_value_and_rule() {
    let breaker = |fields: &str| {
        format!(
            r#"{{"breakers":[{{"name":"a","trip":{{"consecutive_failures":5}}}},{{{fields}}}]}}"#
        )
    };
    for (text, error) in [
        ("{}".to_owned(), "configuration: missing field `breakers`"),
        (
            r#"{"breakers":[]}"#.to_owned(),
            "breakers: the list is empty; expected at least one entry",
        ),
        (
            breaker(r#""name":"b""#),
            "breakers[1]: missing field `trip`",
        ),
        (
            breaker(r#""name":"b","trip":{}"#),
            "breakers[1].trip: nothing opens the breaker; expected consecutive_failures, failure_ratio, slow_ratio or slow_first_token",
        ),
        (
            breaker(r#""name":"b","trip":{"consecutive_failures":0}"#),
            "breakers[1].trip.consecutive_failures: 0 is out of range; expected 1 to 10000",
        ),
        (
            breaker(r#""name":"b","trip":{"consecutive_failures":5,"failure_ratio":{}}"#),
            "breakers[1].trip.failure_ratio: missing field `above`",
        ),
        (
            breaker(
                r#""name":"b","trip":{"failure_ratio":{"above":1,"window":"30s","minimum_requests":20}}"#,
            ),
            "breakers[1].trip.failure_ratio.above: 1 is out of range; expected 0 to 0.999999",
        ),
        (
            breaker(
                r#""name":"b","trip":{"failure_ratio":{"above":0.5,"window":"500ms","minimum_requests":20}}"#,
            ),
            "breakers[1].trip.failure_ratio.window: shorter than 1s; expected at least 1s",
        ),
        (
            breaker(
                r#""name":"b","trip":{"slow_ratio":{"above":0.5,"slower_than":"2s","window":"999ms","minimum_requests":20}}"#,
            ),
            "breakers[1].trip.slow_ratio.window: shorter than 1s; expected at least 1s",
        ),
        (
            breaker(
                r#""name":"b","trip":{"failure_ratio":{"above":0.5,"window":"30s","minimum_requests":0}}"#,
            ),
            "breakers[1].trip.failure_ratio.minimum_requests: 0 is out of range; expected 1 to 1000000",
        ),
        (
            breaker(
                r#""name":"b","trip":{"slow_ratio":{"above":0.5,"window":"30s","minimum_requests":20}}"#,
            ),
            "breakers[1].trip.slow_ratio: missing field `slower_than`",
        ),
        (
            breaker(r#""name":"b","trip":{"consecutive_failures":5},"force":"ajar""#),
            "breakers[1].force: unknown variant `ajar`",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"open_for":{"multiplier":0.5}"#,
            ),
            "breakers[1].open_for.multiplier: 0.5 is out of range; expected 1 to 100",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"open_for":{"initial":"30s","max":"29s"}"#,
            ),
            "breakers[1].open_for.max: shorter than initial; expected at least as long a time",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"open_for":{"jitter":1.1}"#,
            ),
            "breakers[1].open_for.jitter: 1.1 is out of range; expected 0 to 1",
        ),
        (
            breaker(r#""name":"b","trip":{"consecutive_failures":5},"half_open":{"probes":17}"#),
            "breakers[1].half_open.probes: 17 is out of range; expected 1 to 16",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"failures":{"status":[500,200]}"#,
            ),
            "breakers[1].failures.status[1]: 200 is out of range; expected 400 to 599",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"failures":{"grpc_status":[4,0]}"#,
            ),
            "breakers[1].failures.grpc_status[1]: 0 is out of range; expected 1 to 16",
        ),
        (
            breaker(
                r#""name":"b","trip":{"consecutive_failures":5},"failures":{"status":[],"grpc_status":[],"connection":false,"timeout":false}"#,
            ),
            "breakers[1].failures: nothing counts as a failure; expected a status, a grpc_status, connection, timeout or stall",
        ),
        (
            breaker(r#""name":"a","trip":{"consecutive_failures":5}"#),
            r#"breakers[1].name: "a" is there twice; expected a name of its own for each breaker"#,
        ),
        (
            breaker(r#""name":"a-b","trip":{"consecutive_failures":5}"#),
            r#"breakers[1].name: "a-b" is not a name"#,
        ),
        (
            r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5}}],"status":{"path":"status"}}"#
                .to_owned(),
            r#"status.path: "status" is not a path"#,
        ),
    ] {
        let found = parse(&text).unwrap_err();
        assert!(found.starts_with(error), "{text}\n{found}\n{error}");
    }
}

#[test]
fn there_is_an_end_to_breakers() {
    let breakers: Vec<String> = (0..=MOST_BREAKERS)
        .map(|n| format!(r#"{{"name":"b{n}","trip":{{"consecutive_failures":5}}}}"#))
        .collect();
    let text = |breakers: &[String]| format!(r#"{{"breakers":[{}]}}"#, breakers.join(","));
    assert_eq!(
        parse(&text(&breakers)).unwrap_err(),
        "breakers: 257 breakers; expected at most 256"
    );
    assert!(parse(&text(&breakers[1..])).is_ok());
}

#[test]
fn one_kind_of_failure_and_the_shortest_window_are_enough() {
    for failures in [
        r#""status":[500],"grpc_status":[],"connection":false,"timeout":false"#,
        r#""status":[],"grpc_status":[14],"connection":false,"timeout":false"#,
        r#""status":[],"grpc_status":[],"connection":true,"timeout":false"#,
        r#""status":[],"grpc_status":[],"connection":false,"timeout":true"#,
    ] {
        let text = format!(
            r#"{{"breakers":[{{"name":"a","trip":{{"failure_ratio":{{"above":0.5,"window":"1s","minimum_requests":9}}}},"failures":{{{failures}}}}}]}}"#
        );
        assert_eq!(parse(&text).err(), None, "{failures}");
    }
}

#[test]
fn the_longest_time_open_is_no_shorter_than_the_first_where_it_is_not_set() {
    let text = r#"{"breakers":[{"name":"a","trip":{"consecutive_failures":5},"open_for":{"initial":"10m"}}]}"#;
    let config = parse(text).unwrap();
    let open_for = &config.breakers.as_slice()[0].open_for;
    assert_eq!(open_for.longest(), Duration::from_secs(600));
}
