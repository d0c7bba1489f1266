//! `match`: which requests a rule, a limit, a breaker or an injection is about.

use std::net::Ipv6Addr;

use serde::Deserialize;

use crate::config::text::text_type;
use crate::config::{NonEmpty, Path};
use crate::path::without_slash_at_end;
use crate::{Request, host};

/// Which requests something is about. All given parts must hold; none given: every request.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Any of these hosts.
    pub hosts: Option<NonEmpty<HostPattern>>,
    /// Any of these paths.
    pub paths: Option<NonEmpty<PathPattern>>,
    /// Any of these methods.
    pub methods: Option<NonEmpty<Method>>,
    /// Whether a slash at a path's end makes it another path.
    #[serde(default)]
    pub trailing_slash: TrailingSlash,
    /// Whether capitals make a path another path.
    #[serde(default)]
    pub case: Case,
}

/// Whether a slash at a path's end makes it another path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrailingSlash {
    /// `/a` and `/a/` are one path, as they are to most backends.
    #[default]
    Same,
    /// They are two, for a backend that tells them apart.
    Distinct,
}

/// Whether capitals make a path another path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// `/a` and `/A` are two paths.
    #[default]
    Sensitive,
    /// They are one, for a backend to which they are: Express by default, IIS.
    Ignore,
}

/// What a path or a host that two parsers could read differently counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfAmbiguous {
    /// As one that matches: for limits, which nobody may slip past.
    Matches,
    /// As one that does not: for credentials, which nobody may obtain.
    Misses,
}

/// A path.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PathPattern {
    /// This path and no other.
    Exact(Path),
    /// This path and all below it, by whole segments.
    Prefix(PrefixPath),
    /// A path in which `{name}` stands for one segment.
    Template(TemplatePath),
}

/// A prefix of whole segments: `/`, or a path without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixPath(String);
text_type!(PrefixPath, "a path prefix, without a slash at its end", "pattern": "^/");

/// A path with `{name}` in place of some segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplatePath(Vec<Segment>);
text_type!(TemplatePath, "a path in which {name} stands for one segment", "pattern": "^/");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    Any,
}

/// A host: exact, or `*.suffix` for every name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Every host that ends with this, which starts with a dot.
    Below(String),
}
text_type!(HostPattern, "a host name, or *.suffix");

/// A method, in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(String);
text_type!(Method, "a method in upper case", "pattern": "^[A-Z]{1,32}$");

impl Match {
    /// Whether `request` is meant.
    #[must_use]
    pub fn matches(&self, request: &Request<'_>, ambiguous: IfAmbiguous) -> bool {
        self.method_matches(request)
            && self.host_matches(request, ambiguous)
            && self.path_matches(request, ambiguous)
    }

    /// Whether it tells hosts apart.
    #[must_use]
    pub const fn names_hosts(&self) -> bool {
        self.hosts.is_some()
    }

    fn method_matches(&self, request: &Request<'_>) -> bool {
        let Some(methods) = &self.methods else {
            return true;
        };
        methods
            .as_slice()
            .iter()
            .any(|method| method.0 == request.method())
    }

    fn host_matches(&self, request: &Request<'_>, ambiguous: IfAmbiguous) -> bool {
        let Some(hosts) = &self.hosts else {
            return true;
        };
        match request.host() {
            Ok(Some(host)) => hosts.as_slice().iter().any(|pattern| pattern.matches(host)),
            // Which one the backend takes it for is not known; without one, which is its default.
            Ok(None) | Err(_) => ambiguous == IfAmbiguous::Matches,
        }
    }

    fn path_matches(&self, request: &Request<'_>, ambiguous: IfAmbiguous) -> bool {
        let Some(paths) = &self.paths else {
            return true;
        };
        match request.path() {
            Ok(path) => {
                let path = match self.trailing_slash {
                    TrailingSlash::Same => path.without_slash_at_end(),
                    TrailingSlash::Distinct => path.as_str(),
                };
                let mut paths = paths.as_slice().iter();
                paths.any(|pattern| pattern.matches(path, self.trailing_slash, self.case))
            }
            Err(_) => ambiguous == IfAmbiguous::Matches,
        }
    }
}

