//! Documents in a body: one alone, one in each line, or one in each server-sent event.

use crate::paths::Paths;
use crate::scanner::{Found, Place, Scanner};

/// How documents lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The body is one. Where that is a list, its elements are documents.
    Whole,
    /// Each line is one (`application/x-ndjson`, `application/jsonl`).
    Lines,
    /// The data of each event is one (`text/event-stream`; HTML, section 9.2.6).
    Events,
}

/// Reads the documents of a body in chunks.
///
/// One that is broken is passed over, and counted; what it has told before stays told.
#[derive(Clone, Debug)]
pub struct Reader {
    framing: Framing,
    scanner: Scanner,
    line: Line,
    /// Whether the last byte was a carriage return, of which a line feed may be a part.
    after_return: bool,
    /// Whether the document at hand is broken.
    skips: bool,
    documents: u64,
    broken: u64,
}

/// Where in a line an event stream is.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// At its begin; whether it is the first of the body, before which a byte order mark may stand.
    Begin { mark: usize, first: bool },
    /// In its field's name, so much of `data` having come.
    Name(usize),
    /// Behind the colon of `data`, where a space may follow.
    Space,
    /// In its data.
    Data,
    /// In one that says nothing here.
    Other,
}

const DATA: &[u8] = b"data";
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Framing {
    /// How documents lie in a body of that media type; `None` where there are none.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let media = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let is = |name: &str| media.eq_ignore_ascii_case(name.as_bytes());
        if is("text/event-stream") {
            Some(Self::Events)
        } else if is("application/x-ndjson")
            || is("application/ndjson")
            || is("application/jsonl")
            || is("application/x-jsonlines")
            || is("application/stream+json")
        {
            Some(Self::Lines)
        } else if is("application/json")
            || media
                .split_last_chunk::<5>()
                .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case(b"+json"))
        {
            Some(Self::Whole)
        } else {
            None
        }
    }
}

