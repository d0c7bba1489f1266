//! What the script makes of single withdrawals.

use crate::server::Server;

const NOON: u64 = 1_767_268_800_000_000;

/// A server at noon, which is the begin of a minute.
fn fresh() -> Server {
    let server = Server::new(NOON);
    server.answer(b"EVAL/x/0/0");
    server
}

struct Ask<'a> {
    key: &'a str,
    kind: &'a str,
    quota: u64,
    window_ms: u64,
    capacity: u64,
    want: u64,
    debt: u64,
    back: (u64, u64),
}

const WINDOW: Ask<'_> = Ask {
    key: "a",
    kind: "w",
    quota: 10,
    window_ms: 60_000,
    capacity: 10,
    want: 1,
    debt: 0,
    back: (0, 0),
};

const BUCKET: Ask<'_> = Ask {
    kind: "b",
    ..WINDOW
};

/// Granted, left, reset in ms, none for ms, mark.
fn tell(server: &Server, ask: &Ask<'_>, nonce: &str) -> [u64; 5] {
    let Ask {
        key,
        kind,
        quota,
        window_ms,
        capacity,
        want,
        debt,
        back: (back, mark),
    } = ask;
    let least = want.min(&1);
    let keys = match back {
        0 => format!("1/{key}"),
        _ => format!("2/{key}/call:{nonce}"),
    };
    let words = format!(
        "EVALSHA/sha/{keys}/1/{kind}/{quota}/{window_ms}/{capacity}/{want}/{least}/1000000/{debt}/{back}/{mark}"
    );
    let answer = server.answer(words.as_bytes());
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let told: Vec<u64> = answer["EVALSHA"]
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_u64().unwrap())
        .collect();
    told.try_into().unwrap()
}

#[test]
fn a_window_gives_its_quota_and_begins_anew_with_the_next() {
    let server = fresh();
    let five = Ask { want: 5, ..WINDOW };
    let number = NOON / 60_000_000;
    assert_eq!(tell(&server, &five, ""), [5, 5, 60_000, 60_000, number]);
    server.set_clock(NOON + 59_000_000);
    assert_eq!(
        tell(&server, &Ask { want: 9, ..WINDOW }, ""),
        [5, 0, 1_000, 1_000, number]
    );
    assert_eq!(tell(&server, &WINDOW, "")[..2], [0, 0]);
    server.set_clock(NOON + 60_000_000);
    assert_eq!(tell(&server, &five, ""), [5, 5, 60_000, 60_000, number + 1]);
}

#[test]
fn what_comes_back_counts_no_more_but_only_once_and_in_its_own_window() {
    let server = fresh();
    let number = NOON / 60_000_000;
    let back = |units, mark| Ask {
        want: 0,
        back: (units, mark),
        ..WINDOW
    };
    tell(&server, &Ask { want: 10, ..WINDOW }, "");
    assert_eq!(tell(&server, &back(4, number), "1")[1], 4);
    assert_eq!(tell(&server, &back(4, number), "1")[1], 4, "the same call");
    assert_eq!(tell(&server, &back(2, number), "2")[1], 6);
    assert_eq!(
        tell(&server, &back(2, number - 1), "3")[1],
        6,
        "of another window"
    );
    server.set_clock(NOON + 60_000_000);
    tell(&server, &Ask { want: 10, ..WINDOW }, "");
    assert_eq!(
        tell(&server, &back(4, number), "4")[1],
        0,
        "of the window before"
    );
}

#[test]
fn a_debt_is_counted_whether_anything_is_left_or_not() {
    let server = fresh();
    let owes = |debt| Ask { debt, ..WINDOW };
    assert_eq!(tell(&server, &owes(8), "")[..2], [1, 1]);
    assert_eq!(tell(&server, &owes(8), "")[..2], [0, 0]);
    let server = fresh();
    assert_eq!(tell(&server, &Ask { debt: 12, ..BUCKET }, "")[..2], [0, 0]);
    // A token drips in every six seconds: two of them pay what is owed.
    server.set_clock(NOON + 12_000_000);
    assert_eq!(tell(&server, &BUCKET, "")[..2], [0, 0]);
    server.set_clock(NOON + 18_000_000);
    assert_eq!(tell(&server, &BUCKET, "")[..2], [1, 0]);
}

#[test]
fn a_bucket_gives_what_it_holds_and_then_what_drips_in() {
    let server = fresh();
    let all = Ask { want: 20, ..BUCKET };
    assert_eq!(tell(&server, &all, ""), [10, 0, 60_000, 6_000, NOON]);
    server.set_clock(NOON + 5_999_000);
    assert_eq!(tell(&server, &all, "")[..2], [0, 0]);
    server.set_clock(NOON + 6_000_000);
    assert_eq!(tell(&server, &all, "")[..2], [1, 0]);
}

#[test]
fn of_what_comes_back_to_a_bucket_that_counts_no_more_which_has_not_dripped_in_since() {
    let server = fresh();
    tell(&server, &Ask { want: 10, ..BUCKET }, "");
    let at = NOON + 12_000_000;
    server.set_clock(at);
    let back = |units, mark| Ask {
        want: 0,
        back: (units, mark),
        ..BUCKET
    };
    // Two have dripped in.
    assert_eq!(tell(&server, &back(5, NOON), "1")[1], 5);
    assert_eq!(tell(&server, &back(5, NOON), "1")[1], 5, "the same call");
    assert_eq!(tell(&server, &back(5, at), "2")[1], 10);
    assert_eq!(tell(&server, &back(5, at), "3")[1], 10, "it holds no more");
}

#[test]
fn a_clock_that_is_set_back_gives_nothing_that_was_given() {
    let server = fresh();
    tell(&server, &Ask { want: 10, ..WINDOW }, "");
    server.set_clock(NOON - 1);
    assert_eq!(tell(&server, &WINDOW, "")[0], 0, "a little");
    server.set_clock(NOON - 600_000_000);
    assert_eq!(tell(&server, &WINDOW, "")[0], 0, "more");
    server.set_clock(NOON - 540_000_000);
    assert_eq!(tell(&server, &WINDOW, "")[0], 1, "a window later");
    let server = fresh();
    tell(&server, &Ask { want: 10, ..BUCKET }, "");
    server.set_clock(NOON - 600_000_000);
    assert_eq!(tell(&server, &BUCKET, "")[0], 0);
    server.set_clock(NOON - 594_000_000);
    assert_eq!(tell(&server, &BUCKET, "")[0], 1);
}

#[test]
fn no_lease_is_more_than_its_part_of_what_is_left_but_for_what_is_waited_for() {
    let server = fresh();
    let words = |want: u64, least: u64| {
        let words = format!("EVALSHA/sha/1/a/1/w/100/60000/100/{want}/{least}/100000/0/0/0");
        let answer = server.answer(words.as_bytes());
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        answer["EVALSHA"][0].as_u64().unwrap()
    };
    assert_eq!(words(50, 1), 10);
    assert_eq!(words(50, 1), 9);
    assert_eq!(words(50, 70), 50);
    let rest: Vec<u64> = (0..40)
        .map(|_| words(50, 1))
        .take_while(|given| *given > 0)
        .collect();
    assert_eq!(rest.iter().sum::<u64>(), 31);
    assert_eq!(rest.last(), Some(&1), "the last one by one: {rest:?}");
}
