use super::*;
use crate::classify::Cause;
use crate::permits::MOST_PROBES;
use crate::share::{CONFIRM, Share};
use crate::window::Tally;

const FAILURE: Outcome = Outcome::Failure(Cause::Status);
const START: u64 = 1_000_000;

const SETTINGS: Settings = Settings {
    consecutive_failures: Some(3),
    failure_ratio: None,
    slow_ratio: None,
    open_for: OpenFor {
        initial: Span::from_secs(30),
        multiplier: 2_000_000,
        max: Span::from_secs(300),
        jitter: 0,
    },
    probes: 2,
    successes_to_close: 2,
    probe_lease: Span::from_secs(35),
};

fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(START + secs)
}

fn moment(secs: u64) -> Moment {
    Moment {
        now: at(secs),
        roll: 0,
    }
}

/// Closed since long ago.
fn closed(failures: u32) -> Record {
    Record {
        generation: 7,
        state: in_a_row(failures),
        ..Record::default()
    }
}

fn in_a_row(failures: u32) -> State {
    let run = (0..failures.min(9)).fold(Run::default(), |run, _| run.failed(at(0)));
    State::Closed {
        run: Run { failures, ..run },
        failing: Share::default(),
        slow: Share::default(),
    }
}

fn failures(record: &Record) -> u32 {
    match record.state {
        State::Closed { run, .. } => run.failures,
        State::Open { .. } | State::HalfOpen { .. } => panic!("not closed"),
    }
}

/// Since second 0, for the first time.
fn open() -> Record {
    Record {
        generation: 8,
        backoff: Backoff {
            times: 1,
            last: Span::from_secs(30),
        },
        since: at(0),
        hold: None,
        state: State::Open {
            until: at(30),
            why: Why::ConsecutiveFailures,
        },
    }
}

/// Settles one request.
fn settle(record: &Record, ticket: &Ticket, outcome: Outcome, secs: u64) -> Option<Change> {
    settle_at(record, ticket, outcome, Pace::Quick, &SETTINGS, secs)
}

fn settle_at(
    record: &Record,
    ticket: &Ticket,
    outcome: Outcome,
    pace: Pace,
    settings: &Settings,
    secs: u64,
) -> Option<Change> {
    // As a breaker without ratios does, which counts nothing.
    let has_ratio = settings.failure_ratio.is_some() || settings.slow_ratio.is_some();
    let counts = match has_ratio {
        true => Counts::of(outcome, pace),
        false => Counts::default(),
    };
    let news = News {
        counts: Some((ticket.generation, counts)),
        head: None,
    };
    record.settle(ticket, outcome, pace, news, settings, moment(secs))
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
    match record.admit(&SETTINGS, Sent::Whole, now) {
        Admission::Probe(change, ticket) => (change.record, ticket, change.transition),
        other => panic!("not a probe: {other:?}"),
    }
}

fn pass(record: &Record) -> Ticket {
    match record.admit(&SETTINGS, Sent::Whole, at(0)) {
        Admission::Pass(ticket) => ticket,
        other => panic!("does not pass: {other:?}"),
    }
}

fn refusal(record: &Record, now: Timestamp) -> Refusal {
    match record.admit(&SETTINGS, Sent::Whole, now) {
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
        (1, Outcome::Success, None),
        (1, Outcome::Ignored, None),
        (1, FAILURE, Some(closed(2))),
    ] {
        let record = closed(failures);
        let change = settle(&record, &pass(&record), outcome, 0);
        let after = after.map(|record| Change {
            record,
            transition: None,
        });
        assert_eq!(change, after, "{failures} {outcome:?}");
    }
}

#[test]
fn the_head_of_a_success_ends_failures_in_a_row_and_is_written_where_there_are_some() {
    let (change, word) = closed(2).succeed(7).unwrap();
    assert_eq!((failures(&change.record), change.transition), (0, None));
    assert_eq!(word, Word::Ended(1));
    // The next one takes that in, and no more is written then.
    let (change, word) = change.record.succeed(7).unwrap();
    assert_eq!(
        (change.record.on_record(), word),
        (OnRecord::NoFailures, Word::None)
    );
    assert_eq!(change.record.succeed(7), None);
    assert_eq!(closed(0).succeed(7), None);
    assert_eq!(closed(2).succeed(6), None, "it was admitted before");
    let (half_open, _) = probing(1, 0);
    for record in [open(), half_open] {
        assert_eq!(record.succeed(record.generation), None);
    }
}

