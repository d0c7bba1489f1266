//! What a request's body says at a few places.

use crate::paths::{InvalidPath, Paths};
use crate::scanner::{Broken, Found, Place, Scanner};
use crate::text::Text;

/// Places in a request's body, by their numbers.
#[derive(Clone, Debug)]
pub struct Fields {
    paths: Paths,
    count: usize,
    /// Of which the text is kept, too.
    kept: Option<usize>,
}

/// What stands at a place. Of several, since a name may stand twice and a path may lead to many: the most of each kind, so that
/// nobody gets by with little who asks for much, whichever of them a backend goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Value {
    /// The largest number; an infinite one is too large to be told.
    pub number: Option<f64>,
    /// Elements of the longest list.
    pub elements: Option<u64>,
    /// Bytes of all texts together.
    pub text: Option<u64>,
    /// Whether there is a `true`; `None` without either.
    pub truth: Option<bool>,
    /// Members of the largest object.
    pub members: Option<u64>,
    /// Whether there is a `null`.
    pub null: bool,
    /// How many values stand there, of whatever kind.
    pub times: u32,
    /// Of how many of them all names stand there to the letter: a parser that is not lenient finds no others.
    pub exact: u32,
    /// Where the last of these begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
}

/// What was found in a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What stands at each of the places, in order.
    pub values: Vec<Value>,
    /// The text at the place whose text is [kept](Fields::keep), where there is one alone, of 128 bytes at most.
    pub kept: Option<Vec<u8>>,
    /// The object that the body is, if it is one: where it begins, and how many members it has.
    pub object: Option<(u64, u64)>,
    /// How many bytes the body has.
    pub bytes: u64,
}

impl Value {
    /// Whether one value stands there, and no parser finds it elsewhere, or another one.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.times == 1 && self.exact == 1
    }

    /// Whether a parser may find nothing there: one that reads names to the letter, or one that takes the `null` of several values.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.times > 0 && (self.exact == 0 || self.null && self.times > 1)
    }
}

/// Reads a body, chunk by chunk.
#[derive(Clone, Debug)]
pub struct Body {
    scanner: Scanner,
    values: Vec<Value>,
    kept: Option<Vec<u8>>,
    broken: bool,
    bytes: u64,
    /// Its first byte that is no white space, and where that is.
    first: Option<(u8, u64)>,
    /// The begin of a character whose rest has not come.
    begun: Begun,
}

/// The first bytes of a character in UTF-8.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    bytes: [u8; 4],
    length: usize,
}

impl Begun {
    /// Takes the next bytes; `false` where they are not UTF-8 (RFC 8259 section 8.1), which parsers make different things of.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while self.length > 0 {
            let Some((next, behind)) = rest.split_first() else {
                return true;
            };
            rest = behind;
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *next;
            }
            self.length = self.length.saturating_add(1);
            let begun = self.bytes.get(..self.length).unwrap_or_default();
            match std::str::from_utf8(begun) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_none() && self.length < 4 => {}
                Err(_) => return false,
            }
        }
        let Err(error) = std::str::from_utf8(rest) else {
            return true;
        };
        let begun = rest.get(error.valid_up_to()..).unwrap_or_default();
        for (place, byte) in self.bytes.iter_mut().zip(begun) {
            *place = *byte;
        }
        self.length = begun.len();
        error.error_len().is_none()
    }
}

impl Fields {
    /// Those at these paths, in order.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p str>) -> Result<Self, InvalidPath> {
        let paths: Vec<&str> = paths.into_iter().collect();
        Ok(Self {
            count: paths.len(),
            kept: None,
            paths: Paths::new(paths)?,
        })
    }

    /// Keeps the text that stands at the place of this number.
    #[must_use]
    pub const fn keep(mut self, place: usize) -> Self {
        self.kept = Some(place);
        self
    }

    /// A body of which nothing has come.
    #[must_use]
    pub fn body(&self) -> Body {
        Body {
            scanner: Scanner::default(),
            values: vec![Value::default(); self.count],
            kept: None,
            broken: false,
            bytes: 0,
            first: None,
            begun: Begun::default(),
        }
    }
}

