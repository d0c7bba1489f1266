//! The parts of the simulation, and how many of its schedules each tries.

use portcullis_sim::{Part, check_shares};

/// Workers one after the other, against the reference.
pub(crate) const SEQUENTIAL: Part = part("every_answer_and_state_is_the_one_of_the_reference", 350);
/// The same with calls of the gateway that fail.
pub(crate) const FAILED: Part = part(
    "failed_calls_are_counted_on_error_decides_and_nothing_else_changes",
    120,
);
/// Workers that interleave, without faults.
pub(crate) const INTERLEAVED: Part = part(
    "every_change_of_interleaved_workers_is_one_of_the_reference",
    200,
);
/// The same with torn reads.
pub(crate) const TORN: Part = part(
    "with_torn_reads_states_follow_each_other_and_each_request_is_settled_once",
    40,
);
/// The same with slots that are lost.
pub(crate) const LOST: Part = part(
    "with_lost_slots_nothing_wedges_and_each_request_is_settled_once",
    40,
);
/// Clocks that are set.
pub(crate) const STEPS: Part = part(
    "a_clock_that_is_set_shuts_nobody_out_for_longer_and_admits_nobody_early",
    150,
);
/// Clocks that show anything at all.
pub(crate) const ANYTHING: Part = part(
    "a_clock_that_shows_anything_panics_nothing_and_each_request_is_settled_once",
    50,
);

/// Workers that tell each other late, against somebody who knows all at once.
pub(crate) const KNOWLEDGE: Part = part(
    "what_is_known_late_opens_nothing_and_delays_no_longer_than_its_bound",
    50,
);

/// All of them.
pub(crate) const ALL: [Part; 8] = [
    SEQUENTIAL,
    FAILED,
    INTERLEAVED,
    TORN,
    LOST,
    STEPS,
    ANYTHING,
    KNOWLEDGE,
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
