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
mod tests {
    use super::*;
    use crate::{Headers, PeerAddress};

    struct Nobody;
    impl PeerAddress for Nobody {
        fn peer(&self) -> Option<std::net::IpAddr> {
            None
        }
    }

    fn matches(json: &str, method: &str, host: &str, path: &str) -> bool {
        let rule: Match = serde_json::from_str(json).unwrap();
        let headers =
            Headers::from_pairs([(":method", method), (":authority", host), (":path", path)]);
        rule.matches(&Request::new(&headers, &Nobody), IfAmbiguous::Misses)
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let rule = r#"{"paths":[{"prefix":"/api/v1/rag"}]}"#;
        for (path, expected) in [
            ("/api/v1/rag", true),
            ("/api/v1/rag?q=1", true),
            ("/api/v1/rag/x", true),
            ("/api/v1/%72ag/x", true),
            ("/api/v1/ragged", false),
            ("/api/v1", false),
            ("/api/v1/rag/../rag", false),
        ] {
            assert_eq!(matches(rule, "GET", "h", path), expected, "{path}");
        }
        assert!(matches(r#"{"paths":[{"prefix":"/"}]}"#, "GET", "h", "/x"));
    }

    #[test]
    fn a_template_takes_one_segment_for_each_name() {
        let rule = r#"{"paths":[{"template":"/collections/{name}/points"}]}"#;
        assert!(matches(rule, "GET", "h", "/collections/docs/points"));
        for path in [
            "/collections//points",
            "/collections/points",
            "/collections/a/b/points",
            "/collections/a/points//",
            "/collections/a",
        ] {
            assert!(!matches(rule, "GET", "h", path), "{path}");
        }
    }

    #[test]
    fn a_slash_at_the_end_is_the_same_path_unless_a_backend_tells_it_apart() {
        for (pattern, path) in [
            (r#"{"exact":"/admin"}"#, "/admin"),
            (r#"{"exact":"/admin/"}"#, "/admin"),
            (r#"{"prefix":"/admin"}"#, "/admin"),
            (r#"{"template":"/users/{id}/secret"}"#, "/users/1/secret"),
            (r#"{"template":"/users/{id}/"}"#, "/users/1"),
        ] {
            let both = format!(r#"{{"paths":[{pattern}]}}"#);
            let slash = format!("{path}/");
            for path in [path, &slash, &format!("{slash}?q=1")] {
                assert!(matches(&both, "GET", "h", path), "{pattern} {path}");
            }
            let distinct = format!(r#"{{"paths":[{pattern}],"trailing_slash":"distinct"}}"#);
            let found = [path, &slash].map(|path| matches(&distinct, "GET", "h", path));
            let expected = match (pattern.contains("prefix"), pattern.contains("/\"")) {
                (true, _) => [true, true],
                (false, true) => [false, true],
                (false, false) => [true, false],
            };
            assert_eq!(found, expected, "{pattern}");
        }
        for distinct in ["", r#","trailing_slash":"distinct""#] {
            let root = format!(r#"{{"paths":[{{"exact":"/"}}]{distinct}}}"#);
            assert!(matches(&root, "GET", "h", "/") && !matches(&root, "GET", "h", "/a"));
        }
    }

    #[test]
    fn capitals_make_another_path_unless_a_backend_ignores_them() {
        for pattern in [
            r#"{"exact":"/Admin"}"#,
            r#"{"prefix":"/Admin"}"#,
            r#"{"template":"/Admin/{x}"}"#,
        ] {
            let path = if pattern.contains("template") {
                "/aDMIN/x"
            } else {
                "/aDMIN"
            };
            let exact = format!(r#"{{"paths":[{pattern}]}}"#);
            let ignoring = format!(r#"{{"paths":[{pattern}],"case":"ignore"}}"#);
            assert!(!matches(&exact, "GET", "h", path), "{pattern}");
            assert!(matches(&ignoring, "GET", "h", path), "{pattern}");
        }
    }

    #[test]
    fn what_looks_like_a_pattern_is_refused_with_what_was_meant() {
        for (wrong, meant) in [
            (r#"{"prefix":"/admin/*"}"#, "`prefix: /admin`"),
            (r#"{"prefix":"/admin*"}"#, "`prefix: /admin`"),
            (r#"{"exact":"/admin/**"}"#, "`prefix: /admin`"),
            (r#"{"exact":"/*"}"#, "`prefix: /`"),
            (
                r#"{"exact":"/users/{id}/secret"}"#,
                "`template: /users/{id}/secret`",
            ),
            (r#"{"prefix":"/users/{id}"}"#, "`template: /users/{id}`"),
            (
                r#"{"exact":"/users/:id/secret"}"#,
                "`template: /users/{id}/secret`",
            ),
            (
                r#"{"exact":"/users/<int:id>"}"#,
                "`template: /users/{int_id}`",
            ),
            (
                r#"{"exact":"/users/*/secret"}"#,
                "`template: /users/{name}/secret`",
            ),
            (r#"{"template":"/users/:id"}"#, "`template: /users/{id}`"),
        ] {
            let rule = format!(r#"{{"paths":[{wrong}]}}"#);
            let error = serde_json::from_str::<Match>(&rule)
                .unwrap_err()
                .to_string();
            assert!(error.contains(meant), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_no_host_is_one_for_limits_and_none_for_credentials() {
        let rule: Match = serde_json::from_str(r#"{"hosts":["admin.test"]}"#).unwrap();
        for host in [Some("x@admin.test"), Some("admin%2etest"), None] {
            let headers = Headers::from_pairs(host.map(|host| (":authority", host)));
            let matches = |ambiguous| rule.matches(&Request::new(&headers, &Nobody), ambiguous);
            assert!(matches(IfAmbiguous::Matches), "{host:?}");
            assert!(!matches(IfAmbiguous::Misses), "{host:?}");
        }
    }

    #[test]
    fn an_address_is_the_same_host_however_it_is_written() {
        let rule = r#"{"hosts":["[2001:db8::1]"]}"#;
        assert!(matches(rule, "GET", "[2001:DB8:0:0::1]:80", "/"));
        assert!(!matches(rule, "GET", "[2001:db8::2]", "/"));
    }

    #[test]
    fn hosts_match_without_case_and_a_suffix_matches_names_below_it_only() {
        let rule = r#"{"hosts":["Api.example.com","*.rag.local"]}"#;
        for (host, expected) in [
            ("api.EXAMPLE.com:8000", true),
            ("a.rag.local", true),
            ("rag.local", false),
            ("evilrag.local", false),
            ("x.y.rag.local", true),
        ] {
            assert_eq!(matches(rule, "GET", host, "/"), expected, "{host}");
        }
    }

    #[test]
    fn all_given_parts_must_hold_and_an_empty_part_is_a_mistake() {
        let rule = r#"{"paths":[{"exact":"/a"}],"methods":["GET"]}"#;
        assert!(matches(rule, "GET", "h", "/a"));
        assert!(!matches(rule, "POST", "h", "/a") && !matches(rule, "get", "h", "/a"));
        assert!(matches("{}", "POST", "h", "//"));
        for wrong in [
            r#"{"paths":[]}"#,
            r#"{"paths":[{"prefix":"/a/"}]}"#,
            r#"{"paths":[{"template":"/a/{}"}]}"#,
            r#"{"paths":[{"template":"/a*"}]}"#,
            r#"{"paths":[{"regex":"/a"}]}"#,
            r#"{"paths":[{"exact":"/a","prefix":"/b"}]}"#,
            r#"{"hosts":["a:80"]}"#,
            r#"{"methods":["get"]}"#,
            r#"{"methods":["ANY"]}"#,
            r#"{"methods":["ALL"]}"#,
            r#"{"path":["/a"]}"#,
        ] {
            assert!(serde_json::from_str::<Match>(wrong).is_err(), "{wrong}");
        }
    }
}
