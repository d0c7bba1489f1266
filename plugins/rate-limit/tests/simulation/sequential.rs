//! Workers that come one after the other: every answer is the one of the reference, to the header.

use std::collections::BTreeMap;

use portcullis_policy::{Origin, Timestamp};
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Answer, Dialect, Draw, Worker, World, Zone};

use crate::generate::{Drawn, Generated, config};
use crate::reference::{Allowance, Outcome, Reference, SECOND};
use crate::schedules::SEQUENTIAL;

/// Room for far more keys than there are, so that none makes room for another.
const CAPACITY: u32 = 64;
const REQUESTS: usize = 24;

/// What is shown of allowances: of all, and of the nearest.
#[derive(Debug, PartialEq)]
struct Shown {
    all: String,
    remaining: String,
    reset: String,
}

fn shown(headers: &[(String, String)]) -> Shown {
    let of = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map_or(String::new(), |(_, value)| value.clone())
    };
    Shown {
        all: of("ratelimit"),
        remaining: of("x-ratelimit-remaining"),
        reset: of("x-ratelimit-reset"),
    }
}

/// The nearest is the one that refuses for longest, else the one with the fewest left; of equals the
/// one that takes longer.
fn expected(allowances: &[Allowance]) -> Shown {
    let all = allowances.iter().map(|allowance| {
        let Allowance {
            name,
            remaining,
            reset,
            ..
        } = allowance;
        format!("\"{name}\";r={remaining};t={reset}")
    });
    // Of equals the first: the last one that is found from the end on.
    let longest = |allowance: &&Allowance| (allowance.reset, allowance.window);
    let refusing = allowances.iter().filter(|allowance| allowance.refuses);
    let fewest = allowances.iter().map(|allowance| allowance.remaining).min();
    let nearest = refusing.rev().max_by_key(longest).or_else(|| {
        let nearest = allowances.iter().filter(|s| Some(s.remaining) == fewest);
        nearest.rev().max_by_key(longest)
    });
    let of = |of: fn(&Allowance) -> i128| nearest.map_or(String::new(), |n| of(n).to_string());
    Shown {
        all: all.collect::<Vec<_>>().join(", "),
        remaining: of(|nearest| nearest.remaining),
        reset: of(|nearest| nearest.reset),
    }
}

/// Whether a request is answered as the reference says, to the header.
pub(crate) fn check(
    worker: &Worker<RateLimit>,
    sent: (&str, &[(&str, &str)]),
    outcome: Outcome,
) -> Result<(), String> {
    let (answer, mut flow) = worker.request(sent.0, sent.1);
    let (found, wanted) = match (&answer, &outcome) {
        (Answer::Passed(_), Outcome::Passed(allowances)) => {
            let headers = worker.respond(&mut flow, 200, Origin::Upstream);
            (shown(&headers), expected(allowances))
        }
        (
            Answer::Refused(reply),
            Outcome::Exhausted {
                retry_after,
                allowances,
            },
        ) if reply.status == 429 => {
            let headers: Vec<(String, String)> = reply
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect();
            let retry = headers.iter().find(|(name, _)| name == "retry-after");
            let told = retry.map(|(_, value)| value.clone());
            if told != Some(retry_after.to_string()) {
                return Err(format!("retry-after {told:?}, not {retry_after}"));
            }
            (shown(&headers), expected(allowances))
        }
        (Answer::Refused(reply), Outcome::KeyMissing) if reply.status == 400 => return Ok(()),
        _ => return Err(format!("{answer:?}, not {outcome:?}")),
    };
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{found:?}, not {wanted:?}"))
    }
}

/// All that is stored, with its versions.
pub(crate) fn snapshot(zone: &Zone) -> BTreeMap<String, Option<(Vec<u8>, u32)>> {
    let keys = zone.keys().into_iter();
    keys.map(|key| (key.clone(), zone.get(&key))).collect()
}

/// The clock stands still, moves on a little, to a window's boundary, by windows or by up to a day.
fn next(draw: &Draw, now: i128, window: i128) -> i128 {
    let below = |most: i128| i128::from(draw.between(0, most as u64));
    let boundary = (now / window + 1) * window;
    match draw.between(0, 11) {
        0..=4 => now,
        5 => now + 1,
        6 => now.max(boundary - 1),
        7 => boundary,
        8 => now + below(window / 8),
        9 | 10 => now + below(2 * window),
        _ => now + below(86_400 * SECOND),
    }
}

#[test]
fn every_answer_is_the_one_of_the_reference() {
    SEQUENTIAL.run(|seed| {
        let draw = Draw::new(seed, 1);
        let dialect = draw.of(&Dialect::BOTH);
        let world = World::new(dialect, seed);
        let limits: Vec<Generated> = (0..draw.between(1, 3) as usize)
            .map(|index| Generated::draw(&draw, index))
            .collect();
        let config = config(CAPACITY, &limits);
        let workers: Vec<Worker<RateLimit>> = (0..draw.between(1, 4))
            .map(|number| world.worker_taking(&config, None, number).unwrap())
            .collect();
        let mut reference = Reference::new(limits.iter().map(|l| l.limit.clone()).collect());
        let mut now = i128::from(world.clock.read().unix_nanos());
        now += i128::from(draw.between(0, 7_200 * SECOND as u64));
        for request in 0..REQUESTS {
            let window = limits[draw.between(0, limits.len() as u64 - 1) as usize]
                .limit
                .quota
                .window;
            now = next(&draw, now, window);
            world.clock.set(Timestamp::from_unix_nanos(now as u64));
            let sent = Drawn::draw(&draw);
            let asked: Vec<_> = limits.iter().map(|limit| limit.asked(&sent)).collect();
            let outcome = reference.request(&asked, now);
            let worker = &workers[draw.between(0, workers.len() as u64 - 1) as usize];
            let before = snapshot(&world.zone);
            let refused = !matches!(outcome, Outcome::Passed(_));
            if let Err(error) = check(worker, (sent.peer, &sent.all_headers()), outcome) {
                panic!("request {request} ({sent:?}) at {now}, {dialect:?}: {error}\n{config}");
            }
            let unchanged = snapshot(&world.zone) == before;
            assert!(
                unchanged || !refused,
                "request {request} ({sent:?}): {config}"
            );
        }
        for (worker, limit) in workers
            .iter()
            .flat_map(|w| limits.iter().map(move |l| (w, l)))
        {
            let evictions = format!("rate_limit_evictions.limit.{}", limit.limit.name);
            assert_eq!(worker.telemetry.metric(&evictions), 0, "{config}");
        }
    });
}
