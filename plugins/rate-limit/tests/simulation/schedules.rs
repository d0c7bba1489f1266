//! The parts of the simulation, and how many of its schedules each tries.

use portcullis_sim::{Part, check_shares};

/// One worker after the other, against the reference.
pub(crate) const SEQUENTIAL: Part = part("every_answer_is_the_one_of_the_reference", 320);
/// Workers that interleave, without faults.
pub(crate) const INTERLEAVED: Part = part(
    "interleaved_workers_admit_the_quota_and_leave_no_charge_behind",
    60,
);
/// The same while the clock moves on between readings and charges.
pub(crate) const LATE: Part = part(
    "late_readings_of_the_clock_admit_nothing_beyond_the_bound",
    50,
);
/// The same with torn reads.
pub(crate) const TORN: Part = part("torn_reads_admit_nothing_beyond_the_quota", 30);
/// The same with slots that are lost.
pub(crate) const LOST: Part = part("a_lost_slot_gives_at_most_one_more_quota", 30);
/// The same with calls that fail.
pub(crate) const FAILED: Part = part(
    "failed_calls_are_counted_and_nothing_else_goes_beyond_the_quota",
    30,
);
/// Floods of keys on one limit, while the others are to stay exact.
pub(crate) const FLOODED: Part = part(
    "a_flood_on_one_limit_moves_no_other_and_what_is_refused_leaves_nothing_behind",
    60,
);
/// The same by workers that interleave.
pub(crate) const FLOODED_AT_ONCE: Part =
    part("interleaved_floods_leave_every_other_limit_exact", 20);
/// Clocks that are set, and what is admitted in real time.
pub(crate) const STEPS: Part = part(
    "a_clock_that_is_set_admits_nothing_beyond_the_bound_of_real_time",
    200,
);
/// Clocks that are set, and for how long a key is refused.
pub(crate) const LOCKOUT: Part = part("a_clock_that_is_set_shuts_nobody_out_for_long", 100);
/// Requests at a time.
pub(crate) const IN_FLIGHT: Part = part(
    "in_whatever_order_workers_run_there_are_never_more_at_a_time",
    50,
);

/// Budgets of tokens.
pub(crate) const TOKENS: Part = part(
    "in_whatever_order_streams_end_no_more_is_used_than_the_budget_and_nothing_is_lost",
    50,
);

/// All of them.
pub(crate) const ALL: [Part; 12] = [
    SEQUENTIAL,
    INTERLEAVED,
    LATE,
    TORN,
    LOST,
    FAILED,
    FLOODED,
    FLOODED_AT_ONCE,
    STEPS,
    LOCKOUT,
    IN_FLIGHT,
    TOKENS,
];

const fn part(test: &'static str, share: u64) -> Part {
    Part {
        package: env!("CARGO_PKG_NAME"),
        test,
        share,
    }
}

#[test]
fn the_shares_of_all_parts_make_a_whole() {
    check_shares(&ALL);
}