/// A request whose head is fine and which breaks off then.
fn break_off(record: &Record) -> Record {
    let mut ticket = pass(record);
    let mut record = record.clone();
    if let Some((change, word)) = record.succeed(7) {
        (record, ticket.word) = (change.record, word);
    }
    settle(&record, &ticket, FAILURE, 0).unwrap().record
}

#[test]
fn requests_that_break_off_behind_their_heads_one_after_the_other_open_it() {
    let one = break_off(&closed(0));
    let two = break_off(&one);
    assert_eq!((failures(&one), failures(&two)), (1, 2));
    assert_eq!(break_off(&two).phase(), Phase::Open);
}

#[test]
fn a_success_that_goes_on_ends_what_another_could_have_brought_back() {
    for first in [2, 1] {
        let mut ticket = pass(&closed(first));
        let (change, word) = closed(first).succeed(7).unwrap();
        ticket.word = word;
        let (change, _) = change.record.succeed(7).unwrap();
        let broken = settle(&change.record, &ticket, FAILURE, 0).unwrap();
        assert_eq!(failures(&broken.record), 1);
    }
}

#[test]
fn a_success_that_is_told_late_ends_what_came_before_it() {
    // Failures at 1, 2 and 3; a success of another worker; one more failure at 9 that tells of it.
    let failing = |secs: &[u64]| {
        let run = secs
            .iter()
            .fold(Run::default(), |run, secs| run.failed(at(*secs)));
        Record {
            state: State::Closed {
                run,
                failing: Share::default(),
                slow: Share::default(),
            },
            ..closed(0)
        }
    };
    let four = Settings {
        consecutive_failures: Some(4),
        ..SETTINGS
    };
    let record = failing(&[1, 2, 3]);
    for (generation, head, opens, merged) in [
        (7, 0, true, 3),
        (7, 1, false, 1),
        (7, 2, false, 1),
        (7, 3, false, 0),
        (7, 8, false, 0),
        // Of a request that was admitted before the last transition.
        (6, 8, true, 3),
    ] {
        let news = News {
            counts: None,
            head: Some((generation, at(head))),
        };
        let change = record.settle(&pass(&record), FAILURE, Pace::Quick, news, &four, moment(9));
        let change = change.unwrap();
        assert_eq!(change.transition.is_some(), opens, "{generation} {head}");
        if !opens {
            assert_eq!(failures(&change.record), merged + 1, "{head}");
        }
        // A tick tells of it, too, and opens nothing.
        let reported = record.merge(news, &SETTINGS, moment(9));
        assert_eq!(
            reported.as_ref().map(|reported| reported.transition),
            (merged != 3).then_some(None)
        );
        let left = reported.map_or(3, |reported| failures(&reported.record));
        assert_eq!(left, merged, "{head}");
        // So does what else turns out of an earlier time.
        let early = Ticket::closed(6, &Run::default());
        let late = record.settle(&early, FAILURE, Pace::Quick, news, &SETTINGS, moment(9));
        assert_eq!(late.map_or(3, |late| failures(&late.record)), merged);
    }
}

#[test]
fn the_last_failure_in_a_row_opens_and_starts_a_generation() {
    let record = closed(2);
    let change = settle(&record, &pass(&record), FAILURE, 0);
    assert_eq!(
        change,
        Some(Change {
            record: open(),
            transition: Some(Transition::Tripped(Why::ConsecutiveFailures))
        })
    );
}

