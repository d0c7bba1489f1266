//! What is asked, and what must come back.

use std::fmt::Write as _;

use http::{Method, Request, Version};

/// How the client speaks to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2 without TLS.
    Http2,
}

/// A request, and the status that must answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The path.
    pub path: String,
    /// The headers, besides the authority.
    pub headers: Vec<(&'static str, String)>,
    /// Whether requests have a header [`KEY_HEADER`], and of how many values.
    pub keys: Option<u32>,
    /// Whether the answer is a [stream](CHUNKS).
    pub streamed: bool,
    /// The status.
    pub status: u16,
    /// How it is asked.
    pub protocol: Protocol,
}

/// By which requests differ, where they do.
pub const KEY_HEADER: &str = "x-key";

/// So many chunks has a streamed answer.
pub const CHUNKS: u32 = 1_000;

const AUTHORITY: &str = "gateway.example";

/// Digits of a key.
const DIGITS: usize = 16;

/// What a browser sends beside what is asked for.
const ORDINARY: [(&str, &str); 10] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://dashboard.example/search"),
    ("origin", "https://dashboard.example"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    ("cache-control", "no-cache"),
];

impl Ask {
    /// A request with ten ordinary headers, which is answered with 200.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            headers: ORDINARY
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec(),
            keys: None,
            streamed: false,
            status: 200,
            protocol: Protocol::Http1,
        }
    }

    /// With a bearer's token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Each with one of so many keys.
    #[must_use]
    pub fn of_keys(mut self, keys: u32) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Answered with this status.
    #[must_use]
    pub fn refused(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// By HTTP/2.
    #[must_use]
    pub fn by_http2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// Answered by a stream.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }

    /// As it is sent on a connection of this number, and where the key stands in it.
    pub(super) fn http1(&self, connection: usize) -> (Vec<u8>, Option<usize>) {
        let mut text = format!(
            "GET {} HTTP/1.1\r\nhost: {AUTHORITY}\r\n",
            self.path_on(connection)
        );
        for (name, value) in &self.headers {
            // Writing into a String does not fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let mut key_at = None;
        if self.keys.is_some() {
            let _ = write!(text, "{KEY_HEADER}: ");
            key_at = Some(text.len());
            let _ = write!(text, "{:0DIGITS$}\r\n", 0);
        }
        text.push_str("\r\n");
        (text.into_bytes(), key_at)
    }

    /// As it is sent on a connection of this number; it is the so manieth.
    pub(super) fn http2(&self, connection: usize, number: u64) -> http::Result<Request<()>> {
        let mut request = Request::builder()
            .method(Method::GET)
            .version(Version::HTTP_2)
            .uri(format!("http://{AUTHORITY}{}", self.path_on(connection)));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(key) = self.key(number) {
            request = request.header(KEY_HEADER, key);
        }
        request.body(())
    }

    /// The key of a request, by its number: all keys take turns, neighbours far apart.
    pub(super) fn key(&self, number: u64) -> Option<String> {
        /// A prime: it reaches every key of any count that it does not divide.
        const STRIDE: u64 = 7_368_787;
        let keys = u64::from(self.keys?).max(1);
        let key = (number % keys).wrapping_mul(STRIDE) % keys;
        Some(format!("{key:0DIGITS$}"))
    }

    fn path_on(&self, connection: usize) -> String {
        if self.streamed {
            // By which the upstream knows whom to wait for.
            format!("{}/{connection}", self.path)
        } else {
            self.path.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_its_turn() {
        let ask = Ask::get("/").of_keys(1_000);
        let keys: BTreeSet<_> = (0..1_000).filter_map(|number| ask.key(number)).collect();
        assert_eq!(keys.len(), 1_000);
        assert_eq!(ask.key(0), ask.key(1_000));
    }

    #[test]
    fn a_key_has_its_place_in_the_text() {
        let (text, at) = Ask::get("/a").of_keys(7).http1(3);
        let at = at.unwrap();
        assert_eq!(&text[at..at + DIGITS], "0".repeat(DIGITS).as_bytes());
        assert!(text.starts_with(b"GET /a HTTP/1.1\r\nhost: "));
        assert!(text.ends_with(b"0\r\n\r\n"));
    }

    #[test]
    fn a_streamed_answer_is_asked_for_by_connection() {
        let (text, at) = Ask::get("/stream").streamed().http1(3);
        assert!(text.starts_with(b"GET /stream/3 HTTP/1.1\r\n"));
        assert_eq!(at, None);
    }
}
