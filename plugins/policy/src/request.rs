//! What a policy is shown of a request and of a response.

use std::cell::OnceCell;
use std::net::IpAddr;

use crate::{AmbiguousHost, AmbiguousPath, CanonicalPath, Headers, Origin, host, preflight};

/// Where a request came from. Asked for only when a policy needs it, since it costs a host call.
pub trait PeerAddress {
    /// The address of the connection's other end; `None` when the gateway does not tell.
    fn peer(&self) -> Option<IpAddr>;

    /// The name of the route that the gateway has chosen; `None` when it has none or does not tell.
    fn route(&self) -> Option<String> {
        None
    }
}

/// The head of a request.
pub struct Request<'a> {
    headers: &'a Headers,
    peer: &'a dyn PeerAddress,
    target: Option<&'a [u8]>,
    sent: Option<Sent>,
    path: OnceCell<Result<CanonicalPath<'a>, AmbiguousPath>>,
}

/// How much of a request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    #[default]
    Whole,
    /// Its head; a body is to follow.
    HeadOnly,
}

impl Sent {
    /// By a request's framing (RFC 9112 section 6.3). HTTP/2 needs none, so that a body that only its frames tell of is
    /// not seen here.
    #[must_use]
    pub fn as_announced(headers: &Headers) -> Self {
        let length = headers.get("content-length");
        let has_length = length.is_some_and(|length| length.iter().any(|digit| *digit != b'0'));
        match headers.get("transfer-encoding").is_some() || has_length {
            true => Self::HeadOnly,
            false => Self::Whole,
        }
    }
}

/// The head of a response. Everything is read when it is asked for.
pub trait Response {
    /// The status that goes to the client; `None` when the gateway does not tell.
    fn status(&self) -> Option<u16>;
    /// Who made this response.
    fn origin(&self) -> Origin;
    /// Whether what comes later tells who made this response, too, so that it need not be asked now.
    fn origin_is_told_later(&self) -> bool {
        false
    }
    /// Whether some of the request may have gone on to the upstream, whoever made this response: another attempt may have
    /// been made before the one that this is about.
    fn reached_upstream(&self) -> bool {
        self.origin() != Origin::Gateway
    }
    /// The gRPC status (gRPC over HTTP/2, "Responses"), where it stands in the head: an answer
    /// without a body, or the gateway's own.
    fn grpc_status(&self) -> Option<u8> {
        None
    }
    /// All header lines, where they were fetched at once; `None` where they were not, which is not
    /// to say that there are none.
    fn headers(&self) -> Option<&Headers> {
        None
    }
    /// The first value of a header; `None` where there is none.
    fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.headers()?.get(name).map(<[u8]>::to_vec)
    }
}

impl<'a> Request<'a> {
    /// Wraps headers (pseudo-headers included) and the connection's peer.
    #[must_use]
    pub fn new(headers: &'a Headers, peer: &'a dyn PeerAddress) -> Self {
        Self {
            headers,
            peer,
            target: None,
            sent: None,
            path: OnceCell::new(),
        }
    }

    /// The request target as the client sent it, where `:path` is not that.
    #[must_use]
    pub const fn with_target(mut self, target: &'a [u8]) -> Self {
        self.target = Some(target);
        self
    }

    /// How much of it has come, where the gateway tells.
    #[must_use]
    pub const fn with_sent(mut self, sent: Sent) -> Self {
        self.sent = Some(sent);
        self
    }