impl PathPattern {
    /// `path`: as it is to be compared, with or without a slash at its end.
    pub(super) fn matches(&self, path: &str, slash: TrailingSlash, case: Case) -> bool {
        match self {
            Self::Exact(exact) => match slash {
                TrailingSlash::Same => case.same(without_slash_at_end(exact.as_str()), path),
                TrailingSlash::Distinct => case.same(exact.as_str(), path),
            },
            Self::Prefix(PrefixPath(prefix)) => {
                prefix == "/"
                    || path
                        .split_at_checked(prefix.len())
                        .is_some_and(|(head, rest)| {
                            case.same(prefix, head) && (rest.is_empty() || rest.starts_with('/'))
                        })
            }
            Self::Template(TemplatePath(segments)) => {
                let segments = match (slash, segments.split_last()) {
                    (TrailingSlash::Same, Some((Segment::Literal(last), rest)))
                        if last.is_empty() && !rest.is_empty() =>
                    {
                        rest
                    }
                    (TrailingSlash::Same | TrailingSlash::Distinct, _) => segments,
                };
                let mut parts = path.split('/').skip(1);
                let fits = segments
                    .iter()
                    .all(|segment| match (segment, parts.next()) {
                        (Segment::Any, Some(part)) => !part.is_empty(),
                        (Segment::Literal(literal), Some(part)) => case.same(literal, part),
                        (_, None) => false,
                    });
                fits && parts.next().is_none()
            }
        }
    }
}

impl Case {
    pub(super) fn same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Sensitive => one == other,
            Self::Ignore => one.eq_ignore_ascii_case(other),
        }
    }
}

impl PrefixPath {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, String> {
        Path::parse(text)?;
        if text != "/" && text.ends_with('/') {
            return Err(format!(
                "{text:?} ends with a slash; a prefix matches whole segments without it"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TemplatePath {
    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, String> {
        // Each `{name}` stands for a segment like any other.
        Path::parse(&text.replace(['{', '}'], "_"))?;
        let segment = |part: &str| match part
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            Some(name) if is_word(name) => Ok(Segment::Any),
            None if !part.contains(['{', '}', '*']) => Ok(Segment::Literal(part.to_owned())),
            _ => Err(format!(
                "{text:?}: {part:?} is neither plain text nor {{name}}"
            )),
        };
        text.split('/')
            .skip(1)
            .map(segment)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (name, below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        // To the letter what a request's host can be.
        let canonical = host::parse(name.as_bytes()) == Ok(name);
        if !canonical || (below && name.starts_with('[')) {
            return Err(format!(
                "{text:?} is not a host; expected a name without a port, or *.suffix"
            ));
        }
        Ok(if below {
            Self::Below(format!(".{name}"))
        } else {
            Self::Exact(lower)
        })
    }

    pub(super) fn matches(&self, host: &str) -> bool {
        match self {
            // One address may be written in several ways.
            Self::Exact(exact) if exact.starts_with('[') => address(exact) == address(host),
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host),
            Self::Below(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .and_then(|at| host.as_bytes().split_at_checked(at))
                .is_some_and(|(name, end)| {
                    !name.is_empty() && end.eq_ignore_ascii_case(suffix.as_bytes())
                }),
        }
    }
}

fn address(host: &str) -> Option<Ipv6Addr> {
    let address = host.strip_prefix('[')?.strip_suffix(']')?;
    address.parse().ok()
}

impl Method {
    fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "ANY" | "ALL") {
            return Err(format!(
                "{text:?} is no method of HTTP; leave `methods` out where any is meant"
            ));
        }
        if (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a method; expected upper-case letters such as GET"
        ))
    }
}

#[cfg(test)]
mod tests;
