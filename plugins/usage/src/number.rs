//! Numbers, byte by byte (RFC 8259 section 6).

/// A number as far as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    part: Part,
    digits: [u8; Number::LONGEST],
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// What is longer is read, and not kept.
    const LONGEST: usize = 48;

    /// The number that begins so; `None` where none does.
    pub(crate) fn begin(byte: u8) -> Option<Self> {
        let part = match byte {
            b'-' => Part::Minus,
            b'0' => Part::Zero,
            b'1'..=b'9' => Part::Whole,
            _ => return None,
        };
        let mut number = Self {
            part,
            digits: [0; Self::LONGEST],
            length: 0,
        };
        number.keep(byte);
        Some(number)
    }

    /// Takes one more byte; `false` where it is none of the number's.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let next = match (self.part, byte) {
            (Part::Minus, b'0') => Part::Zero,
            (Part::Minus, b'1'..=b'9') | (Part::Whole, b'0'..=b'9') => Part::Whole,
            (Part::Zero | Part::Whole, b'.') => Part::Point,
            (Part::Point | Part::Fraction, b'0'..=b'9') => Part::Fraction,
            (Part::Zero | Part::Whole | Part::Fraction, b'e' | b'E') => Part::Exponent,
            (Part::Exponent, b'+' | b'-') => Part::ExponentSign,
            (Part::Exponent | Part::ExponentSign | Part::ExponentDigits, b'0'..=b'9') => {
                Part::ExponentDigits
            }
            _ => return false,
        };
        self.part = next;
        self.keep(byte);
        true
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.digits.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    /// The number, which has ended; `None` where it may not end here. One that is too long to be kept is as large as can be.
    pub(crate) fn end(&self) -> Option<f64> {
        match self.part {
            Part::Zero | Part::Whole | Part::Fraction | Part::ExponentDigits => {}
            Part::Minus | Part::Point | Part::Exponent | Part::ExponentSign => return None,
        }
        let Some(digits) = self.digits.get(..self.length) else {
            return Some(f64::INFINITY);
        };
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<f64> {
        let mut bytes = text.bytes();
        let mut number = Number::begin(bytes.next()?)?;
        bytes.all(|byte| number.take(byte)).then_some(())?;
        number.end()
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (text, number) in [
            ("0", 0.0),
            ("-0.5e+2", -50.0),
            ("12", 12.0),
            ("1E3", 1000.0),
            ("9007199254740993", 9_007_199_254_740_993.0),
        ] {
            assert_eq!(read(text), Some(number), "{text}");
        }
        for text in [
            "-", "01", "1.", ".5", "1e", "1e+", "+1", "1a", "--1", "0x1", "1.e1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"9".repeat(1000)), Some(f64::INFINITY));
    }
}
