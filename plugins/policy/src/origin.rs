//! Who made a response.

/// Who made a response, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The upstream answered.
    Upstream,
    /// The upstream could not be reached, has no host that can be, or cut the connection before its
    /// response headers.
    ConnectionFailed,
    /// The upstream cut this request off before its response headers, and kept the connection: it
    /// was not willing, or a deadline that it knows of was over.
    Reset,
    /// The upstream, which had all of the request, did not answer in time.
    TimedOut,
    /// Nothing went either way for too long: the upstream was silent, or the client while it sent, or
    /// it did not read on.
    Idle,
    /// The stream has lived for as long as any may, whatever it was doing.
    MaxDuration,
    /// The upstream broke off in the middle of its response.
    BrokenOff,
    /// The gateway or another filter answered in the upstream's stead.
    Gateway,
    /// The client went away.
    ClientGone,
    /// The gateway forgot the stream: it said nothing of how it ended, and will say no more.
    Lost,
    /// The gateway does not tell.
    Unknown,
}
