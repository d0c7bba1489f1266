//! Parameters of the query, and cookies: pieces of a line, each a name and a value.

use std::borrow::Cow;

/// The query's parameters as they stand: `name=value`, between `&` (WHATWG URL section 5.1).
pub fn query_pairs(target: &[u8]) -> impl Iterator<Item = &[u8]> {
    let query = target.splitn(2, |byte| *byte == b'?').nth(1);
    query
        .into_iter()
        .flat_map(|query| query.split(|byte| *byte == b'&'))
}

/// The value of such a parameter, as it stands, if its name is this one in any case and any
/// encoding: backends differ in which they tell apart.
#[must_use]
pub fn query_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let sent = parts.next()?;
    let value = parts.next().unwrap_or_default();
    percent_decoded(sent)
        .eq_ignore_ascii_case(name.as_bytes())
        .then_some(value)
}

/// The cookies of a line as they stand: `name=value`, between `;` (RFC 6265 section 5.4).
pub fn cookie_pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

/// The value of such a cookie, if its name is this one to the letter.
#[must_use]
pub fn cookie_value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let (sent, value) = (parts.next()?, parts.next()?);
    (sent.trim_ascii_end() == name.as_bytes()).then(|| value.trim_ascii_start())
}

/// A value without the quotes around it: a cookie's are no part of its value to most backends.
#[must_use]
pub fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(value)
}

/// Bytes with what is percent-encoded in them decoded. What is no encoding stays as it is.
#[must_use]
pub fn percent_decoded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let encoded = (*first == b'%')
            .then(|| u8::try_from(digit(0)? << 4 | digit(1)?).ok())
            .flatten();
        match encoded {
            Some(byte) => {
                decoded.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    Cow::Owned(decoded)
}

/// A parameter's name or value decoded: `%XX`, and `+` for a space (WHATWG URL, `application/x-www-form-urlencoded`).
#[must_use]
pub fn form_decoded(sent: &[u8]) -> Cow<'_, [u8]> {
    if !sent.contains(&b'+') {
        return percent_decoded(sent);
    }
    let spaced: Vec<u8> = sent
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decoded(&spaced).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_in_any_spelling_of_their_name_and_cookies_in_one() {
        let values = |target: &'static str| {
            let pairs = query_pairs(target.as_bytes());
            let values = pairs.filter_map(|pair| query_value(pair, "key"));
            values
                .map(|v| std::str::from_utf8(v).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            values("/a?key=1&KEY=2&%6bey=3&x=4&key&key=5?6"),
            ["1", "2", "3", "", "5?6"]
        );
        assert!(values("/key=1").is_empty() && values("/a?keys=1").is_empty());
        let cookies = |line: &'static str| {
            let pairs = cookie_pairs(line.as_bytes());
            let values = pairs.filter_map(|pair| cookie_value(pair, "key"));
            values
                .map(|v| std::str::from_utf8(v).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(cookies("key=1; Key=2;key = 3 ;keys=4; key"), ["1", "3"]);
    }

    #[test]
    fn quotes_are_cut_where_there_are_two() {
        for (sent, value) in [
            ("\"v\"", "v"),
            ("\"\"", ""),
            ("\"v", "\"v"),
            ("\"", "\""),
            ("v", "v"),
        ] {
            assert_eq!(unquoted(sent.as_bytes()), value.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn only_what_is_encoded_is_decoded() {
        for (encoded, decoded) in [
            ("plain", "plain"),
            ("%41b%63", "Abc"),
            ("a%", "a%"),
            ("a%4", "a%4"),
            ("a%zz%41", "a%zzA"),
            ("%2541", "%41"),
        ] {
            assert_eq!(
                percent_decoded(encoded.as_bytes()),
                decoded.as_bytes(),
                "{encoded}"
            );
        }
    }
}
