//! How Kong finds labels in the names of metrics.
//!
//! Kong's exporter sees `pw:<filter>:<metric>`. Capture 1 of a pattern is what it cuts from the
//! name, and must end the match; capture 2 is the label's value. All patterns of a filter share one
//! position, and each is tried from where the one before it ended: they are listed in the order in
//! which their labels stand in a name.

use crate::filters::Label;

impl Label {
    /// What it is called, in the metric's name and in Prometheus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Provider => "provider",
            Self::To => "to",
            Self::Limit => "limit",
            Self::Reason => "reason",
            Self::Result => "result",
        }
    }

    /// The pattern, a PCRE. The first of two labels is found behind the metric's name, the last by
    /// the end: a breaker may well be called `to` or `limit`.
    #[must_use]
    pub fn pattern(self) -> String {
        let name = self.name();
        match self {
            Self::Breaker | Self::Provider => format!(r":\w+([.]{name}[.](\w+))"),
            Self::To | Self::Limit | Self::Reason | Self::Result => {
                format!(r"([.]{name}[.](\w+))$")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_captures_what_is_cut_and_the_value() {
        assert_eq!(Label::Breaker.pattern(), r":\w+([.]breaker[.](\w+))");
        assert_eq!(Label::To.pattern(), r"([.]to[.](\w+))$");
    }
}
