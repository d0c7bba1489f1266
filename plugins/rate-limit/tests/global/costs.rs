//! What leases cost: calls to the engine, and quota that nobody could use.

use portcullis_sim::Draw;

use crate::play::{Faults, Play, SECOND, Sending};
use crate::reference::Terms;

/// How requests come.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// To all gateways alike.
    Uniform,
    /// Four in five to one of them.
    Skewed,
    /// All of a second within its first 50 ms.
    Bursty,
}

impl Load {
    const ALL: [Self; 3] = [Self::Uniform, Self::Skewed, Self::Bursty];

    const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Skewed => "skewed",
            Self::Bursty => "bursty",
        }
    }
}

const SECONDS: u64 = 60;

/// 600 a 10 s, of which twice as much is asked for (or nine tenths): calls for 1,000 requests, and what was admitted of what could
/// have been, in per mille.
fn measured(load: Load, gateways: u64, first_request: &str, asked: u64) -> (u64, u64) {
    let terms = Terms {
        is_bucket: false,
        quota: 600,
        burst: 0,
        window: 10 * SECOND,
    };
    let faults = Faults {
        longest_delay: 2,
        ..Faults::default()
    };
    let config = terms.config(first_request, "");
    let mut play = Play::new(&config, gateways as usize, 4, faults, 3);
    let draw = Draw::new(3, 5);
    // From the begin of a window of the engine's on.
    let begin = terms.window - play.offset_in(terms.window);
    let total = asked * SECONDS;
    for index in 0..total {
        let second = index / asked;
        let within = match load {
            Load::Bursty => draw.between(0, 50_000_000),
            Load::Uniform | Load::Skewed => draw.between(0, SECOND - 1),
        };
        let gateway = match load {
            Load::Skewed if !draw.once_in(5) => 0,
            _ => draw.between(0, gateways - 1),
        };
        play.send(
            begin + second * SECOND + within,
            Sending {
                gateway: gateway as usize,
                key: 0,
                cost: 1,
            },
        );
    }
    play.run_until(begin + SECONDS * SECOND);
    assert_eq!(play.sent, total);
    let possible = total.min(terms.quota * SECONDS / 10);
    let admitted = play.admitted.len() as u64;
    let excess = terms.excess(&play, 0);
    assert!(first_request == "admit" || excess == 0, "{excess}");
    (play.calls * 1_000 / total, admitted * 1_000 / possible)
}

#[test]
fn nearly_all_of_a_quota_is_used_under_steady_demand_with_few_calls() {
    println!("| Load | Gateways | `wait`: calls | used | `admit`: calls | used |");
    let page = include_str!("../../../../docs/global.md");
    for load in Load::ALL {
        for gateways in [1, 2, 4, 10] {
            let rows = ["wait", "admit"].map(|first| measured(load, gateways, first, 120));
            let cells =
                rows.map(|(calls, used)| format!("{calls} | {}.{} %", used / 10, used % 10));
            let row = format!("| {} | {gateways} | {} |", load.name(), cells.join(" | "));
            println!("{row}");
            assert!(
                page.contains(&row),
                "docs/global.md says something else than {row}"
            );
            for (calls, used) in rows {
                assert!(used >= 950, "{load:?} {gateways}: {used} per mille");
                assert!(calls <= 250, "{load:?} {gateways}: {calls} calls");
            }
        }
    }
}

#[test]
fn nobody_is_refused_where_less_is_asked_for_than_there_is() {
    for load in [Load::Uniform, Load::Skewed] {
        for gateways in [1, 4, 10] {
            let (calls, used) = measured(load, gateways, "wait", 54);
            println!("{load:?} {gateways}: {calls} calls, {used} per mille");
            assert!(used >= 990, "{load:?} {gateways}: {used} per mille");
        }
    }
}
