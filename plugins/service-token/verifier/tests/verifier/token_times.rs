//! `kind: jwt`: when a token is good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_service_token_verifier::{Algorithm, Error, TokenVerifier, Verifier};

use crate::scene::{NOW, at, get, secrets, token};

fn tokens() -> TokenVerifier {
    TokenVerifier::new(Algorithm::Hs256, secrets(&["new"]), "gate").unwrap()
}

/// What is said of a token with these times, as JSON, at `now`.
fn with(tokens: TokenVerifier, times: &str, now: SystemTime) -> Result<(), Error> {
    let token = token(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"iss":"gate"{times}}}"#),
        "new",
    );
    let request = get("/", &[("x-service-token", &token)]);
    Verifier::from(tokens).verify(&request, now).map(|_| ())
}

fn between(iat: i64, exp: i64) -> String {
    format!(r#","iat":{iat},"exp":{exp}"#)
}

#[test]
fn at_the_edge_it_is_good_and_a_second_beyond_it_is_not() {
    for skew in [0, 30, 120] {
        let tokens = || tokens().skew(Duration::from_secs(skew.try_into().unwrap()));
        let of = |times: &str, now| with(tokens(), times, at(now));
        let ends = between(NOW, NOW + 60);
        assert_eq!(of(&ends, NOW + 60 + skew), Ok(()));
        assert_eq!(of(&ends, NOW + 61 + skew), Err(Error::Expired));
        assert_eq!(of(&ends, NOW - skew), Ok(()));
        assert_eq!(of(&ends, NOW - skew - 1), Err(Error::NotYetValid));
        let starts = format!(r#"{ends},"nbf":{}"#, NOW + 20);
        assert_eq!(of(&starts, NOW + 20 - skew), Ok(()));
        assert_eq!(of(&starts, NOW + 19 - skew), Err(Error::NotYetValid));
    }
    // Half a second does not count.
    let half = |secs| at(secs) + Duration::from_millis(500);
    let ends = between(NOW, NOW + 60);
    assert_eq!(with(tokens(), &ends, half(NOW + 90)), Ok(()));
    assert_eq!(with(tokens(), &ends, half(NOW + 91)), Err(Error::Expired));
}

#[test]
fn it_may_last_an_hour_or_what_is_set() {
    let of = |tokens, lifetime| with(tokens, &between(NOW, NOW + lifetime), at(NOW));
    assert_eq!(of(tokens(), 3_600), Ok(()));
    assert_eq!(of(tokens(), 3_601), Err(Error::LivesTooLong));
    let short = || tokens().longest_lifetime(Duration::from_secs(60));
    assert_eq!(of(short(), 60), Ok(()));
    assert_eq!(of(short(), 61), Err(Error::LivesTooLong));
}

#[test]
fn extreme_numbers_are_refused_and_nothing_panics() {
    let unreadable = || Err(Error::Malformed("the token's claims"));
    for (iat, exp, expected) in [
        ("0", "9223372036854775807", Err(Error::LivesTooLong)),
        (
            "-9223372036854775808",
            "9223372036854775807",
            Err(Error::LivesTooLong),
        ),
        (
            "-9223372036854775808",
            "1767254460",
            Err(Error::LivesTooLong),
        ),
        (
            "1767254400",
            "18446744073709551615",
            Err(Error::LivesTooLong),
        ),
        (
            "1767254400",
            "99999999999999999999999999",
            Err(Error::LivesTooLong),
        ),
        ("1767254400", "1e300", Err(Error::LivesTooLong)),
        ("1767254400", "1e400", unreadable()),
        ("-1e400", "1767254460", unreadable()),
        ("1e300", "1767254460", Err(Error::NotYetValid)),
        (
            "9223372036854775807",
            "9223372036854775807",
            Err(Error::NotYetValid),
        ),
        ("-5", "-1", Err(Error::Expired)),
        ("1767254400", "-9223372036854775808", Err(Error::Expired)),
        // It ends before it begins, and both are within the skew.
        ("1767254410", "1767254380", Err(Error::Expired)),
        ("1767254400.5", "1767254460.5", Ok(())),
    ] {
        let times = format!(r#","iat":{iat},"exp":{exp}"#);
        assert_eq!(with(tokens(), &times, at(NOW)), expected, "{times}");
        // However far off the clocks may be: nothing overflows.
        let skewed = tokens().skew(Duration::MAX).longest_lifetime(Duration::MAX);
        let _ = with(skewed, &times, at(NOW));
    }
    let nbf = |nbf: &str| {
        let times = format!(r#"{},"nbf":{nbf}"#, between(NOW, NOW + 60));
        with(tokens(), &times, at(NOW))
    };
    assert_eq!(nbf("-9223372036854775808"), Ok(()));
    assert_eq!(nbf("9223372036854775807"), Err(Error::NotYetValid));
    assert_eq!(nbf("1e400"), unreadable());
}

#[test]
fn a_clock_that_is_far_off_lets_nothing_through() {
    let times = between(NOW, NOW + 60);
    let before = UNIX_EPOCH - Duration::from_secs(1);
    assert_eq!(with(tokens(), &times, before), Err(Error::NotYetValid));
    let late = at(i64::MAX / 4);
    assert_eq!(with(tokens(), &times, late), Err(Error::Expired));
}
