//! Random schedules.

use portcullis_sim::{Draw, Part, check_shares};

use crate::play::{Faults, Happening, Play, SECOND, Sending};
use crate::reference::Terms;

/// Whoever waits is admitted within the quota.
const WAITING: Part = part(
    "whatever_becomes_of_calls_gateways_that_wait_admit_no_more_than_the_quota",
    550,
);
/// Whoever passes on credit goes beyond it by what all gateways lend.
const LENDING: Part = part(
    "gateways_that_lend_go_beyond_the_quota_by_a_lease_each_at_most",
    350,
);
/// An engine that forgets what it has counted gives it out once more.
const FORGETTING: Part = part(
    "an_engine_that_starts_anew_gives_out_what_it_has_forgotten_and_no_more",
    100,
);

const fn part(test: &'static str, share: u64) -> Part {
    Part {
        package: env!("CARGO_PKG_NAME"),
        test,
        share,
    }
}

#[test]
fn the_shares_of_all_parts_make_a_whole() {
    check_shares(&[WAITING, LENDING, FORGETTING]);
}

const KEYS: u64 = 3;

fn terms(draw: &Draw) -> Terms {
    let quota = draw.between(1, 40);
    let window = draw.between(1, 20) * SECOND;
    Terms {
        is_bucket: draw.once_in(2),
        quota,
        burst: draw.between(quota.div_ceil(2).max(3), 2 * quota + 3),
        window,
    }
}

/// A configuration, and the most that a lease has for what may come.
fn config(draw: &Draw, terms: &Terms, first_request: &str) -> (String, u64) {
    let (share, per_mille) = draw.of(&[("0.05", 50), ("0.1", 100), ("0.3", 300), ("1", 1_000)]);
    let at_least = draw.between(1, 3);
    let others = format!(
        r#","on_error":"deny","lease":{{"share":{share},"at_least":{at_least},"return_unspent":{}}}"#,
        !draw.once_in(3)
    );
    let largest = (terms.quota * per_mille / 1_000).max(at_least);
    (
        terms.config(first_request, &others),
        largest.min(terms.quota),
    )
}

/// When a client sends, some of them when others have sent or have had a while to forget what they hold.
fn times(draw: &Draw, end: u64) -> Vec<u64> {
    let mut times = Vec::new();
    let mut at = 0;
    while at < end {
        for _ in 0..draw.of(&[1, 3, 10, 40]) {
            times.push(at + draw.between(0, draw.of(&[1, 20_000_000, 500_000_000])));
        }
        at += draw.between(1, draw.of(&[SECOND / 10, SECOND, 3 * SECOND, 5 * SECOND]));
    }
    times.truncate(250);
    times
}

/// What was played, and what all gateways lend together.
fn play(seed: u64, first_request: &str, forgets: u64) -> (Play, Terms, u64) {
    let draw = Draw::new(seed, 1);
    let mut terms = terms(&draw);
    if terms.is_bucket {
        // What drips in within a lease, 100 ms at least, is to be less than the bucket.
        let dripped = (terms.quota * SECOND / 10).div_ceil(terms.window);
        terms.burst = terms.burst.max(dripped + 4);
    } else {
        terms.quota = terms.quota.max(3);
    }
    let gateways = draw.between(1, 10);
    let workers = draw.between(1, 4);
    let faults = match draw.once_in(3) {
        true => Faults::default(),
        false => Faults {
            lost_requests: draw.of(&[0, 5, 20]),
            lost_answers: draw.of(&[0, 5, 20]),
            doubled: draw.of(&[0, 3, 10]),
            longest_delay: draw.of(&[1, 10, 150, 300]),
        },
    };
    let (config, largest) = config(&draw, &terms, first_request);
    let mut play = Play::new(&config, gateways as usize, workers as usize, faults, seed);
    let end = (3 * terms.window).min(20 * SECOND);
    for at in times(&draw, end) {
        play.send(
            at,
            Sending {
                gateway: draw.between(0, gateways - 1) as usize,
                key: draw.between(0, KEYS - 1) as usize,
                cost: draw.of(&[1, 1, 1, 3]),
            },
        );
    }
    let mut lenders = gateways;
    for _ in 0..draw.between(0, 4) {
        let at = draw.between(0, end);
        let gateway = draw.between(0, gateways - 1) as usize;
        let happening = match draw.between(0, 4) {
            0 => {
                play.happens(at + draw.between(0, end / 2), Happening::Up);
                Happening::Down
            }
            1 => {
                let is_cut = false;
                let until = at + draw.between(0, end / 2);
                play.happens(until, Happening::Cut { gateway, is_cut });
                let is_cut = true;
                Happening::Cut { gateway, is_cut }
            }
            2 => {
                lenders += 1;
                Happening::Replaced { gateway }
            }
            3 => Happening::Up,
            _ => Happening::ClockSet {
                gateway,
                by: draw.of(&[-86_400, -60, -2, 2, 60, 86_400]),
            },
        };
        play.happens(at, happening);
    }
    for _ in 0..forgets {
        play.happens(draw.between(0, end), Happening::UpEmpty);
    }
    play.run_until(end + 5 * SECOND);
    (play, terms, lenders * largest)
}

#[test]
fn whatever_becomes_of_calls_gateways_that_wait_admit_no_more_than_the_quota() {
    let mut admitted = 0;
    WAITING.run(|seed| {
        let (play, terms, ..) = play(seed, "wait", 0);
        for key in 0..KEYS as usize {
            let excess = terms.excess(&play, key);
            assert_eq!(excess, 0, "{terms:?} {:?}", play.admitted);
        }
        let held = play.admitted.iter().map(|admitted| admitted.held).max();
        // 200 ms, and the ticks before and behind it.
        assert!(held.unwrap_or(0) <= SECOND * 3 / 10, "{held:?}");
        admitted += play.admitted.len();
    });
    assert!(admitted > 0);
}

#[test]
fn gateways_that_lend_go_beyond_the_quota_by_a_lease_each_at_most() {
    LENDING.run(|seed| {
        let (play, terms, lent) = play(seed, "admit", 0);
        for key in 0..KEYS as usize {
            let excess = terms.excess(&play, key);
            assert!(excess <= lent, "{excess}: {terms:?} {:?}", play.admitted);
        }
    });
}

#[test]
fn an_engine_that_starts_anew_gives_out_what_it_has_forgotten_and_no_more() {
    FORGETTING.run(|seed| {
        let times = 1 + seed % 2;
        let (play, terms, _) = play(seed, "wait", times);
        let at_once = if terms.is_bucket {
            terms.burst
        } else {
            terms.quota
        };
        for key in 0..KEYS as usize {
            let excess = terms.excess(&play, key);
            assert!(
                excess <= times * at_once,
                "{excess}: {terms:?} {:?}",
                play.admitted
            );
        }
    });
}