impl Body {
    /// Takes the next bytes.
    pub fn feed(&mut self, fields: &Fields, bytes: &[u8]) {
        if self.first.is_none() {
            let at = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
            self.first = at.and_then(|at| {
                let before = u64::try_from(at).unwrap_or(u64::MAX);
                Some((*bytes.get(at)?, self.bytes.saturating_add(before)))
            });
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        self.broken = self.broken || !self.begun.take(bytes);
        if self.broken {
            return;
        }
        let (values, kept) = (&mut self.values, &mut self.kept);
        let fed = self
            .scanner
            .feed(&fields.paths, bytes, &mut |place, found| {
                if fields.kept == Some(place.path) {
                    keep(kept, found);
                }
                hear(values, place, found);
            });
        self.broken = fed.is_err();
    }

    /// All of it has come.
    ///
    /// # Errors
    /// [`Broken`]: it is no JSON that all parsers read alike, so that nothing is known of it.
    pub fn end(mut self, fields: &Fields) -> Result<Document, Broken> {
        let members = self.scanner.elements();
        // What is a value without an end of its own, a number, stands at no path.
        self.scanner.end(&fields.paths, &mut |_, _| {})?;
        if self.broken || self.begun.length > 0 {
            return Err(Broken);
        }
        let object = self.first.filter(|(byte, _)| *byte == b'{');
        let is_one = |kept: usize| self.values.get(kept).is_some_and(Value::is_plain);
        Ok(Document {
            kept: self.kept.filter(|_| fields.kept.is_some_and(is_one)),
            object: object.map(|(_, start)| (start, members)),
            bytes: self.bytes,
            values: self.values,
        })
    }

    /// How many bytes have come.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn keep(kept: &mut Option<Vec<u8>>, found: Found<'_>) {
    let whole = u64::try_from(Text::KEPT).unwrap_or(u64::MAX);
    *kept = match found {
        Found::Text(text, length) if length <= whole => Some(text.to_vec()),
        _ => None,
    };
}

fn hear(values: &mut [Value], place: Place, found: Found<'_>) {
    let Some(value) = values.get_mut(place.path) else {
        return;
    };
    value.times = value.times.saturating_add(1);
    if place.is_exact {
        value.exact = value.exact.saturating_add(1);
        (value.start, value.end) = (place.start, place.end);
    }
    match found {
        Found::Number(number) => {
            value.number = Some(value.number.map_or(number, |known| known.max(number)));
        }
        Found::List(elements) => value.elements = value.elements.max(Some(elements)),
        Found::Text(_, length) => {
            value.text = Some(value.text.unwrap_or(0).saturating_add(length));
        }
        Found::Truth(truth) => value.truth = Some(value.truth.unwrap_or(false) || truth),
        Found::Object(members) => value.members = value.members.max(Some(members)),
        Found::Null => value.null = true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: &[&str], body: &str) -> Result<Document, Broken> {
        let fields = Fields::new(paths.iter().copied()).unwrap();
        let read = |size: usize| {
            let mut reading = fields.body();
            for chunk in body.as_bytes().chunks(size) {
                reading.feed(&fields, chunk);
            }
            assert_eq!(reading.bytes(), body.len() as u64);
            reading.end(&fields)
        };
        let whole = read(body.len().max(1));
        for size in 1..body.len() {
            assert_eq!(read(size), whole, "by {size}: {body}");
        }
        whole
    }

    #[test]
    fn what_a_request_asks_for_is_the_most_that_it_may_be_taken_for() {
        let paths = [
            "max_tokens",
            "options.num_predict",
            "input",
            "stream",
            "messages.*.content",
        ];
        let body = r#"{"max_tokens":5,"MAX_TOKENS":900,"options":{"num_predict":-1},"stream":false,"stream":true,
            "input":["a","b","c"],"messages":[{"content":"Grüße"},{"content":[{"text":"x"}]},{"content":"ab"}]}"#;
        let Document { values, .. } = read(&paths, body).unwrap();
        assert_eq!((values[0].number, values[0].times), (Some(900.0), 2));
        assert_eq!((values[1].number, values[1].text), (Some(-1.0), None));
        assert_eq!(values[2].elements, Some(3));
        assert_eq!(values[3].truth, Some(true));
        assert_eq!((values[4].text, values[4].elements), (Some(9), Some(1)));
    }

    #[test]
    fn what_is_not_utf_8_is_no_json_wherever_it_is_cut() {
        let fields = Fields::new(["a"]).unwrap();
        for (body, is_good) in [
            (&"{\"a\":1,\"ä€😀\":2}".as_bytes().to_vec(), true),
            (&b"{\"a\xff\":1}".to_vec(), false),
            (&b"{\"\xc1\xa1\":1}".to_vec(), false),
            (&b"{\"x\":\"\xe2\x82\"}".to_vec(), false),
            (&b"{\"x\":\"\xf0\x9f\x98\"}".to_vec(), false),
            (&b"{\"x\":\"\xed\xa0\x80\"}".to_vec(), false),
            (&b"{\"a\":1}\xe2".to_vec(), false),
        ] {
            for size in 1..=body.len() {
                let mut reading = fields.body();
                body.chunks(size)
                    .for_each(|chunk| reading.feed(&fields, chunk));
                assert_eq!(reading.end(&fields).is_ok(), is_good, "{body:?} by {size}");
            }
        }
    }

