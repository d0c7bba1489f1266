use super::*;

const LEASE: Span = Span::from_secs(35);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_000).after(Span::from_millis(millis))
}

fn take(permits: &mut Permits, sent: Sent, millis: u64) -> Option<Permit> {
    permits.take(1, LEASE, sent, at(millis))
}

#[test]
fn a_request_whose_body_is_outstanding_keeps_nobody_waiting() {
    for sent in [Sent::Whole, Sent::HeadOnly] {
        let mut permits = Permits::default();
        let slow = take(&mut permits, Sent::HeadOnly, 0).unwrap();
        let next = take(&mut permits, sent, 0).unwrap();
        assert_ne!(slow, next);
        assert_eq!(permits.out(LEASE, at(0)), 1);
        // The one that has lost it neither has it back nor frees it.
        assert_eq!(permits.confirm(slow, 1, LEASE, at(1)), None);
        assert_eq!(permits.settle(slow), None);
        assert!(permits.settle(next).is_some());
    }
}

#[test]
fn a_permit_of_a_whole_request_is_its_own_for_its_lease() {
    let mut permits = Permits::default();
    take(&mut permits, Sent::Whole, 0).unwrap();
    assert_eq!(take(&mut permits, Sent::Whole, 34_999), None);
    assert!(take(&mut permits, Sent::Whole, 35_000).is_some());

    let mut permits = Permits::default();
    let slow = take(&mut permits, Sent::HeadOnly, 0).unwrap();
    let mut permits = permits.confirm(slow, 1, LEASE, at(20_000)).unwrap();
    assert_eq!(
        take(&mut permits, Sent::Whole, 54_999),
        None,
        "its lease began anew"
    );
    assert!(take(&mut permits, Sent::Whole, 55_000).is_some());
}

#[test]
fn one_that_has_outlived_its_lease_is_confirmed_only_while_there_is_room() {
    let two = |permits: &mut Permits, millis| permits.take(2, LEASE, Sent::HeadOnly, at(millis));
    let mut permits = Permits::default();
    let (_, late) = (two(&mut permits, 0), two(&mut permits, 0).unwrap());
    assert!(permits.confirm(late, 1, LEASE, at(40_000)).is_some());
    let _ = take(&mut permits, Sent::Whole, 40_000).unwrap();
    assert_eq!(permits.confirm(late, 1, LEASE, at(40_000)), None);
}

#[test]
fn once_fewer_are_set_a_lease_that_is_over_makes_no_room_for_one_more() {
    let mut permits = Permits::default();
    let mut two = |sent, millis| permits.take(2, LEASE, sent, at(millis));
    assert!(two(Sent::HeadOnly, 0).is_some() && two(Sent::Whole, 20_000).is_some());
    // The first one's is over, and the second one's is not.
    assert_eq!(permits.out(LEASE, at(40_000)), 1);
    for sent in [Sent::Whole, Sent::HeadOnly] {
        assert_eq!(take(&mut permits, sent, 40_000), None);
    }
}

#[test]
fn a_permit_of_before_shared_data_was_lost_fits_none_of_since() {
    let [(mut before, old), (mut since, new)] = [0, 1].map(|millis| {
        let mut permits = Permits::beginning(at(millis));
        let permit = take(&mut permits, Sent::Whole, millis).unwrap();
        (permits, permit)
    });
    assert_eq!(since.settle(old), None);
    assert_eq!(since.confirm(old, 1, LEASE, at(2)), None);
    assert!(since.lease_of(new).is_some() && before.lease_of(old).is_some());
}

#[test]
fn one_that_was_replaced_when_its_lease_was_over_is_heard_and_frees_nothing() {
    let mut permits = Permits::beginning(at(u64::from(u32::MAX) / 1_000));
    let slow = take(&mut permits, Sent::Whole, 0).unwrap();
    let next = take(&mut permits, Sent::Whole, 35_000).unwrap();
    assert_eq!(permits.settle(slow), Some(permits));
    assert!(permits.settle(next).is_some_and(|left| left != permits));
    let body = Permit {
        sent: Sent::HeadOnly,
        ..slow
    };
    assert_eq!(permits.settle(body), None, "its client was slow");
    assert_eq!(permits.settle(body.whole()), Some(permits));
    for unknown in [slow.number.wrapping_sub(1), next.number.wrapping_add(1)] {
        let number = unknown;
        assert_eq!(permits.settle(Permit { number, ..slow }), None);
    }
}

#[test]
fn who_waits_for_a_probe_waits_as_long_again_as_it_has_taken_and_no_longer_than_its_lease() {
    let mut permits = Permits::default();
    let wait = |permits: &Permits, millis| permits.wait(LEASE, at(millis));
    let secs = Span::from_secs;
    permits.take(2, LEASE, Sent::Whole, at(0)).unwrap();
    for (now, expected) in [(0, 1), (999, 1), (4_000, 4), (17_500, 17), (30_000, 5)] {
        let wait = wait(&permits, now);
        assert_eq!(wait.as_nanos() / 1_000_000_000, expected, "{now}");
    }
    assert_eq!(wait(&permits, 35_000), secs(1), "its lease is over");
    // The first of two to come.
    permits.take(2, LEASE, Sent::Whole, at(20_000)).unwrap();
    assert_eq!(wait(&permits, 23_000), secs(3));
    assert_eq!(wait(&permits, 33_000), secs(2));
    // Whoever waits for a body takes it over.
    let mut permits = Permits::default();
    take(&mut permits, Sent::HeadOnly, 0).unwrap();
    assert_eq!(wait(&permits, 9_000), secs(1));
}

#[test]
fn numbers_begin_with_the_time_at_which_it_became_half_open() {
    let micros = 0x0004_1234_5678;
    let now = Timestamp::from_unix_nanos(micros * 1_000 + 999);
    let permits = Permits::beginning(now);
    assert_eq!((permits.first, permits.taken), (0x1234_5678, 0x1234_5678));
}

#[test]
fn a_flood_of_unfinished_bodies_takes_over_no_more_than_its_rate() {
    let mut permits = Permits::default();
    let flood = |permits: &mut Permits, millis| {
        let taken = (0..1_000).map_while(|_| take(permits, Sent::HeadOnly, millis));
        taken.count()
    };
    assert_eq!(flood(&mut permits, 0), 1 + 16);
    assert_eq!(flood(&mut permits, 99), 0);
    assert_eq!(flood(&mut permits, 100), 1);
    assert_eq!(flood(&mut permits, 1_000), 9);
    // A whole one does not wait for them, and then they wait for it.
    assert!(take(&mut permits, Sent::Whole, 1_000).is_some());
    assert_eq!(flood(&mut permits, 20_000), 0);
}

#[test]
fn a_clock_that_was_set_back_leaves_no_debt() {
    let mut permits = Permits {
        crowded_until: at(900_000),
        ..Permits::default()
    };
    take(&mut permits, Sent::HeadOnly, 0).unwrap();
    assert!(take(&mut permits, Sent::HeadOnly, 0).is_some());
}
