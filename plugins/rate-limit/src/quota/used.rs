//! What a key has used, as it lies in a slot.

/// What an algorithm keeps of a key, in a number of bytes that does not change. Zeros are a key that
/// has used nothing.
pub(super) trait Kept: Default {
    const FORM: Form;

    fn decode(used: &Used) -> Self;

    fn encode(&self) -> Used;

    /// How much it is, to tell those that used little.
    fn amount(&self) -> u32;
}

/// How much room it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Three numbers: of fixed windows and token buckets.
    Count,
    /// Of sliding windows.
    Log,
    /// Of what was withdrawn from an engine. As long as the other.
    Lease,
}

impl Form {
    /// Bytes of it in a slot.
    pub(crate) const fn size(self) -> usize {
        match self {
            Self::Count => COUNT,
            Self::Log | Self::Lease => LOG,
        }
    }

    /// What tells it from the others in a slot.
    pub(crate) const fn mark(self) -> u8 {
        match self {
            Self::Count => 0,
            Self::Log => 1,
            Self::Lease => 2,
        }
    }
}

/// Bytes of each form.
const COUNT: usize = 16;
const LOG: usize = 80;

/// Numbers of eight bytes in the longest of them.
const WORDS: usize = LOG / 8;

/// What a key has used, for its limit's algorithm to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Used(pub(super) [u8; LOG]);

impl Default for Used {
    fn default() -> Self {
        Self([0; LOG])
    }
}

impl Used {
    /// What these bytes of a slot say.
    pub(crate) fn read(from: &[u8]) -> Self {
        match (from.first_chunk(), from.first_chunk()) {
            (Some(bytes), _) => Self(*bytes),
            (None, Some(bytes)) => Self::of_count(*bytes),
            (None, None) => Self::default(),
        }
    }

    /// Writes the bytes of a slot, as many as there are.
    pub(crate) fn write(&self, to: &mut [u8]) {
        if let Some(to) = to.first_chunk_mut() {
            *to = self.0;
        } else if let (Some(to), Some(count)) =
            (to.first_chunk_mut::<COUNT>(), self.0.first_chunk())
        {
            *to = *count;
        }
    }

    fn of_count(bytes: [u8; COUNT]) -> Self {
        let mut used = Self::default();
        if let Some(count) = used.0.first_chunk_mut() {
            *count = bytes;
        }
        used
    }

    /// [`Form::Count`] as numbers.
    pub(super) fn numbers(&self) -> (u64, u32, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = self.0;
        (
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u32::from_le_bytes([i, j, k, l]),
            u32::from_le_bytes([m, n, o, p]),
        )
    }

    /// All of it, as numbers.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> + use<'_> {
        let (words, _) = self.0.as_chunks();
        words.iter().map(|word| u64::from_le_bytes(*word))
    }

    /// Numbers as all of it.
    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        let mut used = Self::default();
        let (places, _) = used.0.as_chunks_mut();
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        used
    }

    /// Numbers as [`Form::Count`].
    pub(super) fn from_numbers(first: u64, second: u32, third: u32) -> Self {
        let [a, b, c, d, e, f, g, h] = first.to_le_bytes();
        let ([i, j, k, l], [m, n, o, p]) = (second.to_le_bytes(), third.to_le_bytes());
        Self::of_count([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}
