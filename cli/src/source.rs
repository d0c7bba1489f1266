//! A file's text, and its lines.

use crate::document::Place;

/// A file.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was named.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// A line and a column, both from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Source {
    /// Where a byte stands.
    #[must_use]
    pub fn position(&self, byte: usize) -> Position {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let lines_above = before.matches('\n').count();
        Position {
            line: lines_above.saturating_add(1),
            column: line.chars().count().saturating_add(1),
        }
    }

    /// The line of a place's beginning.
    #[must_use]
    pub fn line_of(&self, place: Place) -> usize {
        self.position(place.start).line
    }

    /// A place that can be shown: within the text, and on one line.
    #[must_use]
    pub fn on_one_line(&self, place: Place) -> Place {
        let start = place.start.min(self.text.len());
        let shown = self.text.get(start..place.end).unwrap_or_default();
        let first = shown.lines().next().unwrap_or_default().trim_end();
        Place {
            start,
            end: start.saturating_add(first.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_has_a_line_and_a_column_of_characters() {
        let text = "a\n\né: x\n".to_owned();
        let source = Source {
            name: "f".into(),
            text,
        };
        for (byte, line, column) in [
            (0, 1, 1),
            (1, 1, 2),
            (2, 2, 1),
            (3, 3, 1),
            (5, 3, 2),
            (9, 4, 1),
            (99, 4, 1),
        ] {
            assert_eq!(source.position(byte), Position { line, column }, "{byte}");
        }
        let shown = source.on_one_line(Place { start: 3, end: 99 });
        assert_eq!(shown, Place { start: 3, end: 3 });
    }
}