#[test]
fn a_threshold_that_was_lowered_below_the_count_opens_on_the_next_failure() {
    let record = closed(2);
    let lower = Settings {
        consecutive_failures: Some(1),
        ..SETTINGS
    };
    let change = settle_at(&record, &pass(&record), FAILURE, Pace::Quick, &lower, 0);
    assert_eq!(
        change.unwrap().transition,
        Some(Transition::Tripped(Why::ConsecutiveFailures))
    );
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
    for (now, wait) in [(30, 1), (34, 4), (50, 15), (64, 1)] {
        let refused = Refusal::ProbesOut(Span::from_secs(wait));
        assert_eq!(refusal(&record, at(now)), refused, "{now}");
        assert_eq!(refused.retry_after_secs(), wait);
    }
}

#[test]
fn a_permit_whose_lease_has_run_out_goes_to_another() {
    let (record, tickets) = probing(2, 0);
    let (taken, other, _) = probe(&record, at(65));
    assert!(!tickets.contains(&other));
    // The late one counts, and does not free the other's permit.
    for (outcome, transition) in [
        (Outcome::Success, None),
        (Outcome::Ignored, None),
        (FAILURE, Some(Transition::Relapsed)),
    ] {
        let change = settle(&taken, &tickets[0], outcome, 66).unwrap();
        assert_eq!(change.transition, transition);
        let leases = |record: &Record| match record.state {
            State::HalfOpen { permits, .. } => Some(permits),
            State::Closed { .. } | State::Open { .. } => None,
        };
        if transition.is_none() {
            assert_eq!(leases(&change.record), leases(&taken), "{outcome:?}");
        }
    }
    let late = settle(&taken, &tickets[0], Outcome::Success, 66).unwrap();
    let both = settle(&late.record, &other, Outcome::Success, 67).unwrap();
    assert_eq!(both.transition, Some(Transition::Recovered));
}

#[test]
fn a_late_probe_still_counts_while_nobody_has_taken_its_place() {
    let (record, tickets) = probing(1, 1);
    let change = settle(&record, &tickets[0], Outcome::Success, 999);
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
        let admission = record.admit(&settings, Sent::Whole, at(31));
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
        match record.admit(&settings, Sent::Whole, at(30)) {
            Admission::Probe(change, _) => record = change.record,
            other => panic!("{other:?}"),
        }
    }
    let seventeenth = record.admit(&settings, Sent::Whole, at(30));
    let refused = Refusal::ProbesOut(Span::from_secs(1));
    assert_eq!(seventeenth, Admission::Refuse(refused));
}

#[test]
fn probes_close_fail_or_are_given_back() {
    let (record, tickets) = probing(2, 0);
    let settle = |record: &Record, ticket, outcome| settle(record, ticket, outcome, 31).unwrap();

    let one = settle(&record, &tickets[0], Outcome::Success);
    assert_eq!(
        (one.transition, one.record.phase()),
        (None, Phase::HalfOpen)
    );
    let two = settle(&one.record, &tickets[1], Outcome::Success);
    assert_eq!(two.transition, Some(Transition::Recovered));
    assert_eq!(
        (two.record.state, two.record.since),
        (State::default(), at(31))
    );
    assert_eq!(two.record.generation, record.generation + 1);

    let failed = settle(&one.record, &tickets[1], FAILURE);
    assert_eq!(failed.transition, Some(Transition::Relapsed));
    assert_eq!(
        failed.record.state,
        State::Open {
            until: at(91),
            why: Why::ProbeFailed
        },
        "twice as long as the first time"
    );

    let given_back = settle(&record, &tickets[0], Outcome::Ignored);
    assert_eq!(given_back.transition, None);
    assert_eq!(probe(&given_back.record, at(31)).2, None);
}

#[test]
fn an_answer_from_before_the_last_transition_changes_nothing() {
    let early = pass(&closed(2));
    let (half_open, tickets) = probing(2, 0);
    let relapsed = settle(&half_open, &tickets[0], FAILURE, 31).unwrap();
    let recovered = Record {
        generation: 10,
        ..closed(1)
    };
    for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
        for record in [&open(), &half_open, &relapsed.record, &recovered] {
            assert_eq!(settle(record, &early, outcome, 40), None);
        }
        let late = settle(&relapsed.record, &tickets[1], outcome, 40);
        assert_eq!(late, None);
    }
}

