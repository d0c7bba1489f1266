//! Headers that tell a client where it stands.
//!
//! `RateLimit-Policy` and `RateLimit` are structured fields (RFC 9651) of
//! draft-ietf-httpapi-ratelimit-headers-10; the `X-RateLimit-…` family is what Kong's
//! `rate-limiting` plugin and many clients use.

use std::cmp::Reverse;

use crate::config::HeaderStyle;

/// Where a client stands with one limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance<'a> {
    /// The limit's name: `a-z`, `0-9`, `_`.
    pub(crate) name: &'a str,
    /// Requests in a window, or at a time.
    pub(crate) quota: u32,
    /// Seconds in a window; 0 where requests at a time are counted.
    pub(crate) window: u64,
    /// Requests left.
    pub(crate) remaining: u32,
    /// Seconds until the window ends.
    pub(crate) reset: u64,
    /// Seconds until a request is admitted that this limit refused; 0 where it did not.
    pub(crate) wait: u64,
}

impl Allowance<'_> {
    /// Whether it is of requests at a time.
    const fn is_at_a_time(&self) -> bool {
        self.window == 0
    }

    /// What is shown as the reset. Where a request was refused it is when such a one is admitted:
    /// `Retry-After` is the longest of these, and so not earlier than any.
    const fn shown_reset(&self) -> u64 {
        if self.wait > 0 { self.wait } else { self.reset }
    }

    /// The less, the nearer it is to refusing: first what has refused, for the longest time; then what
    /// has the fewest left. Of equals the one that takes longer.
    fn distance(&self) -> impl Ord + use<> {
        let remaining = if self.wait > 0 { 0 } else { self.remaining };
        let longest = (self.shown_reset(), self.window);
        (Reverse(self.wait), remaining, Reverse(longest))
    }
}

/// Headers, whose values stand in one text: so they cost two allocations, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    values: String,
    /// Names, and where in the text the value ends.
    headers: Vec<(&'static str, usize)>,
}

impl Shown {
    /// Room for the headers of a limit or two, of both families.
    fn with_capacity() -> Self {
        Self {
            values: String::with_capacity(160),
            headers: Vec::with_capacity(7),
        }
    }

    /// The value of a header is what was written since the one before.
    fn end(&mut self, name: &'static str) {
        self.headers.push((name, self.values.len()));
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.values.push_str(itoa::Buffer::new().format(number));
    }

    /// A list member: the limit's name, and parameters.
    fn member<'p>(
        &mut self,
        is_first: bool,
        name: &str,
        parameters: impl IntoIterator<Item = (&'p str, u64)>,
    ) {
        self.values.push_str(if is_first { "\"" } else { ", \"" });
        self.values.push_str(name);
        self.values.push('"');
        for (key, value) in parameters {
            self.values.push_str(key);
            self.number(value);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.headers.iter().map(|(name, _)| *name)
    }

    /// Each header's name and value, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mut from = 0;
        self.headers.iter().map(move |(name, end)| {
            let value = self.values.get(from..*end).unwrap_or_default();
            from = *end;
            (*name, value)
        })
    }
}

