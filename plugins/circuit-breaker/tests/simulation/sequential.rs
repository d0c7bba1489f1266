//! Workers that come one after the other: every answer, every line and every state shown is the one
//! of the reference, also where calls of the gateway fail.

use portcullis_policy::{HostFailure, Policy as _};
use portcullis_sim::{Dialect, Draw, telling};

use crate::generate::{MILLI, Plugin};
use crate::play::{Fault, Play};
use crate::request::Drawn;
use crate::schedules::{FAILED, SEQUENTIAL};

const EVENTS: u64 = 60;
const DAY: u64 = 86_400_000 * MILLI;

/// The clock moves to where something changes by itself, to just before that, or anywhere.
fn wait(draw: &Draw, play: &Play) {
    let now = play.now();
    let moments = play.moments();
    let next = match draw.between(0, 9) {
        0..=2 if !moments.is_empty() => draw.of(&moments),
        3 | 4 if !moments.is_empty() => draw.of(&moments) - 1,
        5 => now + 1,
        6 => now + draw.between(0, 5_000) * MILLI,
        7 if draw.once_in(10) => now + draw.between(0, DAY),
        _ => now + draw.between(0, 200) * MILLI,
    };
    play.set_clock(next);
}

/// One event after the other, each with the fault that `fault` draws.
fn run(draw: &Draw, play: &mut Play, fault: impl Fn(&Draw) -> Fault) {
    for _ in 0..draw.between(1, 3) {
        play.join();
    }
    for _ in 0..EVENTS {
        let worker = draw.between(0, play.workers.len() as u64 - 1) as usize;
        match draw.between(0, 19) {
            0..=6 => drop(play.ask(draw, Drawn::draw(draw), worker, fault(draw))),
            7..=14 => {
                if let Some(last) = play.flying.len().checked_sub(1) {
                    let index = draw.between(0, last as u64) as usize;
                    play.step(index, fault(draw));
                }
            }
            15 => play.tick(worker, fault(draw)),
            16 if draw.once_in(4) => play.join(),
            _ => wait(draw, play),
        }
        play.check_states();
    }
}

#[test]
fn every_answer_and_state_is_the_one_of_the_reference() {
    SEQUENTIAL.run(|seed| {
        let draw = Draw::new(seed, 1);
        let dialect = draw.of(&Dialect::BOTH);
        let mut play = Play::new(dialect, seed, Plugin::draw(&draw));
        telling(play.to_string(), || {
            run(&draw, &mut play, |_| Fault::default());
            play.finish();
        });
    });
}

/// A failure is lost that can't be written down, and a worker's counts that can't be reported; a request
/// on which nothing can be decided passes unobserved, or does not pass. All else is as it would be.
#[test]
fn failed_calls_are_counted_on_error_decides_and_nothing_else_changes() {
    FAILED.run(|seed| {
        let draw = Draw::new(seed, 2);
        let dialect = draw.of(&Dialect::BOTH);
        let mut plugin = Plugin::draw(&draw);
        plugin.guards.truncate(1);
        let mut play = Play::new(dialect, seed, plugin);
        telling(play.to_string(), || {
            run(&draw, &mut play, |draw| match draw.between(0, 9) {
                0 | 1 => Fault {
                    after: Some(draw.between(0, 3) as u32),
                    ..Fault::default()
                },
                2 => Fault {
                    writes: true,
                    ..Fault::default()
                },
                3 => Fault {
                    clock: true,
                    ..Fault::default()
                },
                _ => Fault::default(),
            });
            host_fails(&draw, &mut play);
            play.finish();
        });
    });
}

/// The gateway fails at its own part, for which `on_error` holds, too.
fn host_fails(draw: &Draw, play: &mut Play) {
    for (failure, reason) in [
        (HostFailure::Headers, "headers_unreadable"),
        (HostFailure::Edit, "edit_failed"),
    ] {
        let worker = draw.between(0, play.workers.len() as u64 - 1) as usize;
        let gateway = &play.workers[worker];
        let reply = gateway.policy.on_host_failure(failure, &gateway.ports());
        let refuses = play.plugin.denies && play.plugin.is_enforced();
        assert_eq!(reply.map(|reply| reply.status), refuses.then_some(503));
        play.books[worker].error(reason);
        if refuses {
            play.books[worker].unavailable(reason, None);
        }
    }
}