#[test]
fn a_ticket_that_does_not_fit_its_generation_changes_nothing() {
    let clean = Ticket {
        generation: 9,
        standing: Standing::Clean,
        word: Word::None,
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
        for (record, ticket) in [
            (&half_open, &clean),
            (&closed, &tickets[0]),
            (&open, &clean),
        ] {
            assert_eq!(settle(record, ticket, outcome, 40), None);
        }
        for record in [&half_open, &closed, &open] {
            let forced = Ticket {
                generation: 9,
                ..Ticket::FORCED
            };
            assert_eq!(settle(record, &forced, outcome, 40), None);
        }
    }
}

#[test]
fn the_ends_of_time_and_of_generations_do_not_overflow() {
    let end = Timestamp::from_unix_nanos(u64::MAX);
    let record = Record {
        generation: u32::MAX,
        state: in_a_row(u32::MAX - 1),
        ..Record::default()
    };
    let ticket = record.pass().unwrap();
    let moment = Moment { now: end, roll: 0 };
    let none = News::default();
    let opened = record.settle(&ticket, FAILURE, Pace::Quick, none, &SETTINGS, moment);
    let opened = opened.unwrap();
    assert_eq!(opened.record.generation, 0);
    let _ = opened.record.admit(&SETTINGS, Sent::Whole, end);
    let _ = opened
        .record
        .admit(&SETTINGS, Sent::Whole, Timestamp::default());
}

#[test]
fn settling_without_effect_is_known_before_anything_is_read() {
    let states = [closed(0), closed(1)].map(|record| (pass(&record), record));
    let (half_open, tickets) = probing(1, 0);
    let all = states.into_iter().chain([(tickets[0], half_open)]);
    for (ticket, record) in all {
        for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
            let changes = settle(&record, &ticket, outcome, 31).is_some();
            assert_eq!(ticket.matters(outcome), changes, "{record:?} {outcome:?}");
        }
    }
}

const RATIO: Ratio = Ratio {
    above: 500_000,
    window: Span::from_secs(10),
    minimum_requests: 4,
};

/// By ratios only.
const RATIOS: Settings = Settings {
    consecutive_failures: None,
    failure_ratio: Some(RATIO),
    slow_ratio: Some(RATIO),
    ..SETTINGS
};

/// Settles requests one after the other, each a second after the one before; what opened it, and
/// when.
fn play(settings: &Settings, requests: &[(Outcome, Pace)]) -> Option<(usize, Why)> {
    let mut record = closed(0);
    for (index, (outcome, pace)) in requests.iter().enumerate() {
        let ticket = pass(&record);
        if *outcome == Outcome::Success
            && let Some((change, _)) = record.succeed(7)
        {
            record = change.record;
        }
        let settled = settle_at(&record, &ticket, *outcome, *pace, settings, index as u64);
        if let Some(change) = &settled {
            record = change.record.clone();
        }
        // Two ticks later, when what is suspected is certain.
        let later = moment(index as u64).now.after(CONFIRM);
        let later = Moment {
            now: later,
            roll: 0,
        };
        let confirmed = match record.phase() {
            Phase::Closed => record.merge(News::default(), settings, later),
            Phase::HalfOpen | Phase::Open => None,
        };
        for change in settled.into_iter().chain(confirmed) {
            if let Some(Transition::Tripped(why)) = change.transition {
                return Some((index, why));
            }
            record = change.record;
        }
    }
    None
}

const GOOD: (Outcome, Pace) = (Outcome::Success, Pace::Quick);
const BAD: (Outcome, Pace) = (FAILURE, Pace::Quick);
const SLOW: (Outcome, Pace) = (Outcome::Success, Pace::Slow);
const LATE: (Outcome, Pace) = (FAILURE, Pace::Slow);
const NOTHING: (Outcome, Pace) = (Outcome::Ignored, Pace::Slow);

