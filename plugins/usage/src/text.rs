//! Strings, byte by byte (RFC 8259 section 7).

/// A string as far as it was read: how long it is, and its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    start: [u8; Text::KEPT],
    length: u64,
    escape: Escape,
    /// The first half of a surrogate pair whose second half has not come.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// Digits of `\u` that have come, and the number that they make.
    Unicode(u8, u16),
}

/// What a byte made of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    More,
    End,
    Wrong,
}

impl Text {
    /// So many bytes of its beginning are kept.
    pub(crate) const KEPT: usize = 128;

    pub(crate) const fn begin() -> Self {
        Self {
            start: [0; Self::KEPT],
            length: 0,
            escape: Escape::None,
            high: None,
        }
    }

    /// How many of these bytes are an ordinary part of it, one after another.
    pub(crate) fn plain(bytes: &[u8]) -> usize {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        bytes.iter().position(is_special).unwrap_or(bytes.len())
    }

    /// Whether nothing has begun that the next byte belongs to.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.escape, Escape::None) && self.high.is_none()
    }

    /// Takes bytes that are an ordinary part of it.
    pub(crate) fn take_plain(&mut self, bytes: &[u8]) {
        let from = usize::try_from(self.length).unwrap_or(usize::MAX);
        let room = self.start.get_mut(from..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(more);
    }

    /// Takes one more byte.
    pub(crate) fn take(&mut self, byte: u8) -> Taken {
        match (self.escape, byte) {
            (Escape::None, b'"') => {
                self.lone();
                return Taken::End;
            }
            (Escape::None, b'\\') => self.escape = Escape::Begun,
            (Escape::None, 0..=0x1f) => return Taken::Wrong,
            (Escape::None, _) => {
                self.lone();
                self.take_plain(&[byte]);
            }
            (Escape::Begun, b'u') => self.escape = Escape::Unicode(0, 0),
            (Escape::Begun, _) => {
                let meant = match byte {
                    b'"' | b'\\' | b'/' => byte,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return Taken::Wrong,
                };
                self.lone();
                self.take_plain(&[meant]);
                self.escape = Escape::None;
            }
            (Escape::Unicode(digits, number), _) => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    return Taken::Wrong;
                };
                let number = number.wrapping_shl(4) | u16::try_from(digit).unwrap_or_default();
                self.escape = match digits {
                    3 => {
                        self.unit(number);
                        Escape::None
                    }
                    _ => Escape::Unicode(digits.saturating_add(1), number),
                };
            }
        }
        Taken::More
    }

    /// A unit of UTF-16.
    fn unit(&mut self, unit: u16) {
        if let Some(high) = self.high.take() {
            match char::decode_utf16([high, unit]).next() {
                Some(Ok(whole)) => return self.character(whole),
                Some(Err(_)) | None => self.character(char::REPLACEMENT_CHARACTER),
            }
        }
        match char::decode_utf16([unit]).next() {
            Some(Ok(whole)) => self.character(whole),
            Some(Err(_)) if (0xd800..0xdc00).contains(&unit) => self.high = Some(unit),
            Some(Err(_)) | None => self.character(char::REPLACEMENT_CHARACTER),
        }
    }

    /// Half a surrogate pair stands alone.
    fn lone(&mut self) {
        if self.high.take().is_some() {
            self.character(char::REPLACEMENT_CHARACTER);
        }
    }

    fn character(&mut self, character: char) {
        self.take_plain(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Its beginning.
    pub(crate) fn start(&self) -> &[u8] {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        self.start.get(..length.min(Self::KEPT)).unwrap_or_default()
    }

    /// Its length in bytes of UTF-8.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, u64)> {
        let mut string = Text::begin();
        let mut bytes = text.bytes();
        loop {
            match string.take(bytes.next()?) {
                Taken::More => {}
                Taken::Wrong => return None,
                Taken::End => break,
            }
        }
        let start = String::from_utf8_lossy(string.start()).into_owned();
        Some((start, string.length()))
    }

    #[test]
    fn strings_are_those_of_json_and_their_length_is_that_of_what_they_mean() {
        for (text, meant) in [
            (r#"""#, ""),
            (r#"abc""#, "abc"),
            (r#"\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#"\u00e4\u20AC\ud83d\ude00""#, "ä€😀"),
            (r#"\ud83dx""#, "\u{fffd}x"),
            (r#"\ud83d\n""#, "\u{fffd}\n"),
            (r#"\ud83d""#, "\u{fffd}"),
            (r#"\ude00\ud83d\ud83d\ude00""#, "\u{fffd}\u{fffd}😀"),
        ] {
            let length = u64::try_from(meant.len()).unwrap();
            assert_eq!(read(text), Some((meant.to_owned(), length)), "{text}");
        }
        for text in ["\n\"", "\\x\"", "\\u12g4\"", "abc"] {
            assert_eq!(read(text), None, "{text}");
        }
        let long = format!("{}\"", "ä".repeat(200));
        assert_eq!(read(&long), Some(("ä".repeat(64), 400)));
    }
}
