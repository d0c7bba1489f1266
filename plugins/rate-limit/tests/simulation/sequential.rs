//! Workers that come one after the other: every answer is the one of the reference, to the header.

use portcullis_policy::{Origin, Timestamp};
use portcullis_rate_limit::RateLimit;
use portcullis_sim::{Answer, Dialect, Worker, World};

use crate::generate::{Generated, Sent, config};
use crate::reference::{Outcome, Reference, SECOND, Standing};
use crate::schedules::{Draw, SEQUENTIAL};

/// Room for far more keys than there are, so that none makes room for another.
const CAPACITY: u32 = 64;
const REQUESTS: usize = 24;

/// What is shown of standings: of all, and of the nearest.
fn shown(headers: &[(String, String)]) -> (String, String) {
    let of = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map_or(String::new(), |(_, value)| value.clone())
    };
    (of("ratelimit"), of("x-ratelimit-remaining"))
}

fn expected(standings: &[Standing]) -> (String, String) {
    let all = standings
        .iter()
        .map(|(name, remaining, reset)| format!("\"{name}\";r={remaining};t={reset}"));
    let nearest = standings.iter().map(|(_, remaining, _)| *remaining).min();
    let all: Vec<String> = all.collect();
    (
        all.join(", "),
        nearest.map_or(String::new(), |n| n.to_string()),
    )
}

/// On a refusal what is given back shows in `r` and not yet in `t` of a bucket: only the last
/// limit's `t` is compared, and all `r`.
fn without_resets_of_others((all, nearest): (String, String)) -> (String, String) {
    let mut parts: Vec<String> = all.split(", ").map(str::to_owned).collect();
    let last = parts.len() - 1;
    for part in &mut parts[..last] {
        part.truncate(part.rfind(";t=").unwrap());
    }
    (parts.join(", "), nearest)
}

fn check(worker: &Worker<RateLimit>, sent: &Sent, outcome: Outcome) -> Result<(), String> {
    let (answer, mut flow) = worker.request(sent.peer, &sent.all_headers());
    let (found, wanted) = match (&answer, &outcome) {
        (Answer::Passed(_), Outcome::Passed(standings)) => {
            let headers = worker.respond(&mut flow, 200, Origin::Upstream);
            (shown(&headers), expected(standings))
        }
        (
            Answer::Refused(reply),
            Outcome::Exhausted {
                retry_after,
                standings,
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
            (
                without_resets_of_others(shown(&headers)),
                without_resets_of_others(expected(standings)),
            )
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
            .map(|place| Generated::draw(&draw, place))
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
            let sent = Sent::draw(&draw);
            let asked: Vec<_> = limits.iter().map(|limit| limit.asked(&sent)).collect();
            let outcome = reference.request(&asked, now);
            let worker = &workers[draw.between(0, workers.len() as u64 - 1) as usize];
            if let Err(error) = check(worker, &sent, outcome) {
                panic!("request {request} ({sent:?}) at {now}, {dialect:?}: {error}\n{config}");
            }
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
