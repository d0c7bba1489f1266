//! `match`: which requests a rule, a limit, a breaker or an injection is about.

use serde::Deserialize;

use crate::Request;
use crate::config::text::text_type;
use crate::config::{NonEmpty, Path};

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
}

/// What a path that two parsers could read differently counts as.
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
enum Segment {
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
            && self.host_matches(request)
            && self.path_matches(request, ambiguous)
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

    fn host_matches(&self, request: &Request<'_>) -> bool {
        let Some(hosts) = &self.hosts else {
            return true;
        };
        let Some(host) = request.host() else {
            return false;
        };
        hosts.as_slice().iter().any(|pattern| pattern.matches(host))
    }

    fn path_matches(&self, request: &Request<'_>, ambiguous: IfAmbiguous) -> bool {
        let Some(paths) = &self.paths else {
            return true;
        };
        match request.path() {
            Ok(path) => paths
                .as_slice()
                .iter()
                .any(|pattern| pattern.matches(path.as_str())),
            Err(_) => ambiguous == IfAmbiguous::Matches,
        }
    }
}

impl PathPattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.as_str() == path,
            Self::Prefix(PrefixPath(prefix)) => {
                prefix == "/"
                    || path
                        .strip_prefix(prefix.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Template(TemplatePath(segments)) => {
                let mut parts = path.split('/').skip(1);
                let fits = segments
                    .iter()
                    .all(|segment| match (segment, parts.next()) {
                        (Segment::Any, Some(part)) => !part.is_empty(),
                        (Segment::Literal(literal), Some(part)) => literal == part,
                        (_, None) => false,
                    });
                fits && parts.next().is_none()
            }
        }
    }
}

impl PrefixPath {
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
    fn parse(text: &str) -> Result<Self, String> {
        Path::parse(text)?;
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
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]:".contains(&byte);
        let bracketed = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || !name.bytes().all(fits) || (name.contains(':') && !bracketed) {
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

    fn matches(&self, host: &str) -> bool {
        match self {
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

impl Method {
    fn parse(text: &str) -> Result<Self, String> {
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
            "/collections/a/points/",
        ] {
            assert!(!matches(rule, "GET", "h", path), "{path}");
        }
    }

    #[test]
    fn hosts_match_without_case_and_a_suffix_matches_names_below_it_only() {
        let rule = r#"{"hosts":["Api.example.com","*.rag.local"]}"#;
        for (host, expected) in [
            ("api.EXAMPLE.com:8000", true),
            ("a.rag.local", true),
            ("rag.local", false),
            ("evilrag.local", false),
            (".rag.local", false),
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
            r#"{"path":["/a"]}"#,
        ] {
            assert!(serde_json::from_str::<Match>(wrong).is_err(), "{wrong}");
        }
    }
}
