//! What a request's body says at a few places.

use crate::paths::{InvalidPath, Paths};
use crate::scanner::{Broken, Found, Scanner};

/// Places in a request's body, by their numbers.
#[derive(Clone, Debug)]
pub struct Fields {
    paths: Paths,
    count: usize,
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
    /// Whether there is an object.
    pub object: bool,
}

/// Reads a body, chunk by chunk.
#[derive(Clone, Debug)]
pub struct Body {
    scanner: Scanner,
    values: Vec<Value>,
    broken: bool,
    bytes: u64,
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
            paths: Paths::new(paths)?,
        })
    }

    /// A body of which nothing has come.
    #[must_use]
    pub fn body(&self) -> Body {
        Body {
            scanner: Scanner::default(),
            values: vec![Value::default(); self.count],
            broken: false,
            bytes: 0,
            begun: Begun::default(),
        }
    }
}

impl Body {
    /// Takes the next bytes.
    pub fn feed(&mut self, fields: &Fields, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
        self.broken = self.broken || !self.begun.take(bytes);
        if self.broken {
            return;
        }
        let values = &mut self.values;
        let fed = self.scanner.feed(&fields.paths, bytes, &mut |path, found| {
            hear(values, path, found);
        });
        self.broken = fed.is_err();
    }

    /// All of it has come: what stands at each of the places, in order.
    ///
    /// # Errors
    /// [`Broken`]: it is no JSON that all parsers read alike, so that nothing is known of it.
    pub fn end(mut self, fields: &Fields) -> Result<Vec<Value>, Broken> {
        let values = &mut self.values;
        let ended = self.scanner.end(&fields.paths, &mut |path, found| {
            hear(values, path, found);
        });
        match self.broken || self.begun.length > 0 {
            true => Err(Broken),
            false => ended.map(|()| self.values),
        }
    }

    /// How many bytes have come.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn hear(values: &mut [Value], path: usize, found: Found<'_>) {
    let Some(value) = values.get_mut(path) else {
        return;
    };
    match found {
        Found::Number(number) => {
            value.number = Some(value.number.map_or(number, |known| known.max(number)));
        }
        Found::List(elements) => value.elements = value.elements.max(Some(elements)),
        Found::Text(_, length) => {
            value.text = Some(value.text.unwrap_or(0).saturating_add(length));
        }
        Found::Truth(truth) => value.truth = Some(value.truth.unwrap_or(false) || truth),
        Found::Object => value.object = true,
        Found::Null => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: &[&str], body: &str) -> Result<Vec<Value>, Broken> {
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
        let values = read(&paths, body).unwrap();
        let number = |number: f64| Value {
            number: Some(number),
            ..Value::default()
        };
        assert_eq!(values[0], number(900.0));
        assert_eq!(values[1], number(-1.0));
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
        assert_eq!(read(&["max_tokens"], "{}"), Ok(vec![Value::default()]));
    }
}
