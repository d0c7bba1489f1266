use super::*;
use crate::classify::Cause;
use crate::permits::MOST_PROBES;

const FAILURE: Outcome = Outcome::Failure(Cause::Status);
const START: u64 = 1_000_000;

const SETTINGS: Settings = Settings {
    failures_to_open: 3,
    open_for: Span::from_secs(30),
    probes: 2,
    successes_to_close: 2,
    probe_lease: Span::from_secs(35),
};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(START + secs)
}

fn closed(failures: u32) -> Record {
    Record {
        generation: 7,
        state: State::Closed { failures },
    }
}

fn open() -> Record {
    Record {
        generation: 8,
        state: State::opened(&SETTINGS, at(0)),
    }
}

/// Half-open since second 30, with so many probes out.
fn probing(probes: usize, successes: u32) -> (Record, Vec<Ticket>) {
    let (mut record, mut tickets) = (open(), Vec::new());
    for _ in 0..probes {
        let (next, ticket, _) = probe(&record, at(30));
        record = next;
        tickets.push(ticket);
    }
    if let State::HalfOpen {
        successes: so_far, ..
    } = &mut record.state
    {
        *so_far = successes;
    }
    (record, tickets)
}

fn probe(record: &Record, now: Timestamp) -> (Record, Ticket, Option<Transition>) {
    match record.admit(&SETTINGS, now) {
        Admission::Probe(change, ticket) => (change.record, ticket, change.transition),
        other => panic!("not a probe: {other:?}"),
    }
}

fn pass(record: &Record) -> Ticket {
    match record.admit(&SETTINGS, at(0)) {
        Admission::Pass(ticket) => ticket,
        other => panic!("does not pass: {other:?}"),
    }
}

fn refusal(record: &Record, now: Timestamp) -> Refusal {
    match record.admit(&SETTINGS, now) {
        Admission::Refuse(refusal) => refusal,
        other => panic!("is not refused: {other:?}"),
    }
}

#[test]
fn closed_lets_everybody_pass_and_only_failures_are_written() {
    for (failures, outcome, after) in [
        (0, Outcome::Success, None),
        (0, Outcome::Ignored, None),
        (0, FAILURE, Some(closed(1))),
        (1, Outcome::Success, Some(closed(0))),
        (1, Outcome::Ignored, None),
        (1, FAILURE, Some(closed(2))),
    ] {
        let record = closed(failures);
        let change = record.settle(&pass(&record), outcome, &SETTINGS, at(0));
        let after = after.map(|record| Change {
            record,
            transition: None,
        });
        assert_eq!(change, after, "{failures} {outcome:?}");
    }
}

#[test]
fn the_last_failure_in_a_row_opens_and_starts_a_generation() {
    let record = closed(2);
    let change = record.settle(&pass(&record), FAILURE, &SETTINGS, at(0));
    assert_eq!(
        change,
        Some(Change {
            record: open(),
            transition: Some(Transition::Tripped)
        })
    );
}

#[test]
fn a_threshold_that_was_lowered_below_the_count_opens_on_the_next_failure() {
    let record = closed(2);
    let lower = Settings {
        failures_to_open: 1,
        ..SETTINGS
    };
    let change = record.settle(&pass(&record), FAILURE, &lower, at(0));
    assert_eq!(change.unwrap().transition, Some(Transition::Tripped));
}

#[test]
fn open_refuses_until_its_time_is_up_and_says_when_that_is() {
    assert_eq!(refusal(&open(), at(0)).retry_after_secs(), 30);
    assert_eq!(refusal(&open(), at(29)).retry_after_secs(), 1);
    let nearly = at(30).before(Span::from_nanos(1));
    assert_eq!(refusal(&open(), nearly).retry_after_secs(), 1);
    let (record, _, transition) = probe(&open(), at(30));
    assert_eq!(transition, Some(Transition::Probing));
    assert_eq!((record.generation, record.phase()), (9, Phase::HalfOpen));
}

#[test]
fn open_is_half_open_for_whoever_looks_once_its_time_is_up() {
    assert_eq!(open().phase_at(at(29)), Phase::Open);
    assert_eq!(open().phase_at(at(30)), Phase::HalfOpen);
    assert_eq!(open().phase(), Phase::Open);
}

#[test]
fn a_clock_that_was_set_back_does_not_keep_it_open_for_as_long() {
    let just_now = Timestamp::from_unix_secs(START - 30);
    assert_eq!(refusal(&open(), just_now).retry_after_secs(), 30);
    let long_ago = Timestamp::from_unix_secs(START - 31);
    assert_eq!(probe(&open(), long_ago).2, Some(Transition::Probing));
}

#[test]
fn half_open_admits_as_many_probes_as_are_set_and_no_more() {
    let (record, tickets) = probing(2, 0);
    assert_ne!(tickets[0], tickets[1]);
    assert_eq!(refusal(&record, at(30)), Refusal::ProbesOut);
    assert_eq!(refusal(&record, at(64)).retry_after_secs(), 1);
}

#[test]
fn a_permit_whose_lease_has_run_out_goes_to_another() {
    let (record, tickets) = probing(2, 0);
    let (taken, other, _) = probe(&record, at(65));
    assert!(!tickets.contains(&other));
    // The late one neither frees the other's permit nor counts.
    for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
        assert_eq!(taken.settle(&tickets[0], outcome, &SETTINGS, at(66)), None);
    }
    let change = taken.settle(&other, Outcome::Success, &SETTINGS, at(66));
    assert!(change.is_some());
}

#[test]
fn a_late_probe_still_counts_while_nobody_has_taken_its_place() {
    let (record, tickets) = probing(1, 1);
    let change = record.settle(&tickets[0], Outcome::Success, &SETTINGS, at(999));
    assert_eq!(change.unwrap().transition, Some(Transition::Recovered));
}

