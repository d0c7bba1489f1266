//! Names that a backend could take for one another.

/// Whether a backend could fold `sent` into the header `ours`: alike but for case and for what is neither a letter nor a
/// digit. CGI, WSGI and Rack take `_` for `-`; PHP and others take a dot, and whatever else a name may hold (RFC 9110
/// section 5.6.2), for it as well.
#[must_use]
pub fn spelled_like(sent: &[u8], ours: &str) -> bool {
    sent.len() == ours.len()
        && sent
            .iter()
            .zip(ours.bytes())
            .all(|(sent, ours)| fold(*sent) == fold(ours))
}

/// Whether a name is of a spelling that a backend could fold into another, which has hyphens there.
#[must_use]
pub fn is_folded(name: &str) -> bool {
    name.bytes().any(|byte| fold(byte) == b'-' && byte != b'-')
}

/// What a backend could take a byte for: of a letter in either case the small one, of a digit itself.
fn fold(byte: u8) -> u8 {
    #[allow(clippy::indexing_slicing, reason = "the compiler does it")]
    const FOLDED: [u8; 256] = {
        let mut folded = [b'-'; 256];
        let mut kept: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        while let [byte, rest @ ..] = kept {
            folded[*byte as usize] = *byte;
            folded[byte.to_ascii_uppercase() as usize] = *byte;
            kept = rest;
        }
        folded
    };
    FOLDED.get(usize::from(byte)).copied().unwrap_or(b'-')
}

/// What all spellings of a name have in common: its length, and three of its bytes. So most names are told apart by one
/// comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u32);

impl Mark {
    pub(crate) fn of(name: &[u8]) -> Self {
        let byte = |at: Option<&u8>| fold(at.copied().unwrap_or_default());
        let last = byte(name.last());
        let middle = byte(name.get(name.len() / 2));
        let third = byte(name.get(name.len() / 4));
        // Of a name of 256 bytes or more it is one of a shorter one, too.
        let length = name.len().to_le_bytes()[0];
        Self(u32::from_le_bytes([length, last, middle, third]))
    }
}

/// Marks, of which some that are not among them seem to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks(u64);

impl Marks {
    pub(crate) const fn insert(&mut self, mark: Mark) {
        self.0 |= Self::bit(mark);
    }

    pub(crate) const fn contains(self, mark: Mark) -> bool {
        self.0 & Self::bit(mark) != 0
    }

    /// By its highest bits after multiplication: Knuth, The Art of Computer Programming, volume 3, section 6.4.
    const fn bit(mark: Mark) -> u64 {
        1_u64.wrapping_shl(mark.0.wrapping_mul(0x9e37_79b1) >> 26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_no_letter_and_no_digit_may_be_folded() {
        for byte in (b'!'..=b'~').filter(|byte| !byte.is_ascii_alphanumeric()) {
            let sent = [b"X", &[byte][..], b"User2"].concat();
            assert!(spelled_like(&sent, "x-user2"), "{}", char::from(byte));
            let ours = String::from_utf8(sent).unwrap().to_ascii_lowercase();
            assert!(spelled_like(b"x-user2", &ours), "{ours}");
            assert_eq!(is_folded(&ours), byte != b'-', "{ours}");
        }
        for other in ["x-user3", "xuser2", "x--user2", "x-user2-", "xxuser2"] {
            assert!(!spelled_like(other.as_bytes(), "x-user2"), "{other}");
        }
    }

    #[test]
    fn all_spellings_of_a_name_have_one_mark() {
        for (one, other, alike) in [
            ("x-user-id", "X.User_Id", true),
            ("x-user-id", "x-user-ie", false),
            ("x-user-id", "x-user-idd", false),
            ("", "", true),
            ("a", "", false),
        ] {
            let (one, other) = (Mark::of(one.as_bytes()), Mark::of(other.as_bytes()));
            assert_eq!(one == other, alike, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_mark_that_was_put_in_is_found_and_few_others_are() {
        let names = (0..20).map(|number| format!("x-header-{number}"));
        let marks: Vec<_> = names.map(|name| Mark::of(name.as_bytes())).collect();
        let (some, others) = marks.split_at(10);
        let mut set = Marks::default();
        assert!(!others.iter().any(|mark| set.contains(*mark)));
        for mark in some {
            set.insert(*mark);
        }
        assert!(some.iter().all(|mark| set.contains(*mark)));
        let wrong = others.iter().filter(|mark| set.contains(**mark)).count();
        assert!(wrong < 5, "{wrong}");
    }
}
