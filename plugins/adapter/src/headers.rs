//! Header lists in the ABI's encoding: a count, then each name's and value's length, then each
//! name and value with a NUL behind it; numbers are 32 bits, little-endian.

use portcullis_policy::{HeaderEdit, Headers};

/// Reads an encoded list. `None` when it is not one.
pub(crate) fn decode(bytes: Vec<u8>) -> Option<Headers> {
    if bytes.is_empty() {
        return Some(Headers::default());
    }
    let count = length(&bytes, 0)?;
    let mut lengths = 4_usize;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    // Each pair takes eight bytes at least, so that a wrong count can't ask for much memory.
    if at > bytes.len() {
        return None;
    }
    let mut headers = Headers::from_buffer(bytes, count);
    let mut part = |bytes: &[u8], length_at: usize| {
        let range = (at, at.checked_add(length(bytes, length_at)?)?);
        at = range.1.checked_add(1)?;
        (at <= bytes.len()).then_some(range)
    };
    for _ in 0..count {
        let name = part(headers.buffer(), lengths)?;
        let value = part(headers.buffer(), lengths.checked_add(4)?)?;
        lengths = lengths.checked_add(8)?;
        headers.push(name, value);
    }
    Some(headers)
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
}

/// Writes a list. `None` when it does not fit into 32 bits.
pub(crate) fn encode<'a>(pairs: &[(&'a [u8], &'a [u8])]) -> Option<Vec<u8>> {
    let length =
        |(name, value): &(&[u8], &[u8])| name.len().saturating_add(value.len()).saturating_add(10);
    let size = pairs.iter().map(length).fold(4, usize::saturating_add);
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(u32::try_from(pairs.len()).ok()?.to_le_bytes());
    for (name, value) in pairs {
        bytes.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        bytes.extend(u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    Some(bytes)
}

/// The list after all edits, encoded.
pub(crate) fn encode_edited(headers: &Headers, edits: &[HeaderEdit<'_>]) -> Option<Vec<u8>> {
    let edited = |name: &[u8]| {
        let is_it = |edit: &HeaderEdit<'_>| name.eq_ignore_ascii_case(edit.name().as_bytes());
        edits.iter().any(is_it)
    };
    let mut pairs: Vec<(&[u8], &[u8])> =
        Vec::with_capacity(headers.len().saturating_add(edits.len()));
    pairs.extend(headers.iter().filter(|(name, _)| !edited(name)));
    for edit in edits {
        if let HeaderEdit::Set { name, value } = edit {
            pairs.push((name.as_bytes(), value));
        }
    }
    encode(&pairs)
}

#[cfg(test)]
mod tests {
    use portcullis_policy::ResponseEdits;

    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let pairs: [(&[u8], &[u8]); 3] = [(b":path", b"/"), (b"a", b""), (b"a", b"x\0y")];
        let headers = decode(encode(&pairs).unwrap()).unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs);
        assert!(decode(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_list_that_is_cut_or_lies_about_its_length_is_none() {
        let whole = encode(&[(b"name", b"value")]).unwrap();
        for cut in 1..whole.len() {
            assert!(decode(whole[..cut].to_vec()).is_none(), "{cut}");
        }
        assert!(decode(vec![0xff; 64]).is_none());
        assert!(decode(vec![0xff, 0xff, 0, 0, 1]).is_none());
    }

    #[test]
    fn an_edit_replaces_every_line_of_its_name() {
        let headers = Headers::from_pairs([("A", "1"), ("b", "2"), ("a", "3")]);
        let mut edits = ResponseEdits::none();
        edits.set("a", &b"new"[..]);
        edits.clear("B");
        let edited = decode(encode_edited(&headers, edits.headers()).unwrap()).unwrap();
        assert_eq!(
            edited.iter().collect::<Vec<_>>(),
            [(&b"a"[..], &b"new"[..])]
        );
    }
}
