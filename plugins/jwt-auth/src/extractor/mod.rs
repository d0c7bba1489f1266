//! Where a request carries its token, and how it is taken out of there.

mod cookie;
mod header;
mod query;

use portcullis_policy::config::ConfigError;
use portcullis_policy::{Request, RequestEdits};

use crate::config::{SourceConfig, TokenForward};

/// A place where a provider's tokens may be.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A header, in lower case, and the word before the token; without it, the whole value is it.
    Header {
        name: String,
        scheme: Option<String>,
    },
    /// A cookie, and whether a backend may read it again.
    Cookie(String, TokenForward),
    Query(String),
}

/// The places of all providers of a rule.
#[derive(Debug, Default)]
pub(crate) struct Extractor(Vec<Place>);

/// A place, and whose tokens may be there.
#[derive(Debug)]
enum Place {
    /// Schemes are told apart by their words, so that one without comes last.
    Header {
        name: String,
        schemes: Vec<(Option<String>, Vec<usize>)>,
    },
    Cookie {
        name: String,
        /// `keep` where any of these keeps it.
        forward: TokenForward,
        providers: Vec<usize>,
    },
    Query {
        name: String,
        providers: Vec<usize>,
    },
}

/// A token as it stands in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    /// The token.
    pub(crate) token: &'a [u8],
    pub(crate) location: Location<'a>,
    /// Those whose tokens may stand there.
    pub(crate) providers: &'a [usize],
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location<'a> {
    /// In that header.
    Header(&'a str),
    /// In that cookie.
    Cookie(&'a str),
    /// In that parameter of the query.
    Query(&'a str),
}

/// A request with several tokens has several callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeveralTokens;

impl Source {
    /// RFC 6750 section 2.1.
    pub(crate) fn bearer() -> Self {
        Self::Header {
            name: "authorization".to_owned(),
            scheme: Some("Bearer".to_owned()),
        }
    }

    /// The header in which the token stands.
    pub(crate) fn header(&self) -> Option<&str> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Cookie(..) => Some(cookie::HEADER),
            Self::Query(_) => None,
        }
    }

    /// Whether a request can't have a token here and one there.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header { name, .. }, Self::Header { name: other, .. }) => name == other,
            (Self::Cookie(name, _), Self::Cookie(other, _)) => name == other,
            (Self::Query(name), Self::Query(other)) => name.eq_ignore_ascii_case(other),
            (Self::Header { .. } | Self::Cookie(..) | Self::Query(_), _) => false,
        }
    }
}

impl Source {
    /// The place that `config` tells of, and what becomes of tokens there.
    pub(crate) fn from_config(
        config: SourceConfig,
        forward: TokenForward,
    ) -> Result<Self, ConfigError> {
        let wrong = |rule| Err(ConfigError::at("", rule));
        let scheme = config.scheme.map(|scheme| scheme.as_str().to_owned());
        match (config.header, config.cookie, config.query) {
            (Some(header), None, None) if header.as_str() == cookie::HEADER => {
                wrong("the header `cookie` holds many things; expected `cookie: NAME`")
            }
            (Some(header), None, None) => Ok(Self::Header {
                name: header.as_str().to_owned(),
                scheme,
            }),
            (None, Some(_), None) | (None, None, Some(_)) if scheme.is_some() => {
                wrong("`scheme` is for a header")
            }
            (None, Some(name), None) => Ok(Self::Cookie(name.as_str().to_owned(), forward)),
            (None, None, Some(name)) => Ok(Self::Query(name.as_str().to_owned())),
            (None, None, None) => wrong("expected one of `header`, `cookie` and `query`"),
            (Some(_), _, _) | (None, Some(_), Some(_)) => {
                wrong("expected only one of `header`, `cookie` and `query`")
            }
        }
    }
}

impl Extractor {
    /// Adds a provider's places.
    pub(crate) fn add(&mut self, provider: usize, sources: &[Source]) {
        for source in sources {
            if !self.0.iter_mut().any(|place| place.add(provider, source)) {
                self.0.push(Place::new(provider, source));
            }
        }
    }

