//! Where in a document what is looked for stands.

use std::fmt;

/// Places in JSON documents, each by its number: names and `*`, with dots between them. `*` stands for each element of a list.
///
/// Names are those of a request or a response that somebody may have written so that we read another one than its backend does.
/// So they are compared as the most lenient parser does it, Go's `encoding/json`: without case, U+017F for `s`, U+212A for `k`.
#[derive(Clone, Debug)]
pub struct Paths {
    all: Vec<Vec<Step>>,
    /// By a path's length, which have it.
    of_length: [u64; Paths::DEEPEST + 1],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(Box<[u8]>),
    Each,
}

/// Why a path is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPath {
    /// There are more than [`Paths::MOST`].
    TooMany,
    /// It has no step, or more than [`Paths::DEEPEST`].
    Length,
    /// A name is empty, or longer than [`Paths::LONGEST_NAME`] bytes.
    Name,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "more than {} paths", Paths::MOST),
            Self::Length => write!(f, "a path has 1 to {} names", Paths::DEEPEST),
            Self::Name => write!(f, "a name in a path has 1 to {} bytes", Paths::LONGEST_NAME),
        }
    }
}

impl Paths {
    /// So many there are at most.
    pub const MOST: usize = 64;
    /// So many steps a path has at most.
    pub const DEEPEST: usize = 8;
    /// So many bytes a name has at most.
    pub const LONGEST_NAME: usize = 64;

    /// Those paths, numbered in order.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<Self, InvalidPath> {
        let mut all = Vec::new();
        let mut of_length = [0_u64; Self::DEEPEST + 1];
        for path in paths {
            let number = u32::try_from(all.len()).map_err(|_| InvalidPath::TooMany)?;
            let bit = 1_u64.checked_shl(number).ok_or(InvalidPath::TooMany)?;
            let steps = path.split('.').map(Step::parse);
            let steps = steps.collect::<Result<Vec<_>, _>>()?;
            let known = of_length.get_mut(steps.len());
            *known.ok_or(InvalidPath::Length)? |= bit;
            all.push(steps);
        }
        Ok(Self { all, of_length })
    }

    /// All of them, which a document's own value may still lead to.
    pub(crate) fn all(&self) -> u64 {
        self.of_length.iter().fold(0, |all, some| all | some)
    }

    /// Those of `some` that end at this depth: steps from the document's own value.
    pub(crate) fn ending(&self, some: u64, depth: usize) -> u64 {
        some & self.of_length.get(depth).copied().unwrap_or(0)
    }

    /// Those of `some`, so many steps of which fit, whose next one is a list's element.
    pub(crate) fn each(&self, some: u64, depth: usize) -> u64 {
        self.filter(some, depth, |step| *step == Step::Each)
    }

    /// Those of `some`, so many steps of which fit, whose next one is this name.
    pub(crate) fn named(&self, some: u64, depth: usize, name: &[u8]) -> u64 {
        self.filter(some, depth, |step| match step {
            Step::Name(known) => is_same(known, name),
            Step::Each => false,
        })
    }

    /// The same of those whose next one is this name to the letter.
    pub(crate) fn named_exactly(&self, some: u64, depth: usize, name: &[u8]) -> u64 {
        self.filter(
            some,
            depth,
            |step| matches!(step, Step::Name(known) if **known == *name),
        )
    }

    fn filter(&self, some: u64, depth: usize, fits: impl Fn(&Step) -> bool) -> u64 {
        let mut rest = some;
        let mut found = 0;
        while rest != 0 {
            let lowest = rest & rest.wrapping_neg();
            rest &= !lowest;
            let path = usize::try_from(lowest.trailing_zeros()).ok();
            let step = path.and_then(|path| self.all.get(path)?.get(depth));
            if step.is_some_and(&fits) {
                found |= lowest;
            }
        }
        found
    }
}

impl Step {
    fn parse(step: &str) -> Result<Self, InvalidPath> {
        match step {
            "*" => Ok(Self::Each),
            "" => Err(InvalidPath::Name),
            name if name.len() > Paths::LONGEST_NAME => Err(InvalidPath::Name),
            name => Ok(Self::Name(name.as_bytes().into())),
        }
    }
}

/// The numbers of the paths in a set.
pub(crate) fn numbers(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set & set.wrapping_neg();
        set &= !lowest;
        (lowest != 0).then(|| usize::try_from(lowest.trailing_zeros()).unwrap_or_default())
    })
}

/// Whether a set has the path of this number.
pub(crate) fn has(set: u64, path: usize) -> bool {
    let bit = u32::try_from(path)
        .ok()
        .and_then(|path| 1_u64.checked_shl(path));
    bit.is_some_and(|bit| set & bit != 0)
}

/// Whether a lenient parser takes them for one name.
fn is_same(ours: &[u8], sent: &[u8]) -> bool {
    /// U+017F and U+212A in UTF-8, and what they fold to (Unicode, CaseFolding.txt).
    const OTHERS: [(&[u8], u8); 2] = [("\u{17f}".as_bytes(), b's'), ("\u{212a}".as_bytes(), b'k')];
    let mut sent = sent;
    for byte in ours {
        let byte = byte.to_ascii_lowercase();
        let folded = OTHERS
            .iter()
            .find(|(_, folded)| *folded == byte)
            .and_then(|(other, _)| sent.strip_prefix(*other));
        sent = match (folded, sent.split_first()) {
            (Some(rest), _) => rest,
            (None, Some((first, rest))) if first.to_ascii_lowercase() == byte => rest,
            (None, _) => return false,
        };
    }
    sent.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_step_by_step() {
        let paths = Paths::new(["usage.tokens", "choices.*.text", "usage"]).unwrap();
        let all = paths.all();
        assert_eq!(all, 0b111);
        let usage = paths.named(all, 0, b"usage");
        assert_eq!((usage, paths.ending(usage, 1)), (0b101, 0b100));
        assert_eq!(paths.named(usage, 1, b"tokens"), 0b001);
        let choices = paths.named(all, 0, b"choices");
        assert_eq!((choices, paths.named(choices, 1, b"text")), (0b010, 0));
        let each = paths.each(choices, 1);
        assert_eq!((each, paths.named(each, 2, b"text")), (0b010, 0b010));
        assert_eq!(numbers(0b101).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn names_are_compared_as_the_most_lenient_parser_does_it() {
        for sent in [
            "max_tokens",
            "MAX_Tokens",
            "max_to\u{212a}ens",
            "max_token\u{17f}",
        ] {
            assert!(is_same(b"max_tokens", sent.as_bytes()), "{sent}");
        }
        for sent in [
            "max_token",
            "max_tokenss",
            "max-tokens",
            "",
            "max_toKens\u{17f}",
        ] {
            assert!(!is_same(b"max_tokens", sent.as_bytes()), "{sent}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(Paths::new([""]).err(), Some(InvalidPath::Name));
        assert_eq!(Paths::new(["a..b"]).err(), Some(InvalidPath::Name));
        let deep = ["a"; 9].join(".");
        assert_eq!(Paths::new([&*deep]).err(), Some(InvalidPath::Length));
        let many = vec!["a"; 65];
        assert_eq!(Paths::new(many).err(), Some(InvalidPath::TooMany));
        assert_eq!(
            Paths::new([&*"a".repeat(65)]).err(),
            Some(InvalidPath::Name)
        );
    }
}
