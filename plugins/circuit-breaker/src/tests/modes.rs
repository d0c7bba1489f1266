use portcullis_policy::{HostFailure, Policy as _};

use super::*;

#[test]
fn in_shadow_everything_passes_and_the_states_are_those_of_an_enforced_breaker() {
    let plugin = ONE.replace(r#""status""#, r#""mode":"shadow","status""#);
    let one = ONE.replace(r#""name":"a""#, r#""name":"a","mode":"shadow""#);
    for config in [plugin, one] {
        let worker = breaker(&config);
        trip(&worker);
        // Would be refused, and is not observed.
        answered(&worker, 503);
        answered(&worker, 200);
        assert_eq!(state(&worker), r#"{"a":"open"}"#);
        assert_eq!(metric(&worker, "failures.breaker.a"), 2);
        assert_eq!(metric(&worker, "rejected.breaker.a"), 0);
        assert_eq!(metric(&worker, "shadow_rejected.breaker.a"), 2);
        assert_eq!(
            worker.telemetry.lines().last().unwrap(),
            "plugin=circuit_breaker event=shadow_refused breaker=a reason=open retry_after=30"
        );
        half_a_minute(&worker);
        let mut probe = admitted(&worker);
        answered(&worker, 503);
        worker.respond(&mut probe, 200, Origin::Upstream);
        assert_eq!(state(&worker), r#"{"a":"closed"}"#);
        assert_eq!(metric(&worker, "shadow_rejected.breaker.a"), 3);
    }
}

#[test]
fn off_does_nothing_at_all() {
    let plugin = ONE.replace(r#""status""#, r#""mode":"off","status""#);
    let worker = breaker(&plugin);
    answered(&worker, 503);
    answered(&worker, 503);
    assert_eq!(ask(&worker, "/status").0.status(), 200);
    assert!(matches!(ask(&worker, "/status").0, Answer::Passed(_)));
    let failure = worker
        .policy
        .on_host_failure(HostFailure::Headers, &worker.ports());
    assert_eq!(failure, None);
    assert_eq!((worker.store.0.reads(), worker.store.0.writes()), (0, 0));

    let one = ONE.replace(r#""name":"a""#, r#""name":"a","mode":"off""#);
    let worker = breaker(&one);
    answered(&worker, 503);
    answered(&worker, 503);
    assert_eq!(state(&worker), r#"{"a":"closed"}"#);
    assert_eq!(worker.store.0.reads(), 0);
}

#[test]
fn only_a_plugin_that_is_on_observes_ends() {
    for (mode, observes) in [("enforce", true), ("shadow", true), ("off", false)] {
        let worker = breaker(&ONE.replacen('{', &format!(r#"{{"mode":"{mode}","#), 1));
        assert_eq!(worker.policy.observes_ends(), observes, "{mode}");
    }
}
