//! Headers as one buffer and an index, so that reading them costs two allocations however many
//! there are, and asking for one that is not there next to nothing.

use crate::spelling::{Mark, Marks, spelled_like};

/// A list of header lines in the order in which they arrived. Names compare without case.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    marks: Marks,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: (usize, usize),
    value: (usize, usize),
    mark: Mark,
}

/// A header that must be there at most once came several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicated;

impl Headers {
    /// Takes over `bytes`, in which there are `count` lines, or about so many; see [`Self::push`].
    #[must_use]
    pub fn from_buffer(bytes: Vec<u8>, count: usize) -> Self {
        Self {
            bytes,
            entries: Vec::with_capacity(count),
            marks: Marks::default(),
        }
    }

    /// Adds a line, whose name and value stand at these ranges `(start, end)` of the buffer. A range that lies outside of
    /// it reads as empty.
    pub fn push(&mut self, name: (usize, usize), value: (usize, usize)) {
        let mark = Mark::of(self.slice(name));
        self.marks.insert(mark);
        self.entries.push(Entry { name, value, mark });
    }

    /// Adds a line, behind what is in the buffer.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let mark = Mark::of(name);
        self.marks.insert(mark);
        let (name, value) = (self.append(name), self.append(value));
        self.entries.push(Entry { name, value, mark });
    }

    /// What it was made from.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        &self.bytes
    }

    /// Copies pairs of name and value.
    #[must_use]
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.add(name.as_ref(), value.as_ref());
        }
        headers
    }

    /// Every header line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .map(|entry| (self.slice(entry.name), self.slice(entry.value)))
    }

    /// How many header lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no header line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first value under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The names of what the next hop drops (RFC 9110 section 7.6.1): what `connection` lists, as it was written.
    pub fn named_hop_by_hop(&self) -> impl Iterator<Item = &[u8]> {
        let lists = self.values("connection");
        let names = lists.flat_map(|list| list.split(|byte| *byte == b','));
        names.map(<[u8]>::trim_ascii)
    }

    /// All values under `name`, in order.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.marked(Mark::of(name.as_bytes()))
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Every line that a backend could take for one of `name`, which is in lower case, with hyphens; see [`spelled_like`].
    pub fn spelled_like<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.marked(Mark::of(name.as_bytes()))
            .filter(move |(found, _)| spelled_like(found, name))
    }

    fn marked(&self, mark: Mark) -> impl Iterator<Item = (&[u8], &[u8])> {
        let entries = match self.marks.contains(mark) {
            true => &*self.entries,
            false => &[],
        };
        entries
            .iter()
            .filter(move |entry| entry.mark == mark)
            .map(|entry| (self.slice(entry.name), self.slice(entry.value)))
    }

    /// The only value under `name`.
    ///
    /// # Errors
    /// [`Duplicated`] when there are several lines of that name.
    pub fn single(&self, name: &str) -> Result<Option<&[u8]>, Duplicated> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_some() {
            Err(Duplicated)
        } else {
            Ok(first)
        }
    }

    fn append(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        (start, self.bytes.len())
    }

    fn slice(&self, (start, end): (usize, usize)) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_values_keep_their_order() {
        let headers = Headers::from_pairs([("A", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(headers.get("a"), Some(&b"1"[..]));
        assert_eq!(headers.values("A").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(headers.single("a"), Err(Duplicated));
        assert_eq!(headers.single("B"), Ok(Some(&b"2"[..])));
        assert_eq!(headers.single("c"), Ok(None));
    }

    #[test]
    fn lines_are_found_by_every_spelling_that_a_backend_could_fold() {
        let sent = [
            ("X.User_Id", "1"),
            ("x-user", "2"),
            ("x-user-id", "3"),
            ("x-user-ie", "4"),
        ];
        let headers = Headers::from_pairs(sent);
        let found: Vec<_> = headers
            .spelled_like("x-user-id")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(found, [b"1", b"3"]);
        assert_eq!(headers.values("x-user-id").collect::<Vec<_>>(), [b"3"]);
        assert_eq!(headers.spelled_like("x-user-if").next(), None);
    }

    #[test]
    fn the_next_hop_drops_whatever_any_connection_header_lists() {
        let headers = Headers::from_pairs([
            ("Connection", "close, X_A"),
            ("b", "c"),
            ("connection", "x-b,"),
        ]);
        let named: Vec<_> = headers.named_hop_by_hop().collect();
        assert_eq!(named, [&b"close"[..], b"X_A", b"x-b", b""]);
    }

    #[test]
    fn ranges_outside_of_the_buffer_read_as_empty() {
        let mut headers = Headers::from_buffer(b"ab".to_vec(), 2);
        headers.push((0, 1), (1, 9));
        headers.push((7, 3), (0, 2));
        assert_eq!(headers.get("a"), Some(&b""[..]));
        assert_eq!(headers.get(""), Some(&b"ab"[..]));
    }
}
