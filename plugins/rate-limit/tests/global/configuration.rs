//! What is refused of limits that several gateways share.

use portcullis_policy::config::parse_text;
use portcullis_policy::{Abilities, Environment, MetricRegistry, Policy as _, Setup};
use portcullis_rate_limit::RateLimit;

struct NoVariables;
impl Environment for NoVariables {
    fn var(&self, _: &str) -> Option<String> {
        None
    }
}

fn refusal(limit: &str, global: &str, abilities: Abilities) -> Option<String> {
    let text = format!(
        r#"{{"limits":[{{"name":"a","key":["constant"],{limit}}}],"global":{{"upstream":"engine","authority":"engine","domain":"rag",{global}}}}}"#
    );
    let config = match parse_text(text.as_bytes()) {
        Ok(config) => config,
        Err(error) => return Some(error.to_string()),
    };
    let mut setup = Setup {
        environment: &NoVariables,
        metrics: &mut MetricRegistry::default(),
        abilities,
    };
    let error = RateLimit::from_config(config, &mut setup).err();
    error.map(|error| error.to_string())
}

const WINDOW: &str = r#""quota":10,"window":"1m","algorithm":"fixed_window","scope":"global""#;
const BUCKET: &str = r#""quota":10,"window":"1m","algorithm":"token_bucket","scope":"global""#;
const REDIS: &str = r#""engine":"redis""#;

#[test]
fn what_can_be_counted_by_an_engine_is_taken_on_each_gateway() {
    for (limit, global) in [
        (WINDOW, REDIS),
        (BUCKET, REDIS),
        (WINDOW, r#""engine":"limitador""#),
        (
            WINDOW,
            r#""engine":"redis","on_error":"deny","lease":{"share":1,"return_unspent":false}"#,
        ),
    ] {
        for abilities in [Abilities::ENVOY, Abilities::NATIVE, Abilities::KONG] {
            assert_eq!(refusal(limit, global, abilities), None, "{limit} {global}");
        }
    }
    for global in [
        r#""engine":"envoy_rls""#,
        r#""engine":"redis","first_request":"wait""#,
    ] {
        assert_eq!(refusal(WINDOW, global, Abilities::ENVOY), None);
    }
}

#[test]
fn what_is_configured_and_could_not_happen_is_refused_with_its_reason() {
    let wait = r#""engine":"redis","first_request":"wait""#;
    let rls = r#""engine":"envoy_rls""#;
    for (limit, global, abilities, message) in [
        (
            r#""quota":1,"window":"1m","scope":"global""#,
            REDIS,
            Abilities::ENVOY,
            "limits[0].algorithm: no engine counts a sliding window; expected `algorithm: token_bucket` or `fixed_window`",
        ),
        (
            r#""in_flight":1,"scope":"global""#,
            REDIS,
            Abilities::ENVOY,
            "limits[0].scope: requests at a time are counted by one gateway; expected `scope: local`",
        ),
        (
            r#""quota":1,"window":"1m","algorithm":"token_bucket","scope":"global""#,
            REDIS,
            Abilities::ENVOY,
            "limits[0].burst: the bucket is too small for several gateways",
        ),
        (
            r#""quota":1,"window":"1m""#,
            REDIS,
            Abilities::ENVOY,
            "global: no limit has `scope: global`, which it is for",
        ),
        (
            WINDOW,
            wait,
            Abilities::KONG,
            "global.first_request: this gateway can't hold a request; expected `admit`",
        ),
        (
            WINDOW,
            rls,
            Abilities::KONG,
            "global.engine: this gateway makes no gRPC calls; expected `redis` or `limitador`",
        ),
        (
            BUCKET,
            rls,
            Abilities::ENVOY,
            "limits[0].algorithm: this engine counts fixed windows only",
        ),
        (
            r#""quota":1,"window":"2m","algorithm":"fixed_window","scope":"global""#,
            rls,
            Abilities::ENVOY,
            "limits[0].window: the rate limit service has no such unit; expected 1m, 1h or 24h",
        ),
        (
            r#""quota":1,"window":"5s","algorithm":"fixed_window","scope":"global""#,
            r#""engine":"limitador""#,
            Abilities::KONG,
            "limits[0].window: this engine tells whole seconds; expected at least 10s, or `engine: redis`",
        ),
        (
            WINDOW,
            r#""engine":"limitador","lease":{"return_unspent":true}"#,
            Abilities::KONG,
            "global.lease.return_unspent: this engine takes nothing back",
        ),
        (
            WINDOW,
            r#""engine":"redis","lease":{"at_least":5,"at_most":4}"#,
            Abilities::KONG,
            "global.lease.at_least: more than `at_most`",
        ),
        (
            WINDOW,
            r#""engine":"redis","on_error":"deny","local_share":0.5"#,
            Abilities::KONG,
            "global.local_share: it is for `on_error: local`",
        ),
        (
            WINDOW,
            r#""engine":"redis","timeout":"5ms""#,
            Abilities::KONG,
            "global.timeout: out of range; expected 10ms to 10s",
        ),
        (
            WINDOW,
            r#""engine":"memcached""#,
            Abilities::KONG,
            "global.engine: unknown variant `memcached`",
        ),
        (
            WINDOW,
            r#""engine":"redis","lease":{"share":1.5}"#,
            Abilities::KONG,
            "global.lease.share: 1.5 is out of range",
        ),
    ] {
        let told = refusal(limit, global, abilities).unwrap_or_default();
        assert!(told.starts_with(message), "{told}\n{message}");
    }
    let alone = format!(r#"{{"limits":[{{"name":"a","key":["constant"],{WINDOW}}}]}}"#);
    let config = parse_text(alone.as_bytes()).unwrap();
    let mut setup = Setup {
        environment: &NoVariables,
        metrics: &mut MetricRegistry::default(),
        abilities: Abilities::ENVOY,
    };
    let error = RateLimit::from_config(config, &mut setup).err().unwrap();
    assert_eq!(
        error.to_string(),
        "limits[0].scope: nobody counts it; expected `global` beside the limits"
    );
}