#[test]
fn a_share_of_failures_or_of_slow_requests_opens_and_says_which() {
    for (requests, opened) in [
        (&[BAD, BAD, BAD][..], None),
        (&[BAD, BAD, GOOD, GOOD], None),
        (&[BAD, GOOD, BAD, GOOD, BAD], Some((4, Why::FailureRatio))),
        // A success brings the minimum.
        (&[BAD, BAD, BAD, GOOD], Some((3, Why::FailureRatio))),
        (&[SLOW, GOOD, SLOW, GOOD, SLOW], Some((4, Why::SlowRatio))),
        (&[LATE, LATE, LATE, GOOD], Some((3, Why::FailureRatio))),
        (&[BAD, SLOW, BAD, SLOW], None),
        (&[NOTHING, NOTHING, NOTHING, NOTHING, BAD], None),
        (
            &[BAD, BAD, NOTHING, BAD, GOOD],
            Some((4, Why::FailureRatio)),
        ),
    ] {
        assert_eq!(play(&RATIOS, requests), opened, "{requests:?}");
    }
}

#[test]
fn any_condition_opens_and_the_first_that_is_met_is_told() {
    let all = Settings {
        consecutive_failures: Some(3),
        ..RATIOS
    };
    let three = play(&all, &[GOOD, BAD, BAD, BAD, BAD]);
    assert_eq!(three, Some((3, Why::ConsecutiveFailures)));
    let mixed = play(&all, &[BAD, BAD, GOOD, BAD]);
    assert_eq!(mixed, Some((3, Why::FailureRatio)));
}

#[test]
fn what_has_left_the_window_no_longer_counts() {
    let failures = [BAD, BAD, BAD];
    let silence = [NOTHING; 10];
    let requests = [&failures[..], &silence, &[GOOD]].concat();
    assert_eq!(play(&RATIOS, &requests), None);
}

#[test]
fn counts_of_a_batch_are_merged_into_their_own_generation_only() {
    let counts = Counts {
        requests: 8,
        failed: 5,
        slow: 0,
    };
    let of = |generation, counts| News {
        counts: Some((generation, counts)),
        head: None,
    };
    let record = closed(0);
    let merged = record.merge(of(7, counts), &RATIOS, moment(0)).unwrap();
    assert_eq!(merged.transition, None, "it is suspected");
    assert!(merged.record.is_suspicious());
    let merged = merged.record.merge(News::default(), &RATIOS, moment(1));
    assert_eq!(
        merged.unwrap().transition,
        Some(Transition::Tripped(Why::FailureRatio))
    );
    assert_eq!(record.merge(of(6, counts), &RATIOS, moment(0)), None);
    let (half_open, _) = probing(1, 0);
    for record in [&open(), &half_open] {
        let news = of(record.generation, counts);
        assert_eq!(record.merge(news, &RATIOS, moment(0)), None);
    }
    // Nothing to tell, nothing to write; a count in a row is not brought up by others' successes.
    let none = Counts::default();
    assert_eq!(record.merge(of(7, none), &RATIOS, moment(0)), None);
    let few = Counts {
        failed: 1,
        ..counts
    };
    let both = Settings {
        consecutive_failures: Some(2),
        ..RATIOS
    };
    let merged = closed(2).merge(of(7, few), &both, moment(0));
    assert_eq!(merged.unwrap().transition, None);
}

#[test]
fn a_suspicion_is_dropped_when_what_was_fine_is_told_and_confirmed_by_the_next_failure() {
    let bad = Counts {
        requests: 6,
        failed: 6,
        slow: 0,
    };
    let fine = Counts {
        requests: 6,
        ..Counts::default()
    };
    let of = |counts| News {
        counts: Some((7, counts)),
        head: None,
    };
    let suspected = closed(0).merge(of(bad), &RATIOS, moment(0)).unwrap().record;
    let dropped = suspected.merge(of(fine), &RATIOS, moment(0)).unwrap();
    assert!(!dropped.record.is_suspicious());
    let failed = settle_at(
        &suspected,
        &pass(&suspected),
        FAILURE,
        Pace::Quick,
        &RATIOS,
        1,
    );
    assert_eq!(
        failed.unwrap().transition,
        Some(Transition::Tripped(Why::FailureRatio))
    );
}

