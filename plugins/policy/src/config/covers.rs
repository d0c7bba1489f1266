//! Whether one `match` means all that another does: what stands behind it in a list of which the first that matches
//! holds would never be reached.

use super::ConfigError;
use super::matches::{Case, HostPattern, Match, PathPattern, Segment, TrailingSlash};
use crate::path::without_slash_at_end;

/// Checks that something is left of `entry`, the `at`th of a list of which the first that matches holds, by those
/// `before` it.
///
/// # Errors
/// One of them matches all that it does.
pub fn check_reached<'m>(
    list: &str,
    at: usize,
    entry: &Match,
    mut before: impl Iterator<Item = &'m Match>,
) -> Result<(), ConfigError> {
    let Some(first) = before.position(|before| before.covers(entry)) else {
        return Ok(());
    };
    let rule = format!(
        "it is never reached: {list}[{first}] matches all of its requests, and the first that matches holds"
    );
    Err(ConfigError::at(format!("{list}[{at}].match"), rule))
}

impl Match {
    /// Whether it certainly matches each request that `other` does. Where it can't be told, it says no.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.covers_methods(other) && self.covers_hosts(other) && self.covers_paths(other)
    }

    fn covers_methods(&self, other: &Self) -> bool {
        match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                let mut theirs = theirs.as_slice().iter();
                theirs.all(|method| ours.as_slice().contains(method))
            }
        }
    }

    fn covers_hosts(&self, other: &Self) -> bool {
        match (&self.hosts, &other.hosts) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                let covered =
                    |host: &HostPattern| ours.as_slice().iter().any(|our| our.covers(host));
                theirs.as_slice().iter().all(covered)
            }
        }
    }

    fn covers_paths(&self, other: &Self) -> bool {
        match (&self.paths, &other.paths) {
            (None, _) => true,
            // A path with two readings is one that `other` matches.
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => {
                if self.case == Case::Sensitive && other.case == Case::Ignore {
                    return false;
                }
                let covered = |path: &PathPattern| {
                    let mut ours = ours.as_slice().iter();
                    ours.any(|our| self.pattern_covers(our, other, path))
                };
                theirs.as_slice().iter().all(covered)
            }
        }
    }

    /// Whether our pattern matches all paths that `theirs` of `other` does.
    fn pattern_covers(&self, ours: &PathPattern, other: &Self, theirs: &PathPattern) -> bool {
        let (slash, case) = (self.trailing_slash, self.case);
        match theirs {
            PathPattern::Exact(path) => {
                let path = path.as_str();
                let bare = without_slash_at_end(path);
                let either = format!("{bare}/");
                match (slash, other.trailing_slash) {
                    (TrailingSlash::Same, _) => ours.matches(bare, slash, case),
                    (TrailingSlash::Distinct, TrailingSlash::Distinct) => {
                        ours.matches(path, slash, case)
                    }
                    (TrailingSlash::Distinct, TrailingSlash::Same) => {
                        ours.matches(bare, slash, case) && ours.matches(&either, slash, case)
                    }
                }
            }
            PathPattern::Prefix(prefix) => match ours {
                PathPattern::Prefix(our) if our.as_str() == "/" => true,
                PathPattern::Prefix(_) => ours.matches(prefix.as_str(), slash, case),
                PathPattern::Exact(_) | PathPattern::Template(_) => false,
            },
            PathPattern::Template(template) => match ours {
                PathPattern::Prefix(our) if our.as_str() == "/" => true,
                PathPattern::Prefix(our) => {
                    let parts = our.as_str().split('/').skip(1);
                    let mut segments = template.segments().iter();
                    parts.into_iter().all(|part| match segments.next() {
                        Some(Segment::Literal(literal)) => case.same(part, literal),
                        Some(Segment::Any) | None => false,
                    })
                }
                PathPattern::Template(our) => {
                    let alike = slash == TrailingSlash::Same || slash == other.trailing_slash;
                    let (ours, theirs) = (our.segments(), template.segments());
                    let covers = |(our, their): (&Segment, &Segment)| match (our, their) {
                        (Segment::Any, Segment::Any) => true,
                        (Segment::Any, Segment::Literal(literal)) => !literal.is_empty(),
                        (Segment::Literal(_), Segment::Any) => false,
                        (Segment::Literal(our), Segment::Literal(their)) => case.same(our, their),
                    };
                    alike && ours.len() == theirs.len() && ours.iter().zip(theirs).all(covers)
                }
                PathPattern::Exact(_) => false,
            },
        }
    }
}

