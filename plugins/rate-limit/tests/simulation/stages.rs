//! The two stages of `edge`: before the token is looked at, and after.

use std::net::IpAddr;

use portcullis_policy::{
    Abilities, Headers, MetricRegistry, PeerAddress, Policy as _, Ports, Request, Setup, SharedData,
};
use portcullis_rate_limit::{Beside, Config, Flow, RateLimit, Stage};
use portcullis_sim::{Dialect, Env, RecordingTelemetry, SeededEntropy, World, ZoneStore};

use crate::reference::Algorithm;
use crate::sequential::snapshot;

struct Peer(IpAddr);
impl PeerAddress for Peer {
    fn peer(&self) -> Option<IpAddr> {
        Some(self.0)
    }
}

/// Eight addresses fill the first stage's only slot; the second stage refuses a ninth: it has pushed
/// one out, which comes back.
#[test]
fn what_the_second_stage_refuses_leaves_nothing_of_the_first_not_even_who_made_room() {
    for (dialect, algorithm) in Dialect::BOTH
        .into_iter()
        .flat_map(|dialect| Algorithm::ALL.map(|algorithm| (dialect, algorithm)))
    {
        let algorithm = algorithm.name();
        let config: Config = serde_json::from_str(&format!(
            r#"{{"before_auth":["first"],"capacity":64,"limits":[
                {{"name":"second","key":["constant"],"quota":8,"window":"1h","algorithm":"{algorithm}"}},
                {{"name":"first","key":["client_address"],"quota":5,"window":"1h","algorithm":"{algorithm}","capacity":8}}]}}"#
        ))
        .unwrap();
        let world = World::new(dialect, 1);
        let mut metrics = MetricRegistry::default();
        let mut setup = Setup {
            environment: &Env::default(),
            metrics: &mut metrics,
            abilities: Abilities::NATIVE,
        };
        let policy = RateLimit::for_edge(
            config,
            Beside {
                claims: true,
                control: false,
            },
            &mut setup,
        )
        .unwrap();
        let (store, entropy) = (
            SharedData(ZoneStore::new(&world.zone, None)),
            SeededEntropy::new(1),
        );
        let telemetry = RecordingTelemetry::new(&metrics);
        let ports = Ports {
            clock: &world.clock,
            entropy: &entropy,
            store: &store,
            telemetry: &telemetry,
        };
        policy.prepare(&ports);
        let ask = |peer: u8| {
            let headers = Headers::from_pairs([(":method", "GET"), (":path", "/")]);
            let peer = Peer(IpAddr::from([192, 0, 2, peer]));
            let request = Request::new(&headers, &peer);
            let mut flow = Flow::default();
            policy
                .ask(Stage::BeforeAuth, &request, None, &mut flow, &ports)
                .and_then(|_| policy.ask(Stage::AfterAuth, &request, None, &mut flow, &ports))
        };
        assert!((1..=8).all(|peer| ask(peer).is_ok()));
        let before = snapshot(&world.zone);
        for peer in [9, 10, 1, 9] {
            let refusal = ask(peer).unwrap_err();
            let state = refusal.headers.iter().find(|(name, _)| name == "ratelimit");
            let expected = if peer == 1 { "r=4;" } else { "r=5;" };
            let (_, state) = state.unwrap();
            assert!(state.contains(&format!("\"first\";{expected}")), "{state}");
            let after = snapshot(&world.zone);
            let values = |all: &std::collections::BTreeMap<String, Option<(Vec<u8>, u32)>>| {
                let values = all.iter().map(|(key, value)| {
                    let bytes = value.as_ref().map(|(bytes, _)| bytes.clone());
                    (key.clone(), bytes)
                });
                values.collect::<Vec<_>>()
            };
            assert_eq!(
                values(&after),
                values(&before),
                "{dialect:?} {algorithm} {peer}"
            );
        }
    }
}
