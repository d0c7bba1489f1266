//! What a row drives.

/// A request.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The host that the request is for, and its port if it has one.
    pub authority: String,
    /// The client's address.
    pub peer: String,
    /// All other headers.
    pub headers: Vec<(String, String)>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The refusal's status; `None` when the request went on.
    pub refused: Option<u16>,
    /// The refusal's headers, or those that the upstream receives.
    pub headers: Vec<(String, String)>,
    /// The refusal's body, or that which the upstream receives where it was waited for.
    pub body: String,
}

/// What happens to a request that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The upstream answers with this status.
    Upstream(u16),
    /// The upstream answers a gRPC request with this gRPC status, in its headers and nothing else.
    Grpc(u8),
    /// The same, in the trailers after a body, which Envoy shows and Kong does not.
    GrpcTrailers(u8),
    /// The gateway refuses what the client sends as its request's body.
    BadBody,
    /// The upstream can't be reached.
    ConnectFailure,
    /// The upstream does not answer in time.
    Timeout,
    /// The upstream hangs until the gateway's bound for streams in which nothing moves.
    Hangs,
    /// The upstream hangs until the gateway's bound for the life of a stream.
    HangsForLong,
    /// The same by the bound of the upstream's cluster.
    HangsForItsCluster,
    /// The upstream resets the stream before there is a response.
    Resets,
    /// The client does not send on, until the gateway's bound for streams in which nothing moves.
    NeverSent,
    /// The upstream answers with 200, and the stream lives for as long as the gateway lets one live.
    LivesLong,
    /// The upstream breaks off in the middle of a 200.
    BreaksOff,
    /// The client goes away before there is a response.
    ClientGone,
    /// Another filter answers with this status.
    OtherFilter(u16),
}

/// A request under way.
pub type Handle = usize;

/// A plugin, as policy or as filter, in front of an upstream.
pub trait Subject {
    /// Sends a request; it stays under way until [`Subject::finish`].
    fn begin(&mut self, sent: Sent) -> (Seen, Handle);
    /// The last of its body comes.
    fn send_body(&mut self, handle: Handle);
    /// A part of its body comes. `ends`: whether it is the last. What has become of it, where it had waited for that.
    fn send_part(&mut self, handle: Handle, bytes: &[u8], ends: bool) -> Option<Seen>;
    /// The head of the upstream's answer comes; [`Subject::finish`] ends the stream.
    fn head(&mut self, handle: Handle, status: u16) {
        self.head_with(handle, status, &[]);
    }
    /// The same with headers; those that the client receives.
    fn head_with(
        &mut self,
        handle: Handle,
        status: u16,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)>;
    /// A part of the answer's body comes, and not the last. What the client receives of it.
    fn answer_part(&mut self, handle: Handle, bytes: &[u8]) -> Vec<u8>;
    /// Lets it end; returns the headers that the client receives. A refused request just ends.
    fn finish(&mut self, handle: Handle, then: Then) -> Vec<(String, String)>;
    /// Moves the clock.
    fn advance_millis(&mut self, millis: u64);
    /// Lets one tick pass.
    fn tick(&mut self);
    /// The HTTP call that has been under way for longest: upstream, scheme, authority and path.
    fn call(&self) -> Option<[String; 4]>;
    /// Ends the call that has been under way for longest, with a status and a body, or with neither.
    fn answer_call(&mut self, answer: Option<(u16, &str)>) {
        self.answer_call_to("", answer);
    }
    /// Ends the first call under way for a path that begins so.
    fn answer_call_to(&mut self, path: &str, answer: Option<(u16, &str)>);
    /// A metric's value.
    fn metric(&mut self, name: &str) -> u64;
    /// The log so far.
    fn logs(&self) -> Vec<String>;
    /// Whether the host is one on which a header can't be removed, only emptied.
    fn is_kong(&self) -> bool;
}

impl Sent {
    /// Whether its headers say that a body follows.
    pub(crate) fn announces_a_body(&self) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(name, _)| ["content-length", "transfer-encoding"].contains(&name.as_str()))
    }

    /// The same with a body of so many bytes to follow.
    pub fn with_body(self, length: usize) -> Self {
        self.with("content-length", &length.to_string())
    }

    /// A request without more headers.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            authority: "rag.example".into(),
            peer: "192.0.2.1".into(),
            headers: Vec::new(),
        }
    }

    /// `GET path`
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For another host.
    pub fn at(mut self, authority: &str) -> Self {
        self.authority = authority.to_owned();
        self
    }

    /// From another client.
    pub fn from(mut self, peer: &str) -> Self {
        self.peer = peer.to_owned();
        self
    }
}

impl Seen {
    /// In the place of a status: the request is held back.
    pub const WAITS: u16 = u16::MAX;

    /// 0 when the request went on, else the refusal's status.
    pub fn status(&self) -> u16 {
        self.refused.unwrap_or(0)
    }

    /// All values of a header that are not empty.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// The only value of a header that is not empty.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [value] => Some(value),
            [] => None,
            ref several => panic!("{name}: {several:?}"),
        }
    }
}

impl Then {
    /// Whether all of the request's body has come by then.
    pub(crate) fn has_body(self) -> bool {
        !matches!(self, Self::BadBody | Self::NeverSent)
    }
}

impl dyn Subject + '_ {
    /// Sends a request with a body, in two parts, on a host on which what that says decides.
    pub fn send(&mut self, sent: Sent, body: &[u8]) -> (Seen, Handle) {
        let (seen, handle) = self.begin(sent.with_body(body.len()));
        if seen.status() != Seen::WAITS {
            return (seen, handle);
        }
        let (first, second) = body.split_at(body.len() / 2);
        let early = self.send_part(handle, first, false);
        let seen = early.or_else(|| self.send_part(handle, second, true));
        (seen.expect("it is decided on"), handle)
    }

    /// Sends a request and lets it end.
    pub fn exchange(&mut self, sent: Sent, then: Then) -> Seen {
        let (seen, handle) = self.begin(sent);
        self.finish(handle, then);
        seen
    }

    /// Sends a request that the upstream answers with 200.
    pub fn ask(&mut self, sent: Sent) -> Seen {
        self.exchange(sent, Then::Upstream(200))
    }
}