impl HostPattern {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Below(ours), Self::Below(theirs)) => {
                let at = theirs.len().checked_sub(ours.len());
                let end = at.and_then(|at| theirs.as_bytes().split_at_checked(at));
                end.is_some_and(|(_, end)| end.eq_ignore_ascii_case(ours.as_bytes()))
            }
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(one: &str, other: &str) -> bool {
        let [one, other]: [Match; 2] = [one, other].map(|json| serde_json::from_str(json).unwrap());
        one.covers(&other)
    }

    #[test]
    fn what_means_all_of_another_covers_it() {
        for (one, other) in [
            ("{}", "{}"),
            (
                "{}",
                r#"{"paths":[{"exact":"/a"}],"methods":["GET"],"hosts":["a.test"]}"#,
            ),
            (r#"{"methods":["GET","PUT"]}"#, r#"{"methods":["PUT"]}"#),
            (
                r#"{"hosts":["*.test"]}"#,
                r#"{"hosts":["a.test","*.b.test"]}"#,
            ),
            (r#"{"hosts":["[::1]"]}"#, r#"{"hosts":["[::1]"]}"#),
            (
                r#"{"paths":[{"prefix":"/"}]}"#,
                r#"{"paths":[{"template":"/{a}"},{"exact":"/x"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a"}]}"#,
                r#"{"paths":[{"prefix":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a"}]}"#,
                r#"{"paths":[{"prefix":"/a/b"},{"exact":"/a"},{"exact":"/a/"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a"}]}"#,
                r#"{"paths":[{"template":"/a/{b}/c"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"exact":"/a/"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"exact":"/a"}],"trailing_slash":"distinct"}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a"}],"trailing_slash":"distinct"}"#,
                r#"{"paths":[{"exact":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}],"case":"ignore"}"#,
                r#"{"paths":[{"exact":"/A"}]}"#,
            ),
            (
                r#"{"paths":[{"template":"/{a}/{b}"}]}"#,
                r#"{"paths":[{"template":"/x/{y}"},{"exact":"/x/y/"}]}"#,
            ),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_leaves_something_of_another_does_not() {
        for (one, other) in [
            (r#"{"methods":["GET"]}"#, "{}"),
            (r#"{"methods":["GET"]}"#, r#"{"methods":["GET","PUT"]}"#),
            (r#"{"hosts":["a.test"]}"#, "{}"),
            (r#"{"hosts":["a.test"]}"#, r#"{"hosts":["*.test"]}"#),
            (r#"{"hosts":["*.a.test"]}"#, r#"{"hosts":["*.test"]}"#),
            (r#"{"hosts":["*.a.test"]}"#, r#"{"hosts":["a.test"]}"#),
            // Of a path with two readings it says nothing.
            (r#"{"paths":[{"prefix":"/"}]}"#, "{}"),
            (
                r#"{"paths":[{"prefix":"/a"}]}"#,
                r#"{"paths":[{"prefix":"/ab"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a/b"}]}"#,
                r#"{"paths":[{"prefix":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a/b"}]}"#,
                r#"{"paths":[{"template":"/a/{b}"}]}"#,
            ),
            (
                r#"{"paths":[{"prefix":"/a/b/c"}]}"#,
                r#"{"paths":[{"template":"/a/b"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"prefix":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"template":"/{a}"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}],"trailing_slash":"distinct"}"#,
                r#"{"paths":[{"exact":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"exact":"/a"}],"case":"ignore"}"#,
            ),
            (
                r#"{"paths":[{"exact":"/a"}]}"#,
                r#"{"paths":[{"exact":"/A"}]}"#,
            ),
            (
                r#"{"paths":[{"template":"/x/{y}"}]}"#,
                r#"{"paths":[{"template":"/{a}/{b}"}]}"#,
            ),
            (
                r#"{"paths":[{"template":"/{a}"}]}"#,
                r#"{"paths":[{"template":"/{a}/{b}"}]}"#,
            ),
            (
                r#"{"paths":[{"template":"/{a}"}]}"#,
                r#"{"paths":[{"prefix":"/a"}]}"#,
            ),
            (
                r#"{"paths":[{"template":"/{a}"}],"trailing_slash":"distinct"}"#,
                r#"{"paths":[{"template":"/{a}"}]}"#,
            ),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }
}
