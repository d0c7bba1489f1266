//! How a line of the log says which token was refused, and whose.

use std::fmt::Write as _;

use portcullis_policy::CallerNames;
use sha2::{Digest as _, Sha256};

/// What subjects are called.
#[derive(Debug, Default)]
pub(crate) struct Naming {
    /// By their names in clear.
    pub(crate) in_clear: bool,
    /// By names that only the control path reads; `None` where there is none.
    pub(crate) names: Option<CallerNames>,
}

impl Naming {
    /// What a provider's subject is called; `None` where nobody could read it.
    pub(crate) fn name(&self, provider: &str, subject: &str) -> Option<String> {
        match &self.names {
            _ if self.in_clear => Some(subject.to_owned()),
            names => names.as_ref().map(|names| names.name(provider, subject)),
        }
    }
}

/// Longer signatures are of no algorithm that is known here, and are not hashed for anybody.
const LONGEST_SIGNATURE: usize = 2048;

/// By what a token can be told from others, and by what nobody can make one: the first 8 bytes of the SHA-256 of its
/// signature as it is written, in hex. `None` where it has none.
pub(crate) fn mark(token: &[u8]) -> Option<String> {
    let dot = token.iter().rposition(|byte| *byte == b'.')?;
    let signature = token.get(dot..)?.get(1..)?;
    if signature.is_empty() || signature.len() > LONGEST_SIGNATURE {
        return None;
    }
    let mut mark = String::with_capacity(16);
    for byte in Sha256::digest(signature).iter().take(8) {
        // Writing into a String does not fail.
        let _ = write!(mark, "{byte:02x}");
    }
    Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_a_hash_of_its_signature_and_what_has_none_by_nothing() {
        // printf %s abc | sha256sum | cut -c1-16
        assert_eq!(mark(b"h.p.abc").as_deref(), Some("ba7816bf8f01cfea"));
        assert_eq!(mark(b"other.abc").as_deref(), Some("ba7816bf8f01cfea"));
        for none in ["", "abc", "h.p.", "."] {
            assert_eq!(mark(none.as_bytes()), None, "{none}");
        }
        assert!(mark(format!(".{}", "a".repeat(2048)).as_bytes()).is_some());
        assert_eq!(mark(format!(".{}", "a".repeat(2049)).as_bytes()), None);
    }

    #[test]
    fn a_subject_is_named_in_clear_only_where_that_is_allowed() {
        let mut naming = Naming::default();
        assert_eq!(naming.name("p", "alice"), None);
        naming.in_clear = true;
        assert_eq!(naming.name("p", "alice").as_deref(), Some("alice"));
    }
}