#[test]
fn a_probe_whose_body_is_outstanding_gives_way_and_is_not_heard_any_more() {
    let one = Settings {
        probes: 1,
        ..SETTINGS
    };
    let probe = |record: &Record, sent| match record.admit(&one, sent, at(30)) {
        Admission::Probe(change, ticket) => (change.record, ticket),
        other => panic!("not a probe: {other:?}"),
    };
    let (record, slow) = probe(&open(), Sent::HeadOnly);
    let (record, whole) = probe(&record, Sent::Whole);
    assert_eq!(record.confirm(&slow, &one, at(31)), None);
    for outcome in [Outcome::Success, Outcome::Ignored, FAILURE] {
        assert_eq!(settle(&record, &slow, outcome, 31), None);
    }
    assert_eq!(
        record.admit(&one, Sent::Whole, at(31)),
        Admission::Refuse(Refusal::ProbesOut(Span::from_secs(1)))
    );
    let freed = settle(&record, &whole, Outcome::Ignored, 31)
        .unwrap()
        .record;
    let (record, slow) = probe(&freed, Sent::HeadOnly);
    let confirmed = record.confirm(&slow, &one, at(32)).unwrap().record;
    let refused = Admission::Refuse(Refusal::ProbesOut(Span::from_secs(1)));
    assert_eq!(confirmed.admit(&one, Sent::Whole, at(32)), refused);
    let relapsed = settle(&confirmed, &slow, FAILURE, 33).unwrap();
    assert_eq!(relapsed.transition, Some(Transition::Relapsed));
    for record in [&closed(0), &open(), &relapsed.record] {
        assert_eq!(record.confirm(&slow, &one, at(32)), None);
    }
}

#[test]
fn the_windows_are_empty_when_it_closes_again() {
    let (record, tickets) = probing(1, 1);
    let recovered = settle_at(
        &record,
        &tickets[0],
        Outcome::Success,
        Pace::Quick,
        &RATIOS,
        31,
    );
    let State::Closed { failing, slow, .. } = recovered.unwrap().record.state else {
        panic!("not closed");
    };
    for share in [failing, slow] {
        assert_eq!(share.window.sum(&RATIO, at(31)), Tally::default());
    }
}

#[test]
fn a_slow_probe_opens_again() {
    let (record, tickets) = probing(1, 1);
    let change = settle_at(
        &record,
        &tickets[0],
        Outcome::Success,
        Pace::Slow,
        &RATIOS,
        31,
    );
    assert_eq!(change.unwrap().transition, Some(Transition::Relapsed));
}

#[test]
fn it_stays_open_longer_each_time_until_it_has_been_closed_for_long() {
    let mut record = closed(2);
    let mut now = 0;
    let mut lengths = Vec::new();
    // Closed for so many seconds before it trips once more.
    for closed_for in [0, 0, 59, 240, 0] {
        now += closed_for;
        let opened = settle(&record, &pass(&record), FAILURE, now)
            .unwrap()
            .record;
        let State::Open { until, .. } = opened.state else {
            panic!("not open");
        };
        lengths.push(until.since(at(now)).as_secs_ceil());
        now = until.unix_secs() - START;
        let (probing, ticket, _) = probe(&opened, until);
        let successes_to_close = 1;
        let quick = Settings {
            successes_to_close,
            ..SETTINGS
        };
        let closed = settle_at(
            &probing,
            &ticket,
            Outcome::Success,
            Pace::Quick,
            &quick,
            now,
        );
        record = closed.unwrap().record;
        record.state = in_a_row(2);
    }
    assert_eq!(lengths, [30, 60, 120, 30, 60]);
}

#[test]
fn a_probe_of_another_generation_is_not_confirmed_though_its_permit_would_fit() {
    let (record, tickets) = probing(1, 0);
    let ticket = tickets[0];
    assert!(record.confirm(&ticket, &SETTINGS, at(31)).is_some());
    let other = Ticket {
        generation: ticket.generation - 1,
        ..ticket
    };
    assert_eq!(record.confirm(&other, &SETTINGS, at(31)), None);
}
