//! Host calls that fail on demand.

/// Makes a host call fail before it does anything.
///
/// Rules are tried in the order in which they were given; the first that applies answers the call. Occurrences are
/// counted from the moment the rule was given, each rule for itself.
#[derive(Clone, Debug)]
pub struct FailRule {
    call: Option<String>,
    from: u64,
    until: u64,
    seen: u64,
    answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(u32),
    Trap,
}

impl FailRule {
    /// Fails the named host call, such as `proxy_get_shared_data`, every time, with `InternalFailure` (10).
    pub fn on(call: &str) -> FailRule {
        FailRule {
            call: Some(call.to_owned()),
            ..FailRule::any()
        }
    }

    /// Fails every proxy-wasm host call, with `InternalFailure` (10). WASI functions are left alone.
    pub fn any() -> FailRule {
        FailRule {
            call: None,
            from: 1,
            until: u64::MAX,
            seen: 0,
            answer: Answer::Status(10),
        }
    }

    /// Only the n-th occurrence, counted from 1.
    pub fn nth(self, n: u64) -> FailRule {
        FailRule {
            from: n,
            until: n,
            ..self
        }
    }

    /// The n-th occurrence and all later ones, counted from 1.
    pub fn from_nth(self, n: u64) -> FailRule {
        FailRule {
            from: n,
            until: u64::MAX,
            ..self
        }
    }

    /// Only the first n occurrences.
    pub fn first(self, n: u64) -> FailRule {
        FailRule {
            from: 1,
            until: n,
            ..self
        }
    }

    /// The status to return instead of 10: 1 NotFound, 2 BadArgument, 8 CasMismatch, 12 Unimplemented, or any other.
    pub fn status(self, status: u32) -> FailRule {
        FailRule {
            answer: Answer::Status(status),
            ..self
        }
    }

    /// Traps instead of returning a status, as Kong does for a full zone without eviction.
    pub fn trap(self) -> FailRule {
        FailRule {
            answer: Answer::Trap,
            ..self
        }
    }

    fn applies(&mut self, name: &str) -> bool {
        if self.call.as_deref().is_some_and(|call| call != name) {
            return false;
        }
        self.seen += 1;
        (self.from..=self.until).contains(&self.seen)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    rules: Vec<FailRule>,
}

impl Failures {
    pub(crate) fn add(&mut self, rule: FailRule) {
        self.rules.push(rule);
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Every rule sees the call, so that each keeps its own count, and the first that applies decides.
    pub(crate) fn answer(&mut self, name: &str) -> Option<Answer> {
        let mut decided = None;
        for rule in &mut self.rules {
            if rule.applies(name) && decided.is_none() {
                decided = Some(rule.answer.clone());
            }
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(rule: FailRule, calls: &[&str]) -> Vec<bool> {
        let mut failures = Failures::default();
        failures.add(rule);
        calls
            .iter()
            .map(|call| failures.answer(call).is_some())
            .collect()
    }

    #[test]
    fn a_rule_fails_only_the_call_it_names() {
        assert_eq!(
            answers(FailRule::on("a"), &["a", "b", "a"]),
            [true, false, true]
        );
    }

    #[test]
    fn a_rule_may_pick_one_occurrence() {
        assert_eq!(
            answers(FailRule::on("a").nth(2), &["a", "b", "a", "a"]),
            [false, false, true, false]
        );
        assert_eq!(
            answers(FailRule::any().from_nth(2), &["a", "b", "a"]),
            [false, true, true]
        );
        assert_eq!(
            answers(FailRule::any().first(1), &["a", "b"]),
            [true, false]
        );
    }

    #[test]
    fn the_first_rule_that_applies_decides_and_the_others_still_count() {
        let mut failures = Failures::default();
        failures.add(FailRule::on("a").nth(1).status(8));
        failures.add(FailRule::on("a").nth(2).trap());
        assert_eq!(failures.answer("a"), Some(Answer::Status(8)));
        assert_eq!(failures.answer("a"), Some(Answer::Trap));
        assert_eq!(failures.answer("a"), None);
    }
}
