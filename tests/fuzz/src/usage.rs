//! Target `usage`: what is read out of an answer is the same however it is cut, and JSON is what a parser says that it is.
//!
//! The first byte says how documents lie in the body, the second how long its chunks are.

use portcullis_usage::{Counts, Extra, Framing, Meter, Paths, Reader, Vendors};
use serde_json::Value;
use std::sync::LazyLock;

const MEDIA: [(&[u8], Framing); 3] = [
    (b"application/json", Framing::Whole),
    (b"application/x-ndjson", Framing::Lines),
    (b"text/event-stream", Framing::Events),
];

static VENDORS: LazyLock<Vendors> = LazyLock::new(|| Vendors::known().expect("paths"));

/// An input that tells what was used.
pub fn good() -> &'static [u8] {
    b"\0\x03{\"usage\":{\"completion_tokens\":7}}"
}

/// Tries an input; true where it tells how long the answer was.
pub fn check(input: &[u8]) -> bool {
    let [kind, size, body @ ..] = input else {
        return false;
    };
    let (media, framing) = MEDIA[usize::from(*kind) % MEDIA.len()];
    let whole = read(media, body, body.len());
    assert_eq!(
        whole,
        read(media, body, usize::from(*size)),
        "cut otherwise"
    );
    match framing {
        Framing::Whole => hold(body),
        Framing::Lines => {}
        Framing::Events => trim(body, usize::from(*size).max(1)),
    }
    whole.output.is_some()
}

fn read(media: &[u8], body: &[u8], size: usize) -> Counts {
    let mut meter = Meter::of(media, b"");
    for chunk in body.chunks(size.max(1)) {
        meter.feed(&VENDORS, chunk);
    }
    meter.end(&VENDORS);
    meter.counts()
}

/// Of a stream the same passes however it is cut, in its order, and all of it where nothing is told of a use.
fn trim(body: &[u8], size: usize) {
    let passed = |size: usize| {
        let mut extra = Extra::new().expect("paths");
        let mut passed = Vec::new();
        let last = body.chunks(size).count().saturating_sub(1);
        for (number, chunk) in body.chunks(size).enumerate() {
            let mut passing = Vec::new();
            match extra.take(chunk, number == last, &mut passing) {
                true => passed.extend(passing),
                false => passed.extend(chunk),
            }
        }
        passed
    };
    let whole = passed(body.len().max(1));
    assert_eq!(whole, passed(size), "cut otherwise");
    let mut rest = body.iter();
    assert!(
        whole.iter().all(|byte| rest.any(|known| known == byte)),
        "something passes that has not come"
    );
}

/// Holds what is a document here to what is one for a parser.
fn hold(body: &[u8]) {
    let paths = Paths::new(["a"]).expect("a path");
    let mut reader = Reader::new(Framing::Whole);
    reader.feed(&paths, body, &mut |_, _| {});
    reader.end(&paths, &mut |_, _| {});
    let is_one = reader.documents() == 1;
    match serde_json::from_slice::<Value>(body) {
        Ok(_) => assert!(is_one, "a parser takes it"),
        // What is no text, half a surrogate pair, a number that is too large and more than 127 levels we take and it does not.
        Err(error) if error.is_syntax() => {
            let why = error.to_string();
            let ours = [
                "surrogate",
                "hex escape",
                "out of range",
                "recursion",
                "unicode",
            ];
            assert!(
                !is_one || ours.iter().any(|known| why.contains(known)),
                "{why}"
            );
        }
        Err(_) => assert!(
            !is_one || std::str::from_utf8(body).is_err(),
            "no parser takes it"
        ),
    }
}
