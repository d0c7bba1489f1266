//! Many workers and one key.

use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Dialect, Worker, World, interleave};

use crate::concurrency::{PEER, errors};
use crate::reference::Algorithm;

/// As many as keep asking for one key: all of the quota is given, and nobody is turned away by
/// contention.
#[test]
fn a_hot_key_gives_all_of_its_quota_and_fails_nobody() {
    const REQUESTS: usize = 50;
    for (dialect, algorithm) in Dialect::BOTH
        .into_iter()
        .flat_map(|dialect| Algorithm::ALL.map(|algorithm| (dialect, algorithm)))
    {
        let (mut conflicts, mut requests) = (0, 0);
        for (seed, quota) in (0..4).zip([1, 60, 150, 1_000]) {
            let world = World::new(dialect, seed);
            let config = format!(
                r#"{{"capacity":16,"limits":[{{"name":"hot","key":["constant"],"quota":{quota},"window":"1m","algorithm":"{}"}}]}}"#,
                algorithm.name()
            );
            let _laid_out: Worker<RateLimit> = world.worker(&config).unwrap();
            let done = interleave(4, seed, |me, turns| {
                let worker: Worker<RateLimit> = world
                    .worker_taking(&config, Some(turns), me as u64)
                    .unwrap();
                let get = [(":method", "GET"), (":path", "/")];
                let answers = (0..REQUESTS).map(|_| worker.request(PEER, &get).0.status());
                let admitted = answers.filter(|status| *status == 200).count();
                assert_eq!(errors(&worker), 0, "seed {seed}, {dialect:?}");
                (admitted, worker.telemetry.metric("rate_limit_conflicts"))
            });
            let admitted: usize = done.iter().map(|(admitted, _)| admitted).sum();
            assert_eq!(
                admitted,
                quota.min(4 * REQUESTS),
                "seed {seed}, {dialect:?}, {algorithm:?}"
            );
            conflicts += done.iter().map(|(_, conflicts)| conflicts).sum::<u64>();
            requests += 4 * REQUESTS as u64;
        }
        let rate = conflicts * 1_000 / requests;
        println!("{dialect:?}, {algorithm:?}: {rate} conflicts per thousand requests");
    }
}