impl Reader {
    /// At the begin of a body.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            scanner: match framing {
                Framing::Whole => Scanner::opening_lists(),
                Framing::Lines | Framing::Events => Scanner::default(),
            },
            line: Line::Begin {
                mark: 0,
                first: true,
            },
            after_return: false,
            skips: false,
            documents: 0,
            broken: 0,
        }
    }

    /// How documents lie in the body.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the document at hand has begun, and is none that is an object.
    #[must_use]
    pub const fn is_no_object(&self) -> bool {
        self.skips || self.scanner.is_no_object()
    }

    /// How many documents have ended that were not broken.
    #[must_use]
    pub const fn documents(&self) -> u64 {
        self.documents
    }

    /// How many were broken.
    #[must_use]
    pub const fn broken(&self) -> u64 {
        self.broken
    }

    /// Takes the next bytes of the body. `tell` hears of each value at one of the paths.
    pub fn feed(&mut self, paths: &Paths, bytes: &[u8], tell: &mut dyn FnMut(Place, Found<'_>)) {
        match self.framing {
            Framing::Whole => self.read(paths, bytes, tell),
            Framing::Lines => {
                let mut lines = bytes.split(|byte| *byte == b'\n');
                if let Some(first) = lines.next() {
                    self.read(paths, first, tell);
                }
                for line in lines {
                    self.end_document(paths, tell);
                    self.read(paths, line, tell);
                }
            }
            Framing::Events => self.feed_events(paths, bytes, tell),
        }
    }

    /// The body has ended. An event that is not ended by an empty line is none, as in a browser; but the last one of a stream
    /// that was broken off counts here, if it is whole.
    pub fn end(&mut self, paths: &Paths, tell: &mut dyn FnMut(Place, Found<'_>)) {
        self.end_document(paths, tell);
    }

    fn feed_events(&mut self, paths: &Paths, bytes: &[u8], tell: &mut dyn FnMut(Place, Found<'_>)) {
        let mut rest = bytes;
        while let Some((byte, behind)) = rest.split_first() {
            if std::mem::take(&mut self.after_return) && *byte == b'\n' {
                rest = behind;
                continue;
            }
            if matches!(byte, b'\r' | b'\n') {
                self.after_return = *byte == b'\r';
                self.end_line(paths, tell);
                rest = behind;
                continue;
            }
            match self.line {
                Line::Data => {
                    let (data, from_end) = to_line_end(rest);
                    self.read(paths, data, tell);
                    rest = from_end;
                    continue;
                }
                Line::Space => {
                    self.line = Line::Data;
                    if *byte != b' ' {
                        continue;
                    }
                }
                Line::Begin { mark, first } => {
                    let of_mark = MARK.get(mark) == Some(byte);
                    match (first && of_mark, mark) {
                        (true, _) => {
                            let mark = mark.saturating_add(1);
                            self.line = match mark == MARK.len() {
                                true => Line::Begin {
                                    mark: 0,
                                    first: false,
                                },
                                false => Line::Begin { mark, first },
                            };
                        }
                        (false, 0) => {
                            self.line = Line::Name(0);
                            continue;
                        }
                        (false, _) => self.line = Line::Other,
                    }
                }
                Line::Name(read) => {
                    self.line = match (DATA.get(read), byte) {
                        (Some(next), byte) if next == byte => Line::Name(read.saturating_add(1)),
                        (None, b':') => Line::Space,
                        _ => Line::Other,
                    };
                }
                Line::Other => {
                    (_, rest) = to_line_end(rest);
                    continue;
                }
            }
            rest = behind;
        }
    }

    /// A line of an event stream has ended.
    fn end_line(&mut self, paths: &Paths, tell: &mut dyn FnMut(Place, Found<'_>)) {
        let line = std::mem::replace(
            &mut self.line,
            Line::Begin {
                mark: 0,
                first: false,
            },
        );
        match line {
            // An empty one ends the event.
            Line::Begin { mark: 0, .. } => self.end_document(paths, tell),
            // Lines of data are joined by line feeds.
            Line::Data | Line::Space => self.read(paths, b"\n", tell),
            Line::Begin { .. } | Line::Name(_) | Line::Other => {}
        }
    }

    fn read(&mut self, paths: &Paths, bytes: &[u8], tell: &mut dyn FnMut(Place, Found<'_>)) {
        if self.skips {
            return;
        }
        if self.scanner.feed(paths, bytes, tell).is_err() {
            self.skips = true;
        }
    }

    fn end_document(&mut self, paths: &Paths, tell: &mut dyn FnMut(Place, Found<'_>)) {
        let skips = std::mem::take(&mut self.skips);
        if !skips && self.scanner.is_at_begin() {
            // There was none.
            return;
        }
        let whole = self.scanner.end(paths, tell).is_ok() && !skips;
        let count = match whole {
            true => &mut self.documents,
            false => &mut self.broken,
        };
        *count = count.saturating_add(1);
    }
}

/// What of it belongs to the line at hand, and the rest, from the line's end on.
pub(crate) fn to_line_end(bytes: &[u8]) -> (&[u8], &[u8]) {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let end = bytes.iter().position(is_end).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_in(framing: Framing, body: &[u8], cut: usize) -> (Vec<String>, u64, u64) {
        let paths = Paths::new(["a", "b.*.c"]).unwrap();
        let mut reader = Reader::new(framing);
        let mut told = Vec::new();
        let mut tell =
            |place: Place, found: Found<'_>| told.push(format!("{} {found:?}", place.path));
        let mut rest = body;
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(cut.min(rest.len()));
            reader.feed(&paths, chunk, &mut tell);
            rest = behind;
        }
        reader.end(&paths, &mut tell);
        (told, reader.documents(), reader.broken())
    }

    /// The numbers at `a`, how many documents there are, and how many broken ones, however the body is cut.
    fn read(framing: Framing, body: &str) -> (String, u64, u64) {
        let whole = read_in(framing, body.as_bytes(), usize::MAX);
        for cut in 1..body.len() {
            assert_eq!(
                read_in(framing, body.as_bytes(), cut),
                whole,
                "{body:?} by {cut}"
            );
        }
        let (told, documents, broken) = whole;
        let told: Vec<_> = told
            .iter()
            .map(|told| told.trim_start_matches("0 Number("))
            .map(|told| told.trim_end_matches(".0)"))
            .collect();
        (told.join(" "), documents, broken)
    }

    #[test]
    fn an_event_is_the_data_of_its_lines_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let body = [
                ": a comment",
                "",
                "data: {\"a\":1}",
                "",
                "event: message",
                "data:{\"a\":",
                "data: 2}",
                "id: 7",
                "",
                "",
                "datas: {\"a\":9}",
                "data",
                "dat: {\"a\":9}",
                "",
                "data: [DONE]",
                "",
                "data: {\"a\":3}",
                "",
                "",
            ]
            .join(end);
            assert_eq!(read(Framing::Events, &body), ("1 2 3".to_owned(), 3, 1));
            let marked = format!("\u{feff}{body}");
            assert_eq!(read(Framing::Events, &marked), ("1 2 3".to_owned(), 3, 1));
        }
    }

    #[test]
    fn a_stream_that_breaks_off_tells_what_was_whole() {
        assert_eq!(
            read(Framing::Events, "data: {\"a\":1}\n\ndata: {\"a\":2}"),
            ("1 2".to_owned(), 2, 0)
        );
        assert_eq!(
            read(Framing::Events, "data: {\"a\":1}\n\ndata: {\"a\":2"),
            ("1".to_owned(), 1, 1)
        );
        assert_eq!(
            read(Framing::Lines, "{\"a\":1}\n{\"a\":2"),
            ("1".to_owned(), 1, 1)
        );
    }

    #[test]
    fn a_line_is_a_document_and_an_empty_one_is_none() {
        assert_eq!(
            read(Framing::Lines, "{\"a\":1}\r\n\n  \n{\"a\":2}\nx\n{\"a\":3}"),
            ("1 2 3".to_owned(), 3, 1)
        );
    }

    #[test]
    fn a_body_is_a_document() {
        assert_eq!(
            read(Framing::Whole, "{\n\"a\": 1\n}\n"),
            ("1".to_owned(), 1, 0)
        );
        assert_eq!(
            read(Framing::Whole, "[{\"a\": 1},\r\n{\"a\": 2}]"),
            ("1 2".to_owned(), 1, 0)
        );
        assert_eq!(read(Framing::Whole, ""), (String::new(), 0, 0));
        assert_eq!(read(Framing::Whole, "{} {}").1, 0);
    }

    #[test]
    fn the_media_type_says_how_documents_lie() {
        for (media, framing) in [
            ("text/event-stream", Some(Framing::Events)),
            ("Text/Event-Stream; charset=utf-8", Some(Framing::Events)),
            ("application/x-ndjson", Some(Framing::Lines)),
            ("application/json;charset=UTF-8", Some(Framing::Whole)),
            ("application/problem+json", Some(Framing::Whole)),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(Framing::of(media.as_bytes()), framing, "{media}");
        }
    }
}