    /// The request's token, if it has one.
    ///
    /// # Errors
    /// [`SeveralTokens`] when there are two, or what holds tokens is there twice, in any spelling
    /// that a backend could take for it: which one the backend would read is not known.
    pub(crate) fn extract<'a>(
        &'a self,
        request: &'a Request<'a>,
    ) -> Result<Option<Candidate<'a>>, SeveralTokens> {
        let mut found = None;
        for place in &self.0 {
            let Some(candidate) = place.candidate(request)? else {
                continue;
            };
            // A gateway may have joined two lines into one; no token has a comma.
            if found.is_some() || candidate.token.contains(&b',') {
                return Err(SeveralTokens);
            }
            found = Some(candidate);
        }
        Ok(found)
    }
}

impl Place {
    fn new(provider: usize, source: &Source) -> Self {
        let providers = vec![provider];
        match source {
            Source::Header { name, scheme } => Self::Header {
                name: name.clone(),
                schemes: vec![(scheme.clone(), providers)],
            },
            Source::Cookie(name, forward) => Self::Cookie {
                name: name.clone(),
                forward: *forward,
                providers,
            },
            Source::Query(name) => Self::Query {
                name: name.clone(),
                providers,
            },
        }
    }

    /// Whether the source is this place.
    fn add(&mut self, provider: usize, source: &Source) -> bool {
        let same = |known: &Option<String>, scheme: &Option<String>| match (known, scheme) {
            (Some(known), Some(scheme)) => known.eq_ignore_ascii_case(scheme),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        match (self, source) {
            (
                Self::Header { name, schemes },
                Source::Header {
                    name: header,
                    scheme,
                },
            ) if name == header => {
                match schemes.iter_mut().find(|(known, _)| same(known, scheme)) {
                    Some((_, providers)) => providers.push(provider),
                    None => schemes.push((scheme.clone(), vec![provider])),
                }
                schemes.sort_by_key(|(scheme, _)| scheme.is_none());
                true
            }
            (
                Self::Cookie {
                    name,
                    forward,
                    providers,
                },
                Source::Cookie(cookie, other),
            ) if name == cookie => {
                if *other == TokenForward::Keep {
                    *forward = TokenForward::Keep;
                }
                providers.push(provider);
                true
            }
            (Self::Query { name, providers }, Source::Query(query))
                if name.eq_ignore_ascii_case(query) =>
            {
                providers.push(provider);
                true
            }
            (Self::Header { .. } | Self::Cookie { .. } | Self::Query { .. }, _) => false,
        }
    }

    fn candidate<'a>(
        &'a self,
        request: &'a Request<'a>,
    ) -> Result<Option<Candidate<'a>>, SeveralTokens> {
        let found = match self {
            Self::Header { name, schemes } => {
                let schemes = schemes
                    .iter()
                    .map(|(scheme, providers)| (scheme.as_deref(), providers.as_slice()));
                let found = header::find(request.headers(), name, schemes)?;
                found.map(|(token, providers)| (token, Location::Header(name), providers))
            }
            Self::Cookie {
                name,
                forward,
                providers,
            } => cookie::find(request.headers(), name, *forward)?
                .map(|token| (token, Location::Cookie(name), providers.as_slice())),
            Self::Query { name, providers } => query::find(request.target(), name)?
                .map(|token| (token, Location::Query(name), providers.as_slice())),
        };
        Ok(found.map(|(token, location, providers)| Candidate {
            token,
            location,
            providers,
        }))
    }
}

/// Takes tokens out of a request.
pub(crate) fn strip<'a>(
    request: &'a Request<'a>,
    locations: &[Location<'a>],
    edits: &mut RequestEdits<'a>,
) {
    let (mut cookies, mut parameters) = (Vec::new(), Vec::new());
    for location in locations {
        match *location {
            Location::Header(name) => edits.clear(name),
            Location::Cookie(name) => cookies.push(name),
            Location::Query(name) => parameters.push(name),
        }
    }
    if !cookies.is_empty() {
        match cookie::without(request.headers(), &cookies) {
            Some(line) => edits.set(cookie::HEADER, line),
            None => edits.clear(cookie::HEADER),
        }
    }
    if !parameters.is_empty() {
        edits.set_target(query::without(request.target(), &parameters));
    }
}

#[cfg(test)]
mod tests;
