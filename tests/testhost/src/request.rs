//! A client's request.

/// A request as the client sends it. The gateway's own view of it (pseudo-headers, case, address) follows from the
/// dialect.
#[derive(Clone, Debug)]
pub struct Request {
    /// `:method`.
    pub method: String,
    /// `:path`, query included.
    pub path: String,
    /// What the client names as the host: `:authority` on Envoy, the `host` header on Kong.
    pub authority: String,
    /// `:scheme`.
    pub scheme: String,
    /// All other headers, in order, duplicates as they are.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The client's address: `10.0.0.1`, `10.0.0.1:1234`, `::1` or `[::1]:1234`.
    pub peer: String,
    /// True if no body follows. Kong never tells the filter.
    pub end_of_stream: bool,
    /// The version of HTTP that the client speaks, as nginx and Envoy write it.
    pub protocol: &'static str,
    /// More properties, by dotted path, or other values for the host's own.
    pub properties: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request without a body from 10.0.0.1.
    pub fn new(method: &str, path: &str) -> Request {
        Request {
            method: method.to_owned(),
            path: path.to_owned(),
            authority: "example.com".to_owned(),
            scheme: "http".to_owned(),
            headers: Vec::new(),
            peer: "10.0.0.1:40000".to_owned(),
            end_of_stream: true,
            protocol: "HTTP/1.1",
            properties: Vec::new(),
        }
    }

    /// `GET path`.
    pub fn get(path: &str) -> Request {
        Request::new("GET", path)
    }

    /// `POST path`, with a body to follow.
    pub fn post(path: &str) -> Request {
        Request {
            end_of_stream: false,
            ..Request::new("POST", path)
        }
    }

    /// Adds a header, also if it is there already.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Over HTTP/2, where a body need not be announced. `protocol`: `HTTP/2` on Envoy, `HTTP/2.0` on Kong.
    pub fn protocol(mut self, protocol: &'static str) -> Request {
        self.protocol = protocol;
        self
    }

    /// Another method.
    pub fn method(mut self, method: &str) -> Request {
        self.method = method.to_owned();
        self
    }

    /// Another host.
    pub fn authority(mut self, authority: &str) -> Request {
        self.authority = authority.to_owned();
        self
    }

    /// Another client, with or without a port.
    pub fn peer(mut self, peer: &str) -> Request {
        self.peer = peer.to_owned();
        self
    }

    /// Sets a property by its dotted path, such as `kong.route_name`.
    pub fn property(mut self, path: &str, value: impl AsRef<[u8]>) -> Request {
        self.properties
            .push((path.to_owned(), value.as_ref().to_vec()));
        self
    }
}
