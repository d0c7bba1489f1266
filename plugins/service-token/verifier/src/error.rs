//! Why a request is refused.

use std::fmt;

use http::StatusCode;

/// Why a request is refused. It says nothing of a secret and repeats nothing of the request, so that
/// it may be logged; whoever sent the request needs no more than [`Error::status`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no credential, or an empty one, as Kong leaves where it has taken a header away.
    Missing,
    /// The credential's header is there in several lines.
    Repeated,
    /// The credential is longer than 8 KiB.
    TooLarge,
    /// The credential can't be read: which part of it.
    Malformed(&'static str),
    /// Static: it is none of the secrets.
    WrongSecret,
    /// It is made by another algorithm than the one that is expected.
    WrongAlgorithm,
    /// It asks for something that this verifier does not know: a critical header of a token (RFC
    /// 7515 section 4.1.11), another type of token, a derived component of a request.
    Unsupported(&'static str),
    /// It names a key that is not known.
    UnknownKey,
    /// It is not signed with a known key, or not for this request.
    WrongSignature,
    /// A claim or a parameter is not there: which one.
    Incomplete(&'static str),
    /// Token: `iss` is another.
    WrongIssuer,
    /// Token: `aud` does not have the one that is expected, or has one where none is.
    WrongAudience,
    /// It is of a time to come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// Token: more time between `iat` and `exp` than is accepted.
    LivesTooLong,
    /// Signature: it was made longer ago than is accepted.
    TooOld,
    /// Signature: this has to be covered and is not. A name from the verifier's own configuration.
    NotCovered(String),
    /// Signature: it covers something that the request does not have.
    Absent,
    /// Signature: its nonce was used.
    Replayed,
    /// Signature: it is good, but there is no room to remember its nonce until it ends.
    NoncesFull,
}

impl Error {
    /// The status to answer with.
    ///
    /// - 400 (bad request) for what can't be read as a credential: [`Error::Repeated`],
    ///   [`Error::TooLarge`], [`Error::Malformed`].
    /// - 503 (service unavailable) for [`Error::NoncesFull`]: the request was not at fault.
    /// - 401 (unauthorized) for all others.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Repeated | Self::TooLarge | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NoncesFull => StatusCode::SERVICE_UNAVAILABLE,
            Self::Missing
            | Self::WrongSecret
            | Self::WrongAlgorithm
            | Self::Unsupported(_)
            | Self::UnknownKey
            | Self::WrongSignature
            | Self::Incomplete(_)
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::NotYetValid
            | Self::Expired
            | Self::LivesTooLong
            | Self::TooOld
            | Self::NotCovered(_)
            | Self::Absent
            | Self::Replayed => StatusCode::UNAUTHORIZED,
        }
    }

    /// A fixed word for logs and metrics: `[a-z_]`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::WrongSecret => "wrong_secret",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::Unsupported(_) => "unsupported",
            Self::UnknownKey => "unknown_key",
            Self::WrongSignature => "wrong_signature",
            Self::Incomplete(_) => "incomplete",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::LivesTooLong => "lives_too_long",
            Self::TooOld => "too_old",
            Self::NotCovered(_) => "not_covered",
            Self::Absent => "absent",
            Self::Replayed => "replayed",
            Self::NoncesFull => "nonces_full",
        }
    }

    /// Of two, the one that says more: that of the credential which got further. The first, if both
    /// got as far.
    #[must_use]
    pub(crate) fn or_further(self, other: Self) -> Self {
        if other.got_to() > self.got_to() {
            other
        } else {
            self
        }
    }

    const fn got_to(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Repeated | Self::TooLarge | Self::Malformed(_) => 1,
            Self::WrongSecret => 2,
            Self::WrongAlgorithm | Self::Unsupported(_) | Self::UnknownKey => 3,
            Self::Incomplete(_) | Self::NotCovered(_) | Self::Absent => 4,
            Self::WrongSignature => 5,
            Self::WrongIssuer | Self::WrongAudience => 6,
            Self::NotYetValid | Self::Expired | Self::LivesTooLong | Self::TooOld => 7,
            Self::Replayed | Self::NoncesFull => 8,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no service credential",
            Self::Repeated => "the service credential is there more than once",
            Self::TooLarge => "the service credential is longer than 8 KiB",
            Self::Malformed(part) => return write!(f, "{part} can't be read"),
            Self::WrongSecret => "the service credential is none of the secrets",
            Self::WrongAlgorithm => "the service credential is made by another algorithm",
            Self::Unsupported(part) => return write!(f, "{part} is not supported"),
            Self::UnknownKey => "the service credential names a key that is not known",
            Self::WrongSignature => "the signature is not one of a known key for this request",
            Self::Incomplete(name) => return write!(f, "{name} is not there"),
            Self::WrongIssuer => "the token is by another issuer",
            Self::WrongAudience => "the token is for another audience",
            Self::NotYetValid => "the service credential is of a time to come",
            Self::Expired => "the time of the service credential is over",
            Self::LivesTooLong => "the token is good for longer than is accepted",
            Self::TooOld => "the signature was made longer ago than is accepted",
            Self::NotCovered(name) => return write!(f, "the signature does not cover {name}"),
            Self::Absent => "the signature covers something that the request does not have",
            Self::Replayed => "the nonce of the signature was used before",
            Self::NoncesFull => "there is no room to remember another nonce",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_errors_the_one_that_got_further_is_told_and_of_equals_the_first() {
        let told = |first: Error, second: Error| first.or_further(second);
        assert_eq!(told(Error::Missing, Error::TooLarge), Error::TooLarge);
        assert_eq!(told(Error::Expired, Error::TooLarge), Error::Expired);
        assert_eq!(told(Error::Repeated, Error::TooLarge), Error::Repeated);
        assert_eq!(told(Error::Expired, Error::Replayed), Error::Replayed);
    }
}
