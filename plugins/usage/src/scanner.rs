//! JSON (RFC 8259), byte by byte.

use crate::number::Number;
use std::ops::Range;

use crate::paths::{Paths, has, numbers};
use crate::text::{Taken, Text};

/// Reads one JSON document in chunks, and says what stands at [`Paths`].
///
/// It takes what RFC 8259 calls JSON and nothing else: what two parsers could read differently is [`Broken`]. Of a name that stands
/// twice in an object both values are told.
#[derive(Clone, Debug)]
pub struct Scanner {
    expect: Expect,
    /// How many objects and lists are open.
    depth: usize,
    /// Of the open ones, which are objects: the innermost is the lowest bit.
    objects: u128,
    /// Of the open ones, from outside on: which paths lead to them or on from them.
    leading: [Leading; Paths::DEEPEST + 1],
    /// The paths of the value that comes.
    here: Leading,
    /// How many elements, or members, they have.
    elements: [u64; Paths::DEEPEST + 1],
    /// Where they begin.
    starts: [u64; Paths::DEEPEST + 1],
    /// Where the byte at hand stands in the document.
    at: u64,
    /// Where a value begins that is no list and no object.
    begun: u64,
    /// Whether the elements of a list that is the document are documents themselves.
    opens_lists: bool,
    /// 1 within such a list: paths begin at its elements.
    base: usize,
}

#[derive(Clone, Debug)]
enum Expect {
    Value,
    /// The first element of a list, or its end.
    Element,
    /// The first name of an object, or its end.
    NameOrEnd,
    Name,
    Colon,
    /// What is behind a value.
    Next,
    /// A string: a name, or a value.
    Text {
        is_name: bool,
        text: Text,
    },
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8], Word),
    /// Nothing but white space.
    Nothing,
    Broken,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    True,
    False,
    Null,
}

/// Paths that lead somewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Leading {
    /// As the most lenient parser reads names.
    any: u64,
    /// Those of them all of whose names stand there to the letter.
    exact: u64,
}

impl Leading {
    fn all(paths: &Paths) -> Self {
        Self {
            any: paths.all(),
            exact: paths.all(),
        }
    }
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// At the path of this number.
    pub path: usize,
    /// Whether all names stand there to the letter: a parser that is not lenient finds nothing else.
    pub is_exact: bool,
    /// Its first byte in the document.
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'t> {
    /// A number; an infinite one is too large, or too long, to be told.
    Number(f64),
    /// A string: its first bytes, 128 at most, and its length in bytes of UTF-8.
    Text(&'t [u8], u64),
    /// `true` or `false`.
    Truth(bool),
    /// `null`.
    Null,
    /// A list of so many elements, told at its end.
    List(u64),
    /// An object of so many members, told at its end.
    Object(u64),
}

/// It is no JSON, or too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Default for Scanner {
    fn default() -> Self {
        Self {
            expect: Expect::Value,
            depth: 0,
            objects: 0,
            leading: [Leading::default(); Paths::DEEPEST + 1],
            here: Leading::default(),
            elements: [0; Paths::DEEPEST + 1],
            starts: [0; Paths::DEEPEST + 1],
            at: 0,
            begun: 0,
            opens_lists: false,
            base: 0,
        }
    }
}

impl Scanner {
    /// So deep lists and objects may lie in each other.
    pub const DEEPEST: usize = 128;

    /// One to which the elements of a list that is the document are documents.
    #[must_use]
    pub fn opening_lists() -> Self {
        Self {
            opens_lists: true,
            ..Self::default()
        }
    }

