//! How long a client is willing to wait, where it says so.
//!
//! | header                                | who heeds it                                          |
//! | ------------------------------------- | ----------------------------------------------------- |
//! | `grpc-timeout`                        | servers (gRPC over HTTP/2, "Requests"); Envoy's routes with `max_grpc_timeout` or `grpc_timeout_header_max` |
//! | `x-envoy-upstream-rq-timeout-ms`      | Envoy, where the listener does not take it away        |
//! | `x-envoy-upstream-rq-per-try-timeout-ms` | the same                                           |
//! | `x-envoy-expected-rq-timeout-ms`      | Envoy with `respect_expected_rq_timeout`               |
//! | `x-envoy-upstream-stream-duration-ms` | Envoy                                                  |
//!
//! What comes of such a deadline says nothing of the upstream: or whoever sets a short one could
//! open the breaker for everybody.

use portcullis_policy::{Clock, Request, Sent, Span, Timestamp};

/// Whoever measures a deadline may find it over a little sooner than this worker does.
const SLACK: Span = Span::from_millis(10);

/// In milliseconds.
const ENVOYS: [&str; 4] = [
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-stream-duration-ms",
];

/// The shortest that the client names; `None` where it names none that can be read.
pub(crate) fn named_by(request: &Request<'_>) -> Option<Span> {
    let headers = request.headers();
    let envoys = ENVOYS.iter().flat_map(|name| headers.values(name));
    let grpcs = headers.values("grpc-timeout");
    grpcs
        .filter_map(grpc)
        .chain(envoys.filter_map(millis))
        .min()
}

/// `TimeoutValue TimeoutUnit`: digits, and one of H, M, S, m, u, n. gRPC has eight digits at most; Envoy reads more of them, too.
fn grpc(value: &[u8]) -> Option<Span> {
    let (unit, digits) = value.split_last()?;
    let nanos: u64 = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    Some(Span::from_nanos(number(digits)?.saturating_mul(nanos)))
}

/// Whole milliseconds; 0 is Envoy's word for no deadline.
fn millis(value: &[u8]) -> Option<Span> {
    let millis = number(value)?;
    (millis > 0).then(|| Span::from_millis(millis))
}

/// As Envoy reads it: white space around it and a plus before it are no matter to it.
fn number(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let from = text.iter().position(|byte| !is_space(byte))?;
    let to = text.iter().rposition(|byte| !is_space(byte))?;
    let text = text.get(from..=to)?;
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    // A second sign would be read as one.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The client's part in a request.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    /// How much of its request it has sent.
    pub(crate) sent: Sent,
    /// Until when it waits, if it said so.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) clock: &'a dyn Clock,
}

impl Client<'_> {
    /// Whether its own deadline is over: what comes of that is its own doing. Without a clock nobody
    /// can tell, and nobody else pays for it.
    pub(crate) fn gave_up(&self) -> bool {
        self.deadline.is_some_and(|deadline| {
            let now = self.clock.now();
            now.map_or(true, |now| now.after(SLACK) >= deadline)
        })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::{Headers, PeerAddress};

    use super::*;

    struct Nobody;
    impl PeerAddress for Nobody {
        fn peer(&self) -> Option<std::net::IpAddr> {
            None
        }
    }

    fn of(pairs: &[(&str, &str)]) -> Option<u64> {
        let headers = Headers::from_pairs(pairs.iter().copied());
        named_by(&Request::new(&headers, &Nobody)).map(Span::as_nanos)
    }

    #[test]
    fn a_grpc_timeout_is_read_by_its_grammar_and_as_envoy_reads_it() {
        for (value, nanos) in [
            ("1m", Some(1_000_000)),
            ("0m", Some(0)),
            ("30S", Some(30_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("5u", Some(5_000)),
            ("99999999n", Some(99_999_999)),
            // Longer than time lasts.
            ("99999999H", Some(u64::MAX)),
            ("123456789n", Some(123_456_789)),
            ("000000000200m", Some(200_000_000)),
            ("99999999999999999999n", None),
            ("", None),
            ("m", None),
            ("1", None),
            ("1s", None),
            ("-1m", None),
            ("++1m", None),
            ("1.5S", None),
            ("1 2m", None),
            (" m", None),
            ("+1m", Some(1_000_000)),
            (" 1m", Some(1_000_000)),
            ("1 m", Some(1_000_000)),
            ("1\tm", Some(1_000_000)),
        ] {
            assert_eq!(of(&[("grpc-timeout", value)]), nanos, "{value:?}");
        }
    }

    #[test]
    fn a_name_is_one_in_any_case() {
        for name in ["grpc-timeout", "Grpc-Timeout", "GRPC-TIMEOUT"] {
            assert_eq!(of(&[(name, "1m")]), Some(1_000_000), "{name}");
        }
        assert_eq!(of(&[("Grpc-Timeouts", "1m")]), None);
    }

    #[test]
    fn envoys_headers_are_milliseconds_of_which_0_is_none() {
        for name in [
            "x-envoy-upstream-rq-timeout-ms",
            "x-envoy-upstream-rq-per-try-timeout-ms",
            "x-envoy-expected-rq-timeout-ms",
            "X-Envoy-Upstream-Stream-Duration-Ms",
        ] {
            for (value, nanos) in [
                ("250", Some(250_000_000)),
                ("0", None),
                ("", None),
                ("1s", None),
                ("+250", Some(250_000_000)),
                ("99999999999999999999", None),
            ] {
                assert_eq!(of(&[(name, value)]), nanos, "{name}: {value:?}");
            }
        }
    }

    #[test]
    fn of_several_deadlines_the_shortest_holds() {
        assert_eq!(of(&[("accept", "*/*"), ("x-request-id", "1m")]), None);
        assert_eq!(of(&[("x-request-id", "250"), ("X-Retries", "3")]), None);
        let both = [
            ("grpc-timeout", "1S"),
            ("x-envoy-upstream-rq-timeout-ms", "20"),
            ("grpc-timeout", "30m"),
        ];
        assert_eq!(of(&both), Some(20_000_000));
    }
}
