//! The event of a stream that tells what was used, for a client that has not asked for it.

use crate::paths::{InvalidPath, Paths};
use crate::reader::{Framing, Reader, to_line_end};
use crate::scanner::{Found, Place};

/// Takes out of a stream of server-sent events the one that OpenAI sends where `stream_options.include_usage` is set: with no
/// choices, and what was used.
///
/// An event that has not come whole is kept back until it has, as long as it may be that one, which is no loss: no client does anything with
/// a part of one. What is no object, comments, and what is longer than [`Extra::LONGEST`] pass as they come.
#[derive(Clone, Debug)]
pub struct Extra {
    paths: Paths,
    reader: Reader,
    /// What has come of the event at hand, and has not passed.
    kept: Vec<u8>,
    /// Whether the event at hand passes as it comes.
    passes: bool,
    /// Whether the event at hand is the one that is looked for.
    is_it: bool,
    /// Whether the document at hand has no choices, and whether it says what was used.
    found: (bool, bool),
    /// Whether nothing has come of the line at hand.
    at_line_begin: bool,
    /// Whether it is a comment, before which nothing is kept.
    in_comment: bool,
    /// Whether the last byte was a carriage return, of which a line feed may be a part.
    after_return: bool,
    /// Whether the last event was taken out.
    took_out: bool,
}

impl Extra {
    /// So many bytes of an event are kept back at most.
    pub const LONGEST: usize = 16 * 1024;

    /// At the begin of a stream.
    ///
    /// # Errors
    /// None: a test holds it.
    pub fn new() -> Result<Self, InvalidPath> {
        Ok(Self {
            paths: Paths::new(["choices", "usage"])?,
            reader: Reader::new(Framing::Events),
            kept: Vec::new(),
            passes: false,
            is_it: false,
            found: (false, false),
            at_line_begin: true,
            in_comment: false,
            after_return: false,
            took_out: false,
        })
    }

