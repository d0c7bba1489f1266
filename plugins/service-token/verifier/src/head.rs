//! A request without its body.

use http::header::HOST;
use http::{HeaderMap, HeaderName, Method, Request, Uri, request};
use portcullis_message_signature::{Message, canonical_authority};

use crate::Error;
use crate::limits::LONGEST;

/// A request without its body, as it was received. From a `&`[`http::Request`] or the `&`[`http::request::Parts`] of
/// one; or put together from what another framework has.
///
/// `uri` holds path and query as they were sent. HTTP/2 has the host in it, too.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for RequestHead<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }
    }
}

impl<'a> From<&'a request::Parts> for RequestHead<'a> {
    fn from(parts: &'a request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        }
    }
}

impl<'a> RequestHead<'a> {
    /// The one line of a header that holds a credential.
    ///
    /// # Errors
    /// It is not there or empty, there in several lines, or too long.
    pub(crate) fn credential(&self, header: &HeaderName) -> Result<&'a [u8], Error> {
        let mut lines = self.headers.get_all(header).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Err(Error::Missing),
            (Some(_), Some(_)) => Err(Error::Repeated),
            (Some(line), None) if line.is_empty() => Err(Error::Missing),
            (Some(line), None) if line.len() > LONGEST => Err(Error::TooLarge),
            (Some(line), None) => Ok(line.as_bytes()),
        }
    }

    /// The lines of a field, joined by commas (RFC 9110 section 5.3); empty when there is none.
    ///
    /// # Errors
    /// All in all it is too long.
    pub(crate) fn joined(&self, field: &str) -> Result<Vec<u8>, Error> {
        let mut joined = Vec::new();
        for (index, line) in self.headers.get_all(field).iter().enumerate() {
            if index > 0 {
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(line.as_bytes());
            if joined.len() > LONGEST {
                return Err(Error::TooLarge);
            }
        }
        Ok(joined)
    }
}

impl Message for RequestHead<'_> {
    fn method(&self) -> &str {
        self.method.as_str()
    }

    /// That of the header `host`, that of the URI, or both where they are the same: frameworks differ
    /// in which they go by.
    fn authority(&self) -> Option<String> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let header = match (hosts.next(), hosts.next()) {
            (Some(host), None) => Some(canonical_authority(host.to_str().ok()?)),
            (Some(_), Some(_)) => return None,
            (None, _) => None,
        };
        // Without a name and a password (RFC 9421 section 2.2.3).
        let uri = self.uri.authority();
        let uri = uri.and_then(|uri| uri.as_str().rsplit('@').next());
        match (header, uri.map(canonical_authority)) {
            (Some(header), Some(uri)) if header != uri => None,
            (header, uri) => header.or(uri),
        }
    }

    fn target(&self) -> &[u8] {
        let target = self.uri.path_and_query();
        target.map_or(b"", |target| target.as_str().as_bytes())
    }

    fn lines(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|line| line.as_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(uri: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        RequestHead::from(&request.body(()).unwrap()).authority()
    }

    #[test]
    fn the_authority_is_the_host_and_behind_http_2_that_of_the_uri() {
        for (uri, hosts, expected) in [
            ("/", &["Rag.Example"][..], Some("rag.example")),
            ("/", &["rag.example:80"], Some("rag.example")),
            ("/", &["rag.example:8080"], Some("rag.example:8080")),
            ("/", &["rag.example:443"], Some("rag.example:443")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("/", &[], None),
            ("/", &["a", "a"], None),
            ("http://Rag.Example:80/x", &[], Some("rag.example")),
            ("http://user:word@rag.example/x", &[], Some("rag.example")),
            (
                "http://Rag.example/x",
                &["rag.example:80"],
                Some("rag.example"),
            ),
            ("http://other/x", &["rag.example"], None),
        ] {
            assert_eq!(
                authority(uri, hosts).as_deref(),
                expected,
                "{uri} {hosts:?}"
            );
        }
    }

    #[test]
    fn the_target_is_that_which_was_sent() {
        for (uri, expected) in [
            ("/a%2Fb/../c?x=%20&y", "/a%2Fb/../c?x=%20&y"),
            ("/a?", "/a?"),
            ("/a", "/a"),
            ("http://h/a?b", "/a?b"),
            ("*", "*"),
        ] {
            let request = Request::get(uri).body(()).unwrap();
            assert_eq!(RequestHead::from(&request).target(), expected.as_bytes());
        }
        let (parts, ()) = Request::get("/a").body(()).unwrap().into_parts();
        assert_eq!(RequestHead::from(&parts).target(), b"/a");
    }

    #[test]
    fn a_credential_is_one_line_of_some_bytes() {
        let found = |lines: &[&str]| {
            let mut request = Request::get("/");
            for line in lines {
                request = request.header("x-a", *line);
            }
            let request = request.body(()).unwrap();
            let name = HeaderName::from_static("x-a");
            let line = RequestHead::from(&request).credential(&name);
            line.map(<[u8]>::len)
        };
        assert_eq!(found(&[]), Err(Error::Missing));
        assert_eq!(found(&[""]), Err(Error::Missing));
        assert_eq!(found(&["a", "a"]), Err(Error::Repeated));
        assert_eq!(found(&["", "a"]), Err(Error::Repeated));
        assert_eq!(found(&[&"a".repeat(8_192)]), Ok(8_192));
        assert_eq!(found(&[&"a".repeat(8_193)]), Err(Error::TooLarge));
    }
}