#[test]
fn a_clock_that_was_set_back_does_not_lengthen_a_lease_by_as_much() {
    let (record, _) = probing(2, 0);
    let before = Timestamp::from_unix_secs(START + 30 - 36);
    assert_eq!(probe(&record, before).2, None);
}

#[test]
fn fewer_probes_than_are_out_admit_none_and_more_admit_some() {
    let (record, _) = probing(2, 0);
    for (probes, admitted) in [(1, false), (2, false), (3, true), (16, true)] {
        let settings = Settings { probes, ..SETTINGS };
        let admission = record.admit(&settings, at(31));
        assert_eq!(
            matches!(admission, Admission::Probe(..)),
            admitted,
            "{probes}"
        );
    }
}

#[test]
fn there_is_a_place_for_each_of_the_most_probes() {
    let settings = Settings {
        probes: u8::try_from(MOST_PROBES).unwrap(),
        ..SETTINGS
    };
    let mut record = open();
    for _ in 0..MOST_PROBES {
        match record.admit(&settings, at(30)) {
            Admission::Probe(change, _) => record = change.record,
            other => panic!("{other:?}"),
        }
    }
    let seventeenth = record.admit(&settings, at(30));
    assert_eq!(seventeenth, Admission::Refuse(Refusal::ProbesOut));
}

#[test]
fn probes_close_fail_or_are_given_back() {
    let (record, tickets) = probing(2, 0);
    let settle = |record: &Record, ticket, outcome| {
        record.settle(ticket, outcome, &SETTINGS, at(31)).unwrap()
    };

    let one = settle(&record, &tickets[0], Outcome::Success);
    assert_eq!(
        (one.transition, one.record.phase()),
        (None, Phase::HalfOpen)
    );
    let two = settle(&one.record, &tickets[1], Outcome::Success);
    assert_eq!(two.transition, Some(Transition::Recovered));
    assert_eq!(two.record.state, State::Closed { failures: 0 });
    assert_eq!(two.record.generation, record.generation + 1);

    let failed = settle(&one.record, &tickets[1], FAILURE);
    assert_eq!(failed.transition, Some(Transition::Relapsed));
    assert_eq!(failed.record.state, State::opened(&SETTINGS, at(31)));

    let given_back = settle(&record, &tickets[0], Outcome::Ignored);
    assert_eq!(given_back.transition, None);
    assert_eq!(probe(&given_back.record, at(31)).2, None);
}

#[test]
fn an_answer_from_before_the_last_transition_changes_nothing() {
    let early = pass(&closed(2));
    let (half_open, tickets) = probing(2, 0);
    let relapsed = half_open
        .settle(&tickets[0], FAILURE, &SETTINGS, at(31))
        .unwrap();
    let recovered = Record {
        generation: 10,
        ..closed(1)
    };
    for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
        for record in [&open(), &half_open, &relapsed.record, &recovered] {
            assert_eq!(record.settle(&early, outcome, &SETTINGS, at(40)), None);
        }
        let late = relapsed
            .record
            .settle(&tickets[1], outcome, &SETTINGS, at(40));
        assert_eq!(late, None);
    }
}

#[test]
fn a_ticket_that_does_not_fit_its_generation_changes_nothing() {
    let clean = Ticket {
        generation: 9,
        standing: Standing::Clean,
    };
    let (half_open, tickets) = probing(1, 0);
    let closed = Record {
        generation: 9,
        ..closed(2)
    };
    let open = Record {
        generation: 9,
        ..open()
    };
    for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
        assert_eq!(half_open.settle(&clean, outcome, &SETTINGS, at(40)), None);
        assert_eq!(closed.settle(&tickets[0], outcome, &SETTINGS, at(40)), None);
        assert_eq!(open.settle(&clean, outcome, &SETTINGS, at(40)), None);
    }
}

#[test]
fn the_ends_of_time_and_of_generations_do_not_overflow() {
    let end = Timestamp::from_unix_nanos(u64::MAX);
    let record = Record {
        generation: u32::MAX,
        state: State::Closed { failures: u32::MAX },
    };
    let ticket = record.pass().unwrap();
    let opened = record.settle(&ticket, FAILURE, &SETTINGS, end).unwrap();
    assert_eq!(opened.record.generation, 0);
    let _ = opened.record.admit(&SETTINGS, end);
    let _ = opened.record.admit(&SETTINGS, Timestamp::default());
}

#[test]
fn every_transition_leads_where_the_diagram_says() {
    use Phase::{Closed, HalfOpen, Open};
    for (transition, from, to) in [
        (Transition::Tripped, Closed, Open),
        (Transition::Probing, Open, HalfOpen),
        (Transition::Relapsed, HalfOpen, Open),
        (Transition::Recovered, HalfOpen, Closed),
    ] {
        assert_eq!((transition.from(), transition.to()), (from, to));
    }
    assert_eq!(
        [Closed, HalfOpen, Open].map(|phase| (phase.as_str(), phase.gauge())),
        [("closed", 0), ("half_open", 1), ("open", 2)]
    );
}

#[test]
fn settling_without_effect_is_known_before_anything_is_read() {
    let states = [closed(0), closed(1)].map(|record| (pass(&record), record));
    let (half_open, tickets) = probing(1, 0);
    let all = states.into_iter().chain([(tickets[0], half_open)]);
    for (ticket, record) in all {
        for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
            let changes = record.settle(&ticket, outcome, &SETTINGS, at(31)).is_some();
            assert_eq!(ticket.matters(outcome), changes, "{record:?} {outcome:?}");
        }
    }
}
