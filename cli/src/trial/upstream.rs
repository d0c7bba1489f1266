//! What answers: the backend, the gateway in its place, or a filter.

use portcullis_policy::{LocalReply, Origin, Span};

use super::passing::{Head, Lines};

/// What the backend answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its status.
    pub status: u16,
    /// Its headers: names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long it takes.
    pub delay: Span,
    /// How it fails, in place of an answer.
    pub fails: Option<Fails>,
}

/// How a backend fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fails {
    /// It can't be reached.
    Connection,
    /// It does not answer in time.
    Timeout,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
            delay: Span::ZERO,
            fails: None,
        }
    }
}

impl Upstream {
    /// What comes back of it, or of the gateway in its place.
    pub(super) fn answer(&self, is_kong: bool) -> (Head, Vec<u8>) {
        let (status, origin) = match self.fails {
            None => {
                let headers = self.headers.iter();
                let headers =
                    headers.map(|(name, value)| (name.clone(), value.as_bytes().to_vec()));
                let head = Head::new(self.status, headers.collect(), Origin::Upstream);
                return (head, self.body.clone());
            }
            Some(Fails::Connection) if is_kong => (502, Origin::ConnectionFailed),
            Some(Fails::Connection) => (503, Origin::ConnectionFailed),
            Some(Fails::Timeout) => (504, Origin::TimedOut),
        };
        (Head::new(status, Vec::new(), origin), Vec::new())
    }

    /// Why it is the gateway that answers.
    pub(super) fn cause(&self) -> Option<&'static str> {
        self.fails.map(|fails| match fails {
            Fails::Connection => "the gateway: the backend can't be reached",
            Fails::Timeout => "the gateway: the backend does not answer in time",
        })
    }
}

/// What a filter answers. A client of gRPC's gets its refusal as a `grpc-status`.
pub(super) fn of_filter(reply: &LocalReply) -> (Head, Vec<u8>) {
    let line = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    let headers = reply.headers.iter();
    let mut headers: Lines = headers.map(|(name, value)| line(name, value)).collect();
    let Some(grpc) = reply.grpc else {
        let head = Head::new(reply.status, headers, Origin::Gateway);
        return (head, reply.body.clone().into_bytes());
    };
    headers.extend([
        line("content-type", "application/grpc"),
        line("grpc-status", &grpc.code().to_string()),
        line("grpc-message", &reply.body),
    ]);
    (Head::new(200, headers, Origin::Gateway), Vec::new())
}