    /// How much of it has come with its head: what the gateway tells, or what its headers do.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent
            .unwrap_or_else(|| Sent::as_announced(self.headers))
    }

    /// All header lines, pseudo-headers included.
    #[must_use]
    pub const fn headers(&self) -> &'a Headers {
        self.headers
    }

    /// The connection's peer.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer.peer()
    }

    /// The name of the route that the gateway has chosen.
    #[must_use]
    pub fn route(&self) -> Option<String> {
        self.peer.route()
    }

    /// The method, or an empty text when it is not one.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.headers
            .get(":method")
            .and_then(|method| std::str::from_utf8(method).ok())
            .unwrap_or("")
    }

    /// The host without its port; `Ok(None)` when none is named. Kong shows its own server name under `:authority`, so
    /// that `host` goes first where it is there.
    ///
    /// # Errors
    /// [`AmbiguousHost`] when two parsers could read it differently.
    pub fn host(&self) -> Result<Option<&'a str>, AmbiguousHost> {
        let single = |name| {
            let line = self.headers.single(name);
            line.map_err(|_| AmbiguousHost::Duplicated)
        };
        let line = match single("host")? {
            Some(host) => Some(host),
            None => single(":authority")?,
        };
        line.map(host::parse).transpose()
    }

    /// The request target as it came, query included.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.target
            .or_else(|| self.headers.get(":path"))
            .unwrap_or_default()
    }

    /// The target as it came but for its query, which may hold a token: for log lines.
    #[must_use]
    pub fn target_without_query(&self) -> &'a [u8] {
        self.target()
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default()
    }

    /// The canonical path; made once per request.
    ///
    /// # Errors
    /// [`AmbiguousPath`] when two parsers could read it differently.
    pub fn path(&self) -> Result<&CanonicalPath<'a>, AmbiguousPath> {
        self.path
            .get_or_init(|| CanonicalPath::parse(self.target()))
            .as_ref()
            .map_err(|e| *e)
    }

    /// Whether this is a CORS preflight, as a browser sends it (Fetch standard, sections 3.2.2 and 4.8): with no
    /// credentials and no body, since the request that it asks about is checked on its own. Anything more is an ordinary
    /// request whose method is OPTIONS.
    #[must_use]
    pub fn is_cors_preflight(&self) -> bool {
        let single = |name| self.headers.single(name).ok().flatten();
        let absent = |name: &&str| self.headers.get(name).is_none();
        // What other requests do not have first.
        single("access-control-request-method").is_some_and(preflight::is_method)
            && self.method() == "OPTIONS"
            && single("origin").is_some_and(preflight::is_origin)
            && preflight::NEVER_SENT.iter().all(absent)
            && self.sent() == Sent::Whole
    }

    /// Whether the client speaks gRPC and so needs its refusal as a `grpc-status`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        self.headers.get("content-type").is_some_and(|value| {
            value
                .get(..GRPC.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(GRPC))
                && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
        })
    }

    /// The correlation id, when it is one that can be repeated as it stands.
    #[must_use]
    pub fn id(&self) -> Option<&'a str> {
        /// Longest id that is repeated: a UUID has 36, a trace parent 55.
        const LONGEST: usize = 128;
        let id = std::str::from_utf8(self.headers.get("x-request-id")?).ok()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (!id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain)).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl PeerAddress for Nobody {
        fn peer(&self) -> Option<IpAddr> {
            None
        }
    }

    fn with<R>(pairs: &[(&str, &str)], look: impl FnOnce(&Request<'_>) -> R) -> R {
        look(&Request::new(
            &Headers::from_pairs(pairs.iter().copied()),
            &Nobody,
        ))
    }

    #[test]
    fn the_host_header_goes_before_the_authority() {
        let host = |pairs: &[(&str, &str)]| with(pairs, |r| r.host().map(|h| h.map(str::to_owned)));
        let named = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(host(&[(":authority", "a.example:80")]), named("a.example"));
        assert_eq!(
            host(&[(":authority", "kong:8000"), ("host", "B.example.")]),
            named("B.example")
        );
        assert_eq!(
            host(&[("host", "a"), ("host", "b")]),
            Err(AmbiguousHost::Duplicated)
        );
        assert_eq!(
            host(&[(":authority", "a"), ("host", "x@a")]),
            Err(AmbiguousHost::Malformed)
        );
        assert_eq!(host(&[]), Ok(None));
    }

    #[test]
    fn a_body_is_to_follow_where_the_framing_or_the_gateway_says_so() {
        for (pairs, sent) in [
            (&[][..], Sent::Whole),
            (&[("content-length", "0")], Sent::Whole),
            (&[("content-length", "12")], Sent::HeadOnly),
            (&[("transfer-encoding", "chunked")], Sent::HeadOnly),
        ] {
            assert_eq!(with(pairs, |r| r.sent()), sent, "{pairs:?}");
            let headers = Headers::from_pairs(pairs.iter().copied());
            for told in [Sent::Whole, Sent::HeadOnly] {
                let request = Request::new(&headers, &Nobody).with_sent(told);
                assert_eq!(request.sent(), told, "{pairs:?}");
            }
        }
    }

    #[test]
    fn a_preflight_is_what_a_browser_sends_and_nothing_more() {
        let preflight = [
            (":method", "OPTIONS"),
            ("origin", "http://localhost:3103"),
            ("access-control-request-method", "GET"),
        ];
        assert!(with(&preflight, |r| r.is_cors_preflight()));
        for missing in 0..preflight.len() {
            let mut pairs = preflight.to_vec();
            pairs.remove(missing);
            assert!(!with(&pairs, |r| r.is_cors_preflight()), "{pairs:?}");
        }
        let also = |more: (&'static str, &'static str)| {
            let pairs = [&preflight[..], &[more]].concat();
            with(&pairs, |r| r.is_cors_preflight())
        };
        for more in [
            ("access-control-request-headers", "authorization"),
            ("content-length", "0"),
            ("user-agent", "Mozilla/5.0"),
        ] {
            assert!(also(more), "{more:?}");
        }
        for more in [
            ("authorization", "Bearer x"),
            ("Cookie", "session=1"),
            ("proxy-authorization", "Basic x"),
            ("content-length", "1"),
            ("content-length", "x"),
            ("transfer-encoding", "chunked"),
            ("content-type", "application/json"),
            ("origin", "http://other.example"),
            ("access-control-request-method", "POST"),
        ] {
            assert!(!also(more), "{more:?}");
        }
        for (name, value, plausible) in [
            ("origin", "null", true),
            ("origin", "https://a.example", true),
            ("origin", "http://[::1]:8080", true),
            ("origin", "chrome-extension://abcdef", true),
            ("origin", "", false),
            ("origin", "a.example", false),
            ("origin", "https://a.example/", false),
            ("origin", "https://", false),
            ("origin", "https://u@a.example", false),
            ("origin", "https://a.example, https://b.example", false),
            ("access-control-request-method", "PATCH", true),
            ("access-control-request-method", "", false),
            ("access-control-request-method", "GET, POST", false),
            ("access-control-request-method", "G@T", false),
        ] {
            let pairs = preflight.map(|pair| match pair.0 == name {
                true => (name, value),
                false => pair,
            });
            let is = with(&pairs, |r| r.is_cors_preflight());
            assert_eq!(is, plausible, "{name}: {value}");
        }
    }

    #[test]
    fn grpc_is_told_by_its_content_type_and_not_by_one_that_begins_alike() {
        let grpc = |value: &str| with(&[("content-type", value)], |r| r.is_grpc());
        assert!(
            grpc("application/grpc")
                && grpc("Application/gRPC+proto")
                && grpc("application/grpc; x")
        );
        assert!(!grpc("application/grpcish") && !grpc("application/json"));
    }

    #[test]
    fn an_id_that_could_break_a_log_line_is_not_repeated() {
        let id = |value: &str| with(&[("x-request-id", value)], |r| r.id().map(str::to_owned));
        assert_eq!(id("5f1c-4e").as_deref(), Some("5f1c-4e"));
        assert_eq!(id("a\" b"), None);
        assert_eq!(id(""), None);
        assert_eq!(id(&"x".repeat(129)), None);
    }
}
