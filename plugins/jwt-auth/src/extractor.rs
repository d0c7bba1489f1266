//! Where a request carries its token.

use portcullis_policy::{Headers, spelled_like};

use crate::config::SourceConfig;

/// A place where a provider's tokens may be.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The header, in lower case.
    pub(crate) header: String,
    /// The word before the token; without it, the whole value is the token.
    scheme: Option<String>,
}

/// The places of all providers of a rule.
#[derive(Debug, Default)]
pub(crate) struct Extractor(Vec<Place>);

/// A header, and whose tokens it may hold behind which scheme. Schemes are told apart by their
/// words, so that a place without a scheme comes last.
#[derive(Debug)]
struct Place {
    header: String,
    schemes: Vec<(Option<String>, Vec<usize>)>,
}

/// A token as it stands in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'a> {
    /// The token.
    pub(crate) token: &'a [u8],
    /// The header that it stands in, in lower case.
    pub(crate) header: &'a str,
    /// Those whose tokens may stand there.
    pub(crate) providers: &'a [usize],
}

/// A request with several tokens has several callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeveralTokens;

impl Source {
    /// RFC 6750 section 2.1.
    pub(crate) fn bearer() -> Self {
        Self {
            header: "authorization".to_owned(),
            scheme: Some("Bearer".to_owned()),
        }
    }
}

impl From<SourceConfig> for Source {
    fn from(config: SourceConfig) -> Self {
        Self {
            header: config.header.as_str().to_owned(),
            scheme: config.scheme.map(|scheme| scheme.as_str().to_owned()),
        }
    }
}

impl Extractor {
    /// Adds a provider's places.
    pub(crate) fn add(&mut self, provider: usize, sources: &[Source]) {
        for source in sources {
            match self.0.iter_mut().find(|p| p.header == source.header) {
                Some(place) => place.add(provider, source),
                None => {
                    let mut place = Place {
                        header: source.header.clone(),
                        schemes: Vec::new(),
                    };
                    place.add(provider, source);
                    self.0.push(place);
                }
            }
        }
    }

    /// The request's token, if it has one.
    ///
    /// # Errors
    /// [`SeveralTokens`] when there are two, or a header that holds tokens is there twice, in any
    /// spelling that a backend could fold into it: which one the backend would read is not known.
    pub(crate) fn extract<'a>(
        &'a self,
        headers: &'a Headers,
    ) -> Result<Option<Candidate<'a>>, SeveralTokens> {
        let mut found = None;
        for place in &self.0 {
            let Some(candidate) = place.candidate(headers)? else {
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
    fn add(&mut self, provider: usize, source: &Source) {
        let same = |known: &Option<String>| match (known, &source.scheme) {
            (Some(known), Some(scheme)) => known.eq_ignore_ascii_case(scheme),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        match self.schemes.iter_mut().find(|(known, _)| same(known)) {
            Some((_, providers)) => providers.push(provider),
            None => self.schemes.push((source.scheme.clone(), vec![provider])),
        }
        self.schemes.sort_by_key(|(scheme, _)| scheme.is_none());
    }

    fn candidate<'a>(
        &'a self,
        headers: &'a Headers,
    ) -> Result<Option<Candidate<'a>>, SeveralTokens> {
        let mut lines = headers
            .iter()
            .filter(|(name, _)| spelled_like(name, &self.header));
        let Some((name, value)) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() {
            return Err(SeveralTokens);
        }
        // Where a gateway can't remove a header, it passes empty.
        if value.is_empty() || !name.eq_ignore_ascii_case(self.header.as_bytes()) {
            return Ok(None);
        }
        let found = self.schemes.iter().find_map(|(scheme, providers)| {
            let token = match scheme {
                Some(scheme) => behind_scheme(value, scheme)?,
                None => value,
            };
            Some(Candidate {
                token,
                header: &self.header,
                providers,
            })
        });
        Ok(found)
    }
}

/// What stands behind `scheme` and spaces (RFC 9110 section 11.4); `None` behind any other scheme.
fn behind_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (word, rest) = value.split_at_checked(scheme.len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let ours = word.eq_ignore_ascii_case(scheme.as_bytes());
    (ours && (spaces > 0 || rest.is_empty())).then(|| rest.get(spaces..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(header: &str, scheme: Option<&str>) -> Source {
        Source {
            header: header.to_owned(),
            scheme: scheme.map(str::to_owned),
        }
    }

    /// Provider 0: Bearer, and `x-jwt`. Provider 1: Bearer, and the bare authorization header.
    fn extractor() -> Extractor {
        let mut extractor = Extractor::default();
        extractor.add(
            1,
            &[
                source("authorization", None),
                source("authorization", Some("bearer")),
            ],
        );
        extractor.add(0, &[Source::bearer(), source("x-jwt", None)]);
        extractor
    }

    fn extract(lines: &[(&str, &str)]) -> Result<Option<(String, String, Vec<usize>)>, ()> {
        let headers = Headers::from_pairs(lines.iter().copied());
        let found = extractor().extract(&headers).map(|found| {
            found.map(|found| {
                let token = String::from_utf8(found.token.to_vec()).unwrap();
                (token, found.header.to_owned(), found.providers.to_vec())
            })
        });
        found.map_err(|SeveralTokens| ())
    }

    #[test]
    fn a_token_is_found_where_its_providers_have_theirs() {
        let found = |token: &str, header: &str, providers: &[usize]| {
            Ok(Some((
                token.to_owned(),
                header.to_owned(),
                providers.to_vec(),
            )))
        };
        for (lines, expected) in [
            (
                &[("Authorization", "Bearer t")],
                found("t", "authorization", &[1, 0]),
            ),
            (
                &[("authorization", "bEARER   t")],
                found("t", "authorization", &[1, 0]),
            ),
            (&[("authorization", "t")], found("t", "authorization", &[1])),
            (&[("X-Jwt", "t")], found("t", "x-jwt", &[0])),
            (&[("x-jwt", "")], Ok(None)),
            (&[("x_jwt", "t")], Ok(None)),
            (
                &[("authorization", "Bearer")],
                found("", "authorization", &[1, 0]),
            ),
            (
                &[("authorization", "Bearert")],
                found("Bearert", "authorization", &[1]),
            ),
        ] {
            assert_eq!(extract(lines), expected, "{lines:?}");
        }
        assert_eq!(extract(&[]), Ok(None));
    }

    #[test]
    fn another_scheme_is_no_token() {
        let mut bearer_only = Extractor::default();
        bearer_only.add(0, &[Source::bearer()]);
        for value in ["Basic dTpw", "Bearer\tt", "t", "Bearerx t", "Bear t", ""] {
            let headers = Headers::from_pairs([("authorization", value)]);
            assert_eq!(bearer_only.extract(&headers), Ok(None), "{value:?}");
        }
    }

    #[test]
    fn two_tokens_are_refused_wherever_they_are() {
        for lines in [
            &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
            &[("authorization", "Basic a"), ("Authorization", "Bearer a")],
            &[("authorization", "Bearer a"), ("x-jwt", "b")],
            &[("x-jwt", "a"), ("x_jwt", "b")],
            &[("x_jwt", "a"), ("X_JWT", "b")],
            &[("authorization", "Bearer a,Bearer b"), ("x", "y")],
        ] {
            assert_eq!(extract(lines), Err(()), "{lines:?}");
        }
    }
}