    /// Takes the next bytes, and adds to `passing` what passes on in their place. `ends`: whether nothing follows. Whether that is
    /// something else than these bytes.
    pub fn take(&mut self, bytes: &[u8], ends: bool, passing: &mut Vec<u8>) -> bool {
        let mut differs = !self.kept.is_empty();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let is_rest_of_end = std::mem::take(&mut self.after_return) && *first == b'\n';
            let length = match is_rest_of_end {
                true => 1,
                false => {
                    let (line, from_end) = to_line_end(rest);
                    line.len().saturating_add(usize::from(!from_end.is_empty()))
                }
            };
            let Some((piece, behind)) = rest.split_at_checked(length) else {
                break;
            };
            rest = behind;
            differs |= match is_rest_of_end {
                true => self.take_rest_of_end(piece, passing),
                false => self.take_piece(piece, passing),
            };
        }
        if ends {
            differs |= self.end_event(passing, true);
        }
        differs || !self.kept.is_empty()
    }

    /// The line feed behind the carriage return of a line that has ended. Whether it is taken out.
    fn take_rest_of_end(&mut self, piece: &[u8], passing: &mut Vec<u8>) -> bool {
        let is_behind_event = self.kept.is_empty() && !self.passes;
        if !is_behind_event {
            self.keep(piece, passing);
            return false;
        }
        let _ = self.read(piece);
        if !self.took_out {
            passing.extend_from_slice(piece);
        }
        self.took_out
    }

    /// A line, or a part of one. Whether something is taken out with it.
    fn take_piece(&mut self, piece: &[u8], passing: &mut Vec<u8>) -> bool {
        let end = piece.last().filter(|byte| matches!(byte, b'\r' | b'\n'));
        let is_empty = self.at_line_begin && end.is_some() && piece.len() == 1;
        if self.at_line_begin {
            self.in_comment = piece.first() == Some(&b':') && self.kept.is_empty();
        }
        self.at_line_begin = end.is_some();
        self.after_return = end == Some(&b'\r');
        if self.in_comment && !self.passes {
            // It belongs to no event, and tells clients that the stream lives.
            let _ = self.read(piece);
            passing.extend_from_slice(piece);
            self.took_out = false;
            return false;
        }
        self.keep(piece, passing);
        is_empty && self.end_event(passing, false)
    }

    /// One more piece of the event at hand.
    fn keep(&mut self, piece: &[u8], passing: &mut Vec<u8>) {
        self.is_it |= self.read(piece);
        let is_long = self.kept.len().saturating_add(piece.len()) > Self::LONGEST;
        if !self.passes && (is_long || self.reader.is_no_object()) {
            self.passes = true;
            passing.append(&mut self.kept);
        }
        match self.passes {
            true => passing.extend_from_slice(piece),
            false => self.kept.extend_from_slice(piece),
        }
    }

    /// The event at hand has ended, or the stream has. Whether it is taken out.
    fn end_event(&mut self, passing: &mut Vec<u8>, is_last: bool) -> bool {
        if is_last {
            self.is_it |= self.told(|reader, paths, tell| reader.end(paths, tell));
        }
        let is_it = std::mem::take(&mut self.is_it);
        let passes = std::mem::take(&mut self.passes);
        self.took_out = is_it && !passes && !self.kept.is_empty();
        match self.took_out {
            true => self.kept.clear(),
            false => passing.append(&mut self.kept),
        }
        self.took_out
    }

    /// Reads a piece. Whether it has ended the event that is looked for.
    fn read(&mut self, piece: &[u8]) -> bool {
        self.told(|reader, paths, tell| reader.feed(paths, piece, tell))
    }

    fn told(
        &mut self,
        read: impl FnOnce(&mut Reader, &Paths, &mut dyn FnMut(Place, Found<'_>)),
    ) -> bool {
        let (mut has_none, mut has_usage) = self.found;
        let documents = self.reader.documents();
        let broken = self.reader.broken();
        read(
            &mut self.reader,
            &self.paths,
            &mut |place, found| match (place.path, found) {
                (CHOICES, Found::List(elements)) => has_none = elements == 0,
                (USAGE, Found::Object(_)) => has_usage = true,
                _ => {}
            },
        );
        let has_ended = self.reader.documents() > documents;
        self.found = match has_ended || self.reader.broken() > broken {
            true => (false, false),
            false => (has_none, has_usage),
        };
        has_ended && has_none && has_usage
    }
}

const CHOICES: usize = 0;
const USAGE: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
    const FILTERED: &str = "data: {\"choices\":[],\"usage\":null,\"prompt_filter_results\":[]}\n\n";
    const EXTRA: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn pass(stream: &str, cut: usize) -> String {
        let mut extra = Extra::new().unwrap();
        let mut passed = Vec::new();
        let chunks: Vec<&[u8]> = stream.as_bytes().chunks(cut.max(1)).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut passing = Vec::new();
            let ends = index + 1 == chunks.len();
            let differs = extra.take(chunk, ends, &mut passing);
            assert!(differs || passing == *chunk, "{stream:?} by {cut}");
            passed.extend(passing);
            assert!(extra.kept.len() <= Extra::LONGEST);
        }
        String::from_utf8(passed).unwrap()
    }

    #[track_caller]
    fn becomes(stream: &str, expected: &str) {
        for cut in 1..=stream.len() {
            assert_eq!(pass(stream, cut), expected, "{stream:?} by {cut}");
        }
    }

    #[test]
    fn the_event_that_tells_what_was_used_is_taken_out_and_nothing_else_wherever_it_is_cut() {
        let without = [FILTERED, ": ping\n\n", WORD, WORD, DONE].concat();
        let with = [FILTERED, ": ping\n\n", WORD, WORD, EXTRA, DONE].concat();
        for end in ["\n", "\r\n", "\r"] {
            let in_lines = |stream: &str| stream.replace('\n', end);
            becomes(&in_lines(&with), &in_lines(&without));
            becomes(&in_lines(&without), &in_lines(&without));
        }
    }

    #[test]
    fn a_stream_that_ends_in_the_middle_of_an_event_passes_whole() {
        for stream in [
            &WORD[..20],
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5}",
            "data: {\"choices\":[],\"usage\":{}} x\n\n",
            "event: x\ndata: {\"choices\":[{}],\"usage\":{}}\n\n",
            "\n\r\n\r",
        ] {
            becomes(stream, stream);
        }
        // One that is whole but for the empty line behind it is none that a client reads, and is taken out.
        becomes(&format!("{WORD}{}", EXTRA.trim_end()), WORD);
        becomes(
            &format!("{WORD}data: {{\"choices\":[],\ndata: \"usage\":{{}}}}\n\n{DONE}"),
            &format!("{WORD}{DONE}"),
        );
    }

    #[test]
    fn what_can_not_be_that_event_passes_at_once() {
        for parts in [
            &[": ping\n", ": pi", "ng\r\n", "\r\n"][..],
            &["data: [", "DONE]\n", "\n"],
            &["data: \"x", "\"\n\n"],
            &["data:tr", "ue\r\r"],
            &["data: {\"a\":1}}", "\n\n"],
            &[WORD, "data: [DONE]"],
            &["data: [DONE]\r\n\r", "\n"],
            &[WORD, DONE],
        ] {
            let mut extra = Extra::new().unwrap();
            for part in parts {
                let mut passing = Vec::new();
                let differs = extra.take(part.as_bytes(), false, &mut passing);
                assert!(
                    !differs || passing == part.as_bytes(),
                    "{part:?} of {parts:?}"
                );
            }
        }
    }

    #[test]
    fn an_event_that_is_too_long_passes_as_it_comes() {
        let long = format!(
            "data: {{\"x\":\"{}\",\"choices\":[],\"usage\":{{}}}}\n\n",
            "x".repeat(Extra::LONGEST)
        );
        let stream = format!("{long}{EXTRA}{WORD}");
        let expected = format!("{long}{WORD}");
        for cut in [1, 7, 1_000, stream.len()] {
            assert_eq!(pass(&stream, cut), expected, "by {cut}");
        }
    }
}