    /// Takes the next bytes of the document. `tell` hears of each value at one of the paths.
    ///
    /// # Errors
    /// [`Broken`], from then on always.
    pub fn feed(
        &mut self,
        paths: &Paths,
        bytes: &[u8],
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) -> Result<(), Broken> {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            if let Expect::Text { text, .. } = &mut self.expect
                && text.is_plain()
            {
                let plain = Text::plain(rest);
                if let Some((ordinary, special)) = rest.split_at_checked(plain)
                    && plain > 0
                {
                    text.take_plain(ordinary);
                    self.pass(plain);
                    rest = special;
                    continue;
                }
            }
            if !self.take(paths, *byte, tell) {
                self.expect = Expect::Broken;
                return Err(Broken);
            }
            self.pass(1);
            rest = behind;
        }
        Ok(())
    }

    fn pass(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(bytes);
    }

    /// The document has ended, and another may begin.
    ///
    /// # Errors
    /// [`Broken`]: it was not whole.
    pub fn end(
        &mut self,
        paths: &Paths,
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) -> Result<(), Broken> {
        // A number ends with what is no part of it; one that was broken off may be a part of another.
        let whole = self.depth == 0
            && self.take(paths, b' ', tell)
            && matches!(self.expect, Expect::Nothing);
        *self = Self {
            opens_lists: self.opens_lists,
            ..Self::default()
        };
        match whole {
            true => Ok(()),
            false => Err(Broken),
        }
    }

    /// Whether the document at hand has begun, and is no object.
    #[must_use]
    pub const fn is_no_object(&self) -> bool {
        match self.expect {
            Expect::Broken => true,
            // Behind the document, or before it.
            Expect::Nothing | Expect::Value if self.depth == 0 => false,
            _ => self.depth == 0 || self.depth == 1 && !self.is_in_object(),
        }
    }

    /// How many elements, or members, the list or object has that is the document, so far.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements.first().copied().unwrap_or(0)
    }

    /// Whether nothing of a document has come.
    #[must_use]
    pub const fn is_at_begin(&self) -> bool {
        matches!(self.expect, Expect::Value) && self.depth == 0
    }

    /// Takes a byte; `false` where it may not stand there.
    fn take(&mut self, paths: &Paths, byte: u8, tell: &mut dyn FnMut(Place, Found<'_>)) -> bool {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match &mut self.expect {
            Expect::Text { is_name, text } => match text.take(byte) {
                Taken::More => true,
                Taken::Wrong => false,
                Taken::End => {
                    let is_name = *is_name;
                    let text = std::mem::replace(text, Text::begin());
                    self.end_text(paths, is_name, &text, tell);
                    true
                }
            },
            Expect::Number(number) => {
                if number.take(byte) {
                    return true;
                }
                let Some(number) = number.end() else {
                    return false;
                };
                // The byte at hand is no part of it any more.
                self.tell(paths, Found::Number(number), self.begun..self.at, tell);
                self.take(paths, byte, tell)
            }
            Expect::Word(rest, word) => match rest.split_first() {
                Some((next, rest)) if *next == byte => {
                    let word = *word;
                    if rest.is_empty() {
                        let found = match word {
                            Word::True => Found::Truth(true),
                            Word::False => Found::Truth(false),
                            Word::Null => Found::Null,
                        };
                        self.end_value(paths, found, self.begun, tell);
                    } else {
                        self.expect = Expect::Word(rest, word);
                    }
                    true
                }
                Some(_) | None => false,
            },
            Expect::Broken => false,
            _ if is_space => true,
            Expect::Nothing => false,
            Expect::Value => self.begin_value(paths, byte),
            Expect::Element if byte == b']' => self.close(paths, false, tell),
            Expect::Element => self.begin_value(paths, byte),
            Expect::NameOrEnd if byte == b'}' => self.close(paths, true, tell),
            Expect::NameOrEnd | Expect::Name => {
                self.expect = Expect::Text {
                    is_name: true,
                    text: Text::begin(),
                };
                byte == b'"'
            }
            Expect::Colon => {
                self.expect = Expect::Value;
                byte == b':'
            }
            Expect::Next => match (byte, self.is_in_object()) {
                (b',', true) => {
                    self.expect = Expect::Name;
                    true
                }
                (b',', false) => {
                    self.expect = Expect::Value;
                    self.begin_element(paths);
                    true
                }
                (b'}', true) => self.close(paths, true, tell),
                (b']', false) => self.close(paths, false, tell),
                _ => false,
            },
        }
    }

    const fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// How many steps of a path lead to what comes next.
    const fn steps(&self) -> usize {
        self.depth.saturating_sub(self.base)
    }

    /// The paths that lead into what is innermost.
    fn leading(&self) -> Leading {
        let innermost = self.steps().checked_sub(1);
        innermost
            .and_then(|at| self.leading.get(at).copied())
            .unwrap_or_default()
    }

    fn begin_value(&mut self, paths: &Paths, byte: u8) -> bool {
        if self.depth == 0 {
            self.here = Leading::all(paths);
        }
        self.begun = self.at;
        self.expect = match byte {
            b'{' => return self.open(true),
            b'[' => {
                let opened = self.open(false);
                self.begin_element(paths);
                return opened;
            }
            b'"' => Expect::Text {
                is_name: false,
                text: Text::begin(),
            },
            b't' => Expect::Word(b"rue", Word::True),
            b'f' => Expect::Word(b"alse", Word::False),
            b'n' => Expect::Word(b"ull", Word::Null),
            _ => match Number::begin(byte) {
                Some(number) => Expect::Number(number),
                None => return false,
            },
        };
        self.count_element();
        true
    }

    /// An element of a list comes next, if the list does not end.
    fn begin_element(&mut self, paths: &Paths) {
        self.here = match self.steps() {
            0 => Leading::all(paths),
            steps => {
                let leading = self.leading();
                let each = |some| paths.each(some, steps.saturating_sub(1));
                Leading {
                    any: each(leading.any),
                    exact: each(leading.exact),
                }
            }
        };
    }

    /// The value that begins is one more element, where it is in a list.
    fn count_element(&mut self) {
        if !self.is_in_object() {
            self.count_one();
        }
    }

    /// What is innermost has one more.
    fn count_one(&mut self) {
        if let Some(innermost) = self.steps().checked_sub(1)
            && let Some(elements) = self.elements.get_mut(innermost)
        {
            *elements = elements.saturating_add(1);
        }
    }

    fn open(&mut self, is_object: bool) -> bool {
        if self.depth >= Self::DEEPEST {
            return false;
        }
        self.count_element();
        if self.depth == 0 && self.opens_lists && !is_object {
            self.base = 1;
        } else {
            let steps = self.steps();
            if let Some(leading) = self.leading.get_mut(steps) {
                *leading = self.here;
            }
            if let Some(elements) = self.elements.get_mut(steps) {
                *elements = 0;
            }
            if let Some(start) = self.starts.get_mut(steps) {
                *start = self.at;
            }
        }
        self.here = Leading::default();
        self.depth = self.depth.saturating_add(1);
        self.objects = self.objects.wrapping_shl(1) | u128::from(is_object);
        self.expect = match is_object {
            true => Expect::NameOrEnd,
            false => Expect::Element,
        };
        true
    }

    fn close(
        &mut self,
        paths: &Paths,
        is_object: bool,
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) -> bool {
        if self.depth == 0 || self.is_in_object() != is_object {
            return false;
        }
        self.here = self.leading();
        self.depth = self.depth.saturating_sub(1);
        self.objects = self.objects.wrapping_shr(1);
        let of_this = |all: &[u64]| all.get(self.steps()).copied().unwrap_or(0);
        let (elements, start) = (of_this(&self.elements), of_this(&self.starts));
        let found = match is_object {
            true => Found::Object(elements),
            false => Found::List(elements),
        };
        self.end_value(paths, found, start, tell);
        true
    }

    fn end_text(
        &mut self,
        paths: &Paths,
        is_name: bool,
        text: &Text,
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) {
        if !is_name {
            let found = Found::Text(text.start(), text.length());
            return self.end_value(paths, found, self.begun, tell);
        }
        self.count_one();
        let leading = self.leading();
        let is_whole = text.length() <= u64::try_from(Text::KEPT).unwrap_or(0);
        self.here = match leading.any != 0 && is_whole {
            true => {
                let depth = self.steps().saturating_sub(1);
                Leading {
                    any: paths.named(leading.any, depth, text.start()),
                    exact: paths.named_exactly(leading.exact, depth, text.start()),
                }
            }
            false => Leading::default(),
        };
        self.expect = Expect::Colon;
    }

    /// A value has ended with the byte at hand.
    fn end_value(
        &mut self,
        paths: &Paths,
        found: Found<'_>,
        start: u64,
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) {
        self.tell(paths, found, start..self.at.saturating_add(1), tell);
    }

    fn tell(
        &mut self,
        paths: &Paths,
        found: Found<'_>,
        Range { start, end }: Range<u64>,
        tell: &mut dyn FnMut(Place, Found<'_>),
    ) {
        for path in numbers(paths.ending(self.here.any, self.steps())) {
            let is_exact = has(self.here.exact, path);
            tell(
                Place {
                    path,
                    is_exact,
                    start,
                    end,
                },
                found,
            );
        }
        self.expect = match self.depth {
            0 => Expect::Nothing,
            _ => Expect::Next,
        };
    }
}

#[cfg(test)]
mod tests;
