//! Headers that tell a client where it stands.
//!
//! `RateLimit-Policy` and `RateLimit` are structured fields (RFC 9651) of
//! draft-ietf-httpapi-ratelimit-headers-10; the `X-RateLimit-…` family is what Kong's
//! `rate-limiting` plugin and many clients use.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::config::HeaderStyle;

/// Where a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    /// The limit's name: `a-z`, `0-9`, `_`.
    pub(crate) name: &'a str,
    /// Requests in a window.
    pub(crate) quota: u32,
    /// Seconds in a window.
    pub(crate) window: u64,
    /// Requests left.
    pub(crate) remaining: u32,
    /// Seconds until the window ends.
    pub(crate) reset: u64,
}

/// A header's name and value.
pub(crate) type Header = (Cow<'static, str>, String);

/// The headers for all limits that a request was counted by.
pub(crate) fn headers(style: HeaderStyle, standings: &[Standing<'_>]) -> Vec<Header> {
    let Some(nearest) = standings.iter().min_by_key(|standing| standing.remaining) else {
        return Vec::new();
    };
    let mut headers = Vec::with_capacity(7);
    if matches!(style, HeaderStyle::Ietf | HeaderStyle::Both) {
        let mut policy = String::with_capacity(64);
        let mut state = String::with_capacity(64);
        for Standing {
            name,
            quota,
            window,
            remaining,
            reset,
        } in standings
        {
            let comma = if policy.is_empty() { "" } else { ", " };
            // Writing into a String does not fail.
            let _ = write!(policy, "{comma}\"{name}\";q={quota};w={window}");
            let _ = write!(state, "{comma}\"{name}\";r={remaining};t={reset}");
        }
        headers.push((Cow::Borrowed("ratelimit-policy"), policy));
        headers.push((Cow::Borrowed("ratelimit"), state));
    }
    if matches!(style, HeaderStyle::Legacy | HeaderStyle::Both) {
        headers.push((
            Cow::Borrowed("x-ratelimit-limit"),
            nearest.quota.to_string(),
        ));
        headers.push((
            Cow::Borrowed("x-ratelimit-remaining"),
            nearest.remaining.to_string(),
        ));
        headers.push((
            Cow::Borrowed("x-ratelimit-reset"),
            nearest.reset.to_string(),
        ));
        for (window, limit, remaining) in NAMED_WINDOWS {
            let of_window = standings
                .iter()
                .filter(|standing| standing.window == window);
            if let Some(nearest) = of_window.min_by_key(|standing| standing.remaining) {
                headers.push((Cow::Borrowed(limit), nearest.quota.to_string()));
                headers.push((Cow::Borrowed(remaining), nearest.remaining.to_string()));
            }
        }
    }
    headers
}

/// Whether a header tells where a client stands with some limit, in any of the forms that are about:
/// those of the draft and of its predecessors, and the `X-` ones.
pub(crate) fn is_of_a_limit(name: &str) -> bool {
    let begins = |with: &str| {
        name.get(..with.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(with))
    };
    begins("ratelimit") || begins("x-ratelimit-")
}

/// Windows that have headers of their own in Kong, in seconds.
const NAMED_WINDOWS: [(u64, &str, &str); 4] = [
    (
        1,
        "x-ratelimit-limit-second",
        "x-ratelimit-remaining-second",
    ),
    (
        60,
        "x-ratelimit-limit-minute",
        "x-ratelimit-remaining-minute",
    ),
    (
        3_600,
        "x-ratelimit-limit-hour",
        "x-ratelimit-remaining-hour",
    ),
    (86_400, "x-ratelimit-limit-day", "x-ratelimit-remaining-day"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PER_IP: Standing<'_> = Standing {
        name: "per_ip",
        quota: 100,
        window: 60,
        remaining: 40,
        reset: 30,
    };
    const PER_USER: Standing<'_> = Standing {
        name: "per_user",
        quota: 20,
        window: 90,
        remaining: 3,
        reset: 80,
    };

    fn shown(style: HeaderStyle) -> Vec<String> {
        let headers = headers(style, &[PER_IP, PER_USER]);
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn all_limits_stand_in_the_structured_fields_and_the_nearest_in_the_legacy_ones() {
        let ietf = [
            r#"ratelimit-policy: "per_ip";q=100;w=60, "per_user";q=20;w=90"#,
            r#"ratelimit: "per_ip";r=40;t=30, "per_user";r=3;t=80"#,
        ];
        let legacy = [
            "x-ratelimit-limit: 20",
            "x-ratelimit-remaining: 3",
            "x-ratelimit-reset: 80",
            "x-ratelimit-limit-minute: 100",
            "x-ratelimit-remaining-minute: 40",
        ];
        assert_eq!(shown(HeaderStyle::Ietf), ietf);
        assert_eq!(shown(HeaderStyle::Legacy), legacy);
        assert_eq!(shown(HeaderStyle::Both), [&ietf[..], &legacy[..]].concat());
        assert!(shown(HeaderStyle::None).is_empty());
    }
}