/// The headers for all limits that a request was counted by.
pub(crate) fn headers(style: HeaderStyle, allowances: &[Allowance<'_>]) -> Shown {
    if allowances.is_empty() || style == HeaderStyle::None {
        return Shown::default();
    }
    let mut shown = Shown::with_capacity();
    if matches!(style, HeaderStyle::Ietf | HeaderStyle::Both) {
        for (index, allowance) in allowances.iter().enumerate() {
            let quota = (";q=", allowance.quota.into());
            match allowance.is_at_a_time() {
                false => {
                    let parameters = [quota, (";w=", allowance.window)];
                    shown.member(index == 0, allowance.name, parameters);
                }
                true => {
                    shown.member(index == 0, allowance.name, [quota]);
                    shown.values.push_str(";qu=\"concurrent-requests\"");
                }
            }
        }
        shown.end("ratelimit-policy");
        for (index, allowance) in allowances.iter().enumerate() {
            let left = (";r=", allowance.remaining.into());
            // Nobody knows when one of those ends that are under way.
            let reset = (";t=", allowance.shown_reset());
            let reset = (!allowance.is_at_a_time() || allowance.wait > 0).then_some(reset);
            shown.member(index == 0, allowance.name, [left].into_iter().chain(reset));
        }
        shown.end("ratelimit");
    }
    let in_windows = allowances
        .iter()
        .filter(|allowance| !allowance.is_at_a_time());
    let nearest = in_windows.min_by_key(|allowance| allowance.distance());
    if let (HeaderStyle::Legacy | HeaderStyle::Both, Some(nearest)) = (style, nearest) {
        shown.number(nearest.quota);
        shown.end("x-ratelimit-limit");
        shown.number(nearest.remaining);
        shown.end("x-ratelimit-remaining");
        shown.number(nearest.shown_reset());
        shown.end("x-ratelimit-reset");
        for (window, limit, remaining) in NAMED_WINDOWS {
            let of_window = allowances
                .iter()
                .filter(|allowance| allowance.window == window);
            if let Some(nearest) = of_window.min_by_key(|allowance| allowance.distance()) {
                shown.number(nearest.quota);
                shown.end(limit);
                shown.number(nearest.remaining);
                shown.end(remaining);
            }
        }
    }
    shown
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

    const PER_IP: Allowance<'_> = Allowance {
        name: "per_ip",
        quota: 100,
        window: 60,
        remaining: 40,
        reset: 30,
        wait: 0,
    };
    const PER_USER: Allowance<'_> = Allowance {
        name: "per_user",
        quota: 20,
        window: 90,
        remaining: 3,
        reset: 80,
        wait: 0,
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

    #[test]
    fn headers_of_limits_are_known_in_all_their_forms_and_others_are_not_theirs() {
        for (name, is_one) in [
            ("ratelimit", true),
            ("RateLimit-Policy", true),
            ("ratelimit-remaining", true),
            ("X-RateLimit-Limit", true),
            ("x-ratelimit-reset-day", true),
            ("x-ratelimit", false),
            ("x-rate-limit-limit", false),
            ("rate", false),
            ("content-length", false),
            ("", false),
        ] {
            assert_eq!(is_of_a_limit(name), is_one, "{name}");
        }
    }

    /// What is left of a quota that a dear request did not fit into is no matter then.
    #[test]
    fn of_limits_that_refuse_for_as_long_the_one_with_the_longer_window_is_the_nearest() {
        let refusing = |window, remaining| Allowance {
            window,
            remaining,
            wait: 30,
            ..PER_IP
        };
        for allowances in [
            [refusing(60, 0), refusing(3_600, 5)],
            [refusing(3_600, 5), refusing(60, 0)],
        ] {
            let nearest = allowances
                .iter()
                .min_by_key(|allowance| allowance.distance());
            assert_eq!(nearest.unwrap().window, 3_600);
        }
    }

    #[test]
    fn the_limit_that_refuses_for_longest_is_the_nearest_and_its_reset_is_the_wait() {
        let short = Allowance {
            name: "short",
            quota: 1,
            window: 1,
            remaining: 0,
            reset: 1,
            wait: 1,
        };
        let (long, free) = (
            Allowance {
                name: "long",
                quota: 2,
                window: 3600,
                reset: 3600,
                wait: 1800,
                ..short
            },
            Allowance {
                name: "free",
                wait: 0,
                ..short
            },
        );
        let tied = Allowance { wait: 1, ..long };
        for (allowances, limit, reset) in [
            ([short, long, free], "2", "1800"),
            ([free, long, short], "2", "1800"),
            ([short, tied, free], "2", "1"),
            ([tied, short, free], "2", "1"),
            (
                [
                    Allowance { wait: 0, ..short },
                    Allowance { wait: 0, ..long },
                    free,
                ],
                "2",
                "3600",
            ),
            (
                [
                    free,
                    Allowance {
                        remaining: 9,
                        ..short
                    },
                    free,
                ],
                "1",
                "1",
            ),
        ] {
            let headers = headers(HeaderStyle::Both, &allowances);
            let value = |name: &str| headers.iter().find(|(known, _)| *known == name).unwrap().1;
            assert_eq!(value("x-ratelimit-limit"), limit, "{allowances:?}");
            assert_eq!(value("x-ratelimit-reset"), reset, "{allowances:?}");
            let t = format!(";t={reset}");
            assert!(value("ratelimit").contains(&t), "{allowances:?}");
        }
    }
}
