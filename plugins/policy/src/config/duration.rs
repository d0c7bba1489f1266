//! Durations: a whole number and a unit.

use crate::Span;
use crate::config::text::text_type;

/// A length of time from so many milliseconds to 366 days: `250ms`, `30s`, `5m`, `24h`; where it may be none, `0s` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration<const LEAST_MS: u64 = 1>(Span);
text_type!(Duration<const LEAST_MS: u64>, Self::EXAMPLES, "pattern": "^[0-9]+(ms|s|m|h)$");

/// Longer than any window, leeway or lifetime that makes sense; nanoseconds of ten times it still
/// fit.
const LONGEST: Span = Span::from_secs(366 * 24 * 3600);

/// A whole number and its unit.
fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text:?} is not a duration; expected a whole number and ms, s, m or h");
    let digits = text
        .len()
        .saturating_sub(text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Span::from_millis(number.saturating_mul(millis)))
}

impl<const LEAST_MS: u64> Duration<LEAST_MS> {
    const EXAMPLES: &'static str = match LEAST_MS {
        0 => "a duration such as 0s, 250ms or 30s",
        _ => "a duration such as 250ms, 30s, 5m or 24h",
    };

    fn parse(text: &str) -> Result<Self, String> {
        let span = parse_span(text)?;
        if (Span::from_millis(LEAST_MS)..=LONGEST).contains(&span) {
            return Ok(Self(span));
        }
        let expected = match LEAST_MS {
            0 => "at most 8784h".to_owned(),
            1 => "more than 0 and at most 8784h".to_owned(),
            least => format!("{least}ms to 8784h"),
        };
        Err(format!("{text:?} is out of range; expected {expected}"))
    }

    /// Known good at compile time.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Span::from_secs(secs))
    }

    /// Known good at compile time.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Span::from_millis(millis))
    }

    /// A default of a field, known good at compile time.
    #[must_use]
    pub const fn secs<const SECS: u64>() -> Self {
        Self::from_secs(SECS)
    }

    /// From text that is no part of a configuration.
    ///
    /// # Errors
    /// A message that names value and rule.
    pub fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    /// The length.
    #[must_use]
    pub const fn span(self) -> Span {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        let millis = |text: &str| <Duration>::parse(text).map(|d| d.span().as_nanos() / 1_000_000);
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("5m"), Ok(300_000));
        assert_eq!(millis("24h"), Ok(86_400_000));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1.5s",
            "5 s",
            "0s",
            "8785h",
            "99999999999999999999s",
            "5d",
        ] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_some_durations_may_be_none_at_all() {
        let span = |text: &str| Duration::<0>::parse(text).map(Duration::span);
        assert_eq!(span("0s"), Ok(Span::ZERO));
        assert!(span("0").is_err() && span("8785h").is_err());
    }
}
