//! The secrets that are shared with the gateway, each with what it is called.

use std::fmt;

use zeroize::Zeroizing;

use crate::SetupError;

/// A secret and its id, under which the gateway uses it. It does not show itself.
pub struct Secret {
    id: String,
    bytes: Zeroizing<Vec<u8>>,
    length: Length,
}

/// What is asked of a secret's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// As much as nobody guesses.
    Safe,
    /// One byte.
    Any,
}

/// As many as the gateway takes. A rotation needs two.
const MOST_SECRETS: usize = 16;

impl Secret {
    /// A secret of at least 32 bytes: of 48 for HS384, of 64 for HS512 (RFC 7518 section 3.2).
    ///
    /// `id`: 1 to 64 of letters, digits, `-`, `.` and `_`, as in the gateway's configuration.
    /// `bytes` are taken as they are; a line break at the end, as a file has one, is a part of them.
    ///
    /// # Errors
    /// [`SetupError`]: not an id, or no bytes. What is too short is refused by the verifier that
    /// gets the secret.
    pub fn new(id: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Result<Self, SetupError> {
        let (id, bytes) = (id.into(), Zeroizing::new(bytes.into()));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !(1..=64).contains(&id.len()) || !id.bytes().all(fits) {
            return Err(SetupError::InvalidId);
        }
        if bytes.is_empty() {
            return Err(SetupError::EmptySecret { id });
        }
        let length = Length::Safe;
        Ok(Self { id, bytes, length })
    }

    /// The same, however short it is: for tests, and for what is already in use.
    #[must_use]
    pub fn allow_short(mut self) -> Self {
        self.length = Length::Any;
        self
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The secrets of one verifier. `shortest` is in bytes.
///
/// # Errors
/// [`SetupError`]: none, too many, two of one id, or one that is too short.
pub(crate) fn check(
    secrets: impl IntoIterator<Item = Secret>,
    shortest: usize,
) -> Result<Vec<Secret>, SetupError> {
    let mut checked: Vec<Secret> = Vec::new();
    for secret in secrets {
        let (id, length) = (secret.id.clone(), secret.bytes.len());
        if secret.length == Length::Safe && length < shortest {
            return Err(SetupError::ShortSecret {
                id,
                length,
                shortest,
            });
        }
        if checked.iter().any(|other| other.id == id) {
            return Err(SetupError::RepeatedId { id });
        }
        if checked.len() == MOST_SECRETS {
            return Err(SetupError::TooManySecrets { most: MOST_SECRETS });
        }
        checked.push(secret);
    }
    if checked.is_empty() {
        return Err(SetupError::NoSecret);
    }
    Ok(checked)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, {} bytes)", self.id, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn secret(id: &str, bytes: &str) -> Secret {
        Secret::new(id, bytes).unwrap()
    }

    #[test]
    fn an_id_is_short_and_plain() {
        for id in ["a", "2026-11", "A.b_c-1", &"x".repeat(64)] {
            assert_eq!(Secret::new(id, "x").unwrap().id(), id);
        }
        for id in ["", " a", "a b", "caf\u{e9}", "a\n", &"x".repeat(65)] {
            assert_eq!(
                Secret::new(id, "x").err(),
                Some(SetupError::InvalidId),
                "{id}"
            );
        }
    }

    #[test]
    fn secrets_are_there_long_enough_and_told_apart() {
        let id = || "a".to_owned();
        let error = |secrets| check(secrets, 32).err();
        assert_eq!(error(vec![]), Some(SetupError::NoSecret));
        assert_eq!(
            Secret::new("a", "").err(),
            Some(SetupError::EmptySecret { id: id() })
        );
        assert_eq!(
            error(vec![secret("a", &LONG[1..])]),
            Some(SetupError::ShortSecret {
                id: id(),
                length: 31,
                shortest: 32
            })
        );
        assert_eq!(error(vec![secret("a", "x").allow_short()]), None);
        assert_eq!(error(vec![secret("a", LONG), secret("b", LONG)]), None);
        assert_eq!(
            error(vec![secret("a", LONG), secret("a", LONG)]),
            Some(SetupError::RepeatedId { id: id() })
        );
        let many = |count: usize| (0..count).map(|n| secret(&n.to_string(), LONG)).collect();
        assert_eq!(error(many(16)), None);
        assert_eq!(
            error(many(17)),
            Some(SetupError::TooManySecrets { most: 16 })
        );
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", secret("a", LONG)), "Secret(a, 32 bytes)");
    }
}
