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
        }
    }
}

impl Body {
    /// Takes the next bytes.
    pub fn feed(&mut self, fields: &Fields, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(length);
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
        match self.broken {
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
