//! Limits of what is read, and the arithmetic of time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest credential, in bytes: that of a header that servers commonly take. A token of the
/// gateway has about 500, a signature about 300.
pub(crate) const LONGEST: usize = 8 * 1024;

/// How far two clocks may be apart, where nothing else is set: the gateway's tokens last 60 s.
pub(crate) const SKEW: Duration = Duration::from_secs(30);

/// Seconds since the Unix epoch; 0 for what was before. A fraction is dropped.
pub(crate) fn unix_secs(now: SystemTime) -> i64 {
    secs(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Whole seconds, a fraction dropped. What is too long for the type is as long as it can be.
pub(crate) fn secs(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_in_their_type() {
        assert_eq!(secs(Duration::MAX), i64::MAX);
        assert_eq!(secs(Duration::from_millis(1_999)), 1);
        assert_eq!(unix_secs(UNIX_EPOCH + Duration::from_millis(7_900)), 7);
        assert_eq!(unix_secs(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
