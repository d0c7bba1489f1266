//! Points in time, and lengths of it, as people write them.

use portcullis_policy::config::Duration;
use portcullis_policy::{Span, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a point in time as RFC 3339 writes it: `2026-01-01T00:00:00Z`.
///
/// # Errors
/// It is none, or before 1970.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong =
        || format!("{text:?} is no point in time; expected one such as 2026-01-01T00:00:00Z");
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    let nanos = u64::try_from(moment.unix_timestamp_nanos()).map_err(|_| wrong())?;
    Ok(Timestamp::from_unix_nanos(nanos))
}

/// A point in time as RFC 3339 writes it, in UTC, to the millisecond.
#[must_use]
pub fn shown(at: Timestamp) -> String {
    let millis = i128::from(at.unix_nanos() / 1_000_000);
    let nanos = millis.saturating_mul(1_000_000);
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    let text = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

/// Reads a length of time as configurations write it: `250ms`, `30s`, `5m`, `24h`; also `0`.
///
/// # Errors
/// It is none.
pub fn parse_span(text: &str) -> Result<Span, String> {
    match text {
        "0" | "0s" => Ok(Span::ZERO),
        text => <Duration>::from_text(text).map(|duration| duration.span()),
    }
}

/// A length of time in its largest whole unit, rounded up to milliseconds: `90s`, `1m`, `250ms`, `29.8s`.
#[must_use]
pub fn shown_span(span: Span) -> String {
    let millis = span.as_nanos().div_ceil(1_000_000);
    let whole = |unit: u64| {
        millis
            .checked_div(unit)
            .filter(|count| count.checked_mul(unit) == Some(millis))
    };
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if let Some(count @ 1..) = whole(unit) {
            return format!("{count}{name}");
        }
    }
    match millis {
        0..1_000 => format!("{millis}ms"),
        _ => {
            let fraction = format!("{:03}", millis % 1_000);
            format!("{}.{}s", millis / 1_000, fraction.trim_end_matches('0'))
        }
    }
}

/// The time by this machine's clock.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "a person who says no time means now; whatever is tried is handed the time"
)]
pub fn now() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.as_nanos());
    Timestamp::from_unix_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_read_and_written() {
        let at = parse("2026-01-01T01:00:00.25+01:00").unwrap();
        assert_eq!(at.unix_nanos(), 1_767_225_600_250_000_000);
        assert_eq!(shown(at), "2026-01-01T00:00:00.25Z");
        for wrong in ["", "now", "2026-01-01", "1960-01-01T00:00:00Z"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_length_of_time_has_a_unit_or_is_none() {
        assert_eq!(parse_span("90s"), Ok(Span::from_secs(90)));
        assert_eq!(parse_span("0"), Ok(Span::ZERO));
        assert!(parse_span("90").is_err());
        for (millis, shown) in [
            (0, "0ms"),
            (250, "250ms"),
            (29_800, "29.8s"),
            (90_000, "90s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(shown_span(Span::from_millis(millis)), shown);
        }
    }
}