    #[test]
    fn of_what_is_no_json_nothing_is_known() {
        for body in [
            "",
            "{",
            r#"{"max_tokens":5"#,
            r#"{"max_tokens":5}{"max_tokens":9}"#,
            r#"{'max_tokens':5}"#,
            r#"{"max_tokens":5,}"#,
            r#"{"max_tokens":NaN}"#,
            "{\"max_tokens\":5}\u{0}",
        ] {
            assert_eq!(read(&["max_tokens"], body), Err(Broken), "{body}");
        }
        let empty = read(&["max_tokens"], "{}").unwrap();
        assert_eq!(empty.values, [Value::default()]);
    }

    #[test]
    fn where_a_value_stands_is_told_wherever_the_body_is_cut() {
        let paths = ["n", "options.k", "options", "t", "b", "list"];
        let body = " {\"n\": -1.5e3 ,\"options\":{ \"k\":7},\"t\":\"ä\\\"\",\"b\":false,\"list\":[1, 2]}\n";
        let document = read(&paths, body).unwrap();
        let texts = document.values.iter().map(|value| {
            assert!(value.is_plain());
            &body[value.start as usize..value.end as usize]
        });
        let expected = ["-1.5e3", "7", "{ \"k\":7}", "\"ä\\\"\"", "false", "[1, 2]"];
        assert_eq!(texts.collect::<Vec<_>>(), expected);
        assert_eq!(document.object, Some((1, 5)));
        assert_eq!(document.values[2].members, Some(1));
        assert_eq!(read(&paths, "[{\"n\":1}]").unwrap().object, None);
        assert_eq!(read(&paths, "7").unwrap().object, None);
    }

    #[test]
    fn where_some_parsers_find_nothing_is_doubtful() {
        let paths = ["max_tokens", "options.k"];
        let read = |body: &str| read(&paths, body).unwrap().values;
        let doubts = |body: &str| {
            read(body)
                .iter()
                .map(Value::is_doubtful)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            doubts(r#"{"max_tokens":1,"options":{"k":1}}"#),
            [false, false]
        );
        assert_eq!(doubts(r#"{"max_tok\u0065ns":1}"#), [false, false]);
        assert_eq!(
            doubts(r#"{"Max_tokens":1,"options":{"K":1}}"#),
            [true, true]
        );
        assert_eq!(
            doubts(r#"{"MAX_TOKENS":1,"Options":{"k":1}}"#),
            [true, true]
        );
        let both = &read(r#"{"MAX_TOKENS":1,"max_tokens":2}"#)[0];
        assert!(!both.is_doubtful() && !both.is_plain());
        for nothing in [
            r#"{"max_tokens":1,"max_tokens":null}"#,
            r#"{"max_tokens":null,"max_tokens":1}"#,
            r#"{"MAX_TOKENS":1,"max_tokens":null}"#,
        ] {
            assert!(read(nothing)[0].is_doubtful(), "{nothing}");
        }
        assert!(!read(r#"{"max_tokens":null}"#)[0].is_doubtful());
    }

    #[test]
    fn a_text_is_kept_where_there_is_one_alone() {
        let fields = Fields::new(["a", "model"]).unwrap().keep(1);
        let kept = |body: &str| {
            let mut reading = fields.body();
            reading.feed(&fields, body.as_bytes());
            let kept = reading.end(&fields).unwrap().kept;
            kept.map(|kept| String::from_utf8(kept).unwrap())
        };
        assert_eq!(
            kept(r#"{"a":"x","model":"llama3.1:8b"}"#).as_deref(),
            Some("llama3.1:8b")
        );
        for none in [
            "{}".to_owned(),
            r#"{"model":7}"#.to_owned(),
            r#"{"model":"a","model":"b"}"#.to_owned(),
            r#"{"model":"a","MODEL":"b"}"#.to_owned(),
            r#"{"model":"a","model":null}"#.to_owned(),
            format!(r#"{{"model":"{}"}}"#, "x".repeat(129)),
        ] {
            assert_eq!(kept(&none), None, "{none}");
        }
    }
}
