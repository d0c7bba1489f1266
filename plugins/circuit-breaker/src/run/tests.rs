use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_000 + secs)
}

fn run(failures: u32, began: u64, last: u64) -> Run {
    Run {
        failures,
        began: at(began),
        last: at(last),
        ..Run::default()
    }
}

/// After so many ends, of which the last took `taken` failures out.
fn ended(ends: u32, taken: u32) -> Run {
    Run {
        ends,
        taken,
        ..Run::default()
    }
}

#[test]
fn failures_add_up_and_keep_their_ends() {
    let one = Run::default().failed(at(3));
    assert_eq!(one, run(1, 3, 3));
    assert_eq!(one.failed(at(7)), run(2, 3, 7));
    assert_eq!(one.failed(at(7)).failed(at(7)), run(3, 3, 7));
    assert_eq!(run(u32::MAX, 3, 7).failed(at(8)).failures, u32::MAX);
}

#[test]
fn a_success_ends_what_came_before_it_and_nothing_that_began_after() {
    for (head, left) in [
        (2, run(4, 3, 7)),
        (3, run(1, 7, 7)),
        (6, run(1, 7, 7)),
        (7, Run::default()),
        (9, Run::default()),
    ] {
        for reported in [9, 10] {
            assert_eq!(run(4, 3, 7).after(at(head), at(reported)), left, "{head}");
        }
    }
    assert_eq!(Run::default().after(at(9), at(9)), Run::default());
    assert_eq!(run(1, 7, 7).after(at(6), at(7)), run(1, 7, 7));
}

/// By when the failures came, the success's head, and when it is reported: what is left.
#[test]
fn where_the_clock_was_set_back_a_success_may_have_come_anywhere_among_the_failures() {
    for (failures, head, reported, left) in [
        // Between two failures: it came after the last one, before the first, or in their midst.
        (&[50, 3, 7][..], 8, 8, Run::default()),
        (&[50, 3, 7], 7, 8, Run::default()),
        (&[50, 3, 7], 6, 8, run(1, 7, 7)),
        (&[50, 3, 7], 2, 8, run(1, 7, 7)),
        (&[50, 50, 3, 60], 2, 61, run(1, 60, 60)),
        (&[50, 3, 7], 49, 8, Run::default()),
        // After all of them.
        (&[50], 3, 4, Run::default()),
        (&[50, 51], 3, 50, Run::default()),
        // Between a success and when it is reported.
        (&[3, 7], 50, 8, Run::default()),
    ] {
        let run = failures
            .iter()
            .fold(Run::default(), |run, secs| run.failed(at(*secs)));
        let reported = run.after(at(head), at(reported));
        assert_eq!(reported, left, "{failures:?}, {head}");
    }
}

#[test]
fn once_a_success_is_reported_dates_count_again() {
    let set_back = Run::default().failed(at(50)).failed(at(3)).failed(at(7));
    let again = set_back.after(at(6), at(8)).failed(at(9));
    assert_eq!(again, run(2, 7, 9));
    assert_eq!(again.after(at(6), at(10)), again);
}

#[test]
fn a_success_that_breaks_off_brings_back_what_it_has_ended() {
    let (run, number) = run(4, 3, 7).succeeded();
    assert_eq!((run, number), (ended(1, 4), Some(1)));
    assert!(!run.is_clear());
    let back = run.taken_back(1);
    assert_eq!((back.failures, back.taken), (4, 0));
    assert_eq!(run.failed(at(8)).taken_back(1).failures, 5);
    // Only its own, and once.
    assert_eq!(run.taken_back(2), run);
    assert_eq!(back.taken_back(1), back);
}

#[test]
fn what_another_success_has_ended_too_does_not_come_back() {
    let (first, _) = run(4, 3, 7).succeeded();
    assert_eq!(first.succeeded(), (ended(1, 0), None));
    assert!(first.succeeded().0.is_clear());
    let (second, number) = first.failed(at(8)).succeeded();
    assert_eq!((second, number), (ended(2, 1), Some(2)));
    assert_eq!(second.taken_back(1), second);
    // Reported late, whenever that one's head came.
    for head in [2, 8, 9] {
        let reported = first.failed(at(8)).failed(at(9)).after(at(head), at(10));
        assert_eq!(reported.taken, 0, "{head}");
        assert_eq!(reported.taken_back(1), reported);
        assert!(first.after(at(head), at(10)).is_clear());
    }
}

#[test]
fn a_row_that_came_back_may_have_begun_at_any_time() {
    // When a row began of which something came back is not known.
    let ended = run(4, 3, 7).succeeded().0.failed(at(9));
    assert_eq!(ended.began, at(9));
    assert_eq!(ended.taken_back(1).began, Timestamp::default());
    let back = run(4, 3, 7).succeeded().0.taken_back(1).failed(at(9));
    assert_eq!(
        back.after(at(1), at(10)),
        Run {
            ends: 1,
            ..run(1, 9, 9)
        }
    );
}

#[test]
fn a_worker_does_not_tell_of_a_success_that_broke_off() {
    let heads = Heads::default();
    let (first, second) = (heads.succeeded((1, at(1))), heads.succeeded((1, at(2))));
    heads.taken_back(first);
    assert_eq!(heads.last(), Some((1, at(2))));
    heads.taken_back(second);
    assert_eq!(heads.last(), None);
}

#[test]
fn a_worker_forgets_its_successes_when_it_sees_that_nothing_is_on_record() {
    let heads = Heads::default();
    heads.succeeded((1, at(1)));
    heads.saw(OnRecord::Failures);
    assert_eq!(
        (heads.last(), heads.on_record()),
        (Some((1, at(1))), OnRecord::Failures)
    );
    heads.saw(OnRecord::NoFailures);
    assert_eq!(
        (heads.last(), heads.on_record()),
        (None, OnRecord::NoFailures)
    );
}

#[test]
fn the_last_success_of_the_latest_generation_is_told_whatever_the_clock_said() {
    for (next, reported) in [
        ((1, at(9)), (1, at(9))),
        ((1, at(2)), (1, at(2))),
        ((2, at(2)), (2, at(2))),
        ((0, at(9)), (1, at(5))),
        ((u32::MAX, at(9)), (1, at(5))),
    ] {
        let heads = Heads::default();
        heads.succeeded((1, at(5)));
        heads.succeeded(next);
        assert_eq!(heads.last(), Some(reported), "{next:?}");
    }
}
