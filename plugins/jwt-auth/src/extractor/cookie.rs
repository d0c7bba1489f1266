//! Tokens in a cookie (RFC 6265 section 5.4).

use portcullis_policy::Headers;

use super::SeveralTokens;

pub(super) const HEADER: &str = "cookie";

/// The value of the cookie `name`.
///
/// # Errors
/// [`SeveralTokens`] when it is there twice, or in a request with several lines of cookies: such a
/// line can't be taken out everywhere, and only the oldest clients write more than one.
pub(super) fn find<'a>(
    headers: &'a Headers,
    name: &str,
) -> Result<Option<&'a [u8]>, SeveralTokens> {
    let mut found = None;
    for line in headers.values(HEADER) {
        for value in pairs(line).filter_map(|pair| value_of(pair, name)) {
            if found.is_some() {
                return Err(SeveralTokens);
            }
            found = Some(value);
        }
    }
    if found.is_some() && headers.values(HEADER).nth(1).is_some() {
        return Err(SeveralTokens);
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// The line of cookies without those of these names; `None` when nothing is left of it.
pub(super) fn without(headers: &Headers, names: &[&str]) -> Option<Vec<u8>> {
    let line = headers.get(HEADER)?;
    let kept = pairs(line).filter(|pair| !names.iter().any(|name| value_of(pair, name).is_some()));
    let kept: Vec<&[u8]> = kept.filter(|pair| !pair.is_empty()).collect();
    (!kept.is_empty()).then(|| kept.join(&b"; "[..]))
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let (sent, value) = (parts.next()?, parts.next()?);
    (sent.trim_ascii_end() == name.as_bytes()).then(|| value.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(lines: &[&str]) -> Result<Option<String>, ()> {
        let headers = Headers::from_pairs(lines.iter().map(|line| ("cookie", *line)));
        let found = find(&headers, "session").map_err(|SeveralTokens| ())?;
        Ok(found.map(|value| String::from_utf8(value.to_vec()).unwrap()))
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let found = |value: &str| Ok(Some(value.to_owned()));
        for (line, expected) in [
            ("session=a.b.c", found("a.b.c")),
            ("x=1; session=a.b.c;y=2", found("a.b.c")),
            ("session=a=b", found("a=b")),
            ("session = a.b.c", found("a.b.c")),
            ("session=\"a.b.c\"", found("\"a.b.c\"")),
            ("Session=a.b.c", Ok(None)),
            ("xsession=a; sessions=b; session", Ok(None)),
            ("session=", Ok(None)),
            ("", Ok(None)),
            (";;;", Ok(None)),
        ] {
            assert_eq!(find_in(&[line]), expected, "{line}");
        }
        assert_eq!(find_in(&[]), Ok(None));
    }

    #[test]
    fn two_of_them_are_refused_and_so_is_one_among_several_lines() {
        for lines in [
            &["session=a; session=b"][..],
            &["session=a; session=a"],
            &["session=; session=a"],
            &["session=a", "session=b"],
            &["session=a", "x=1"],
        ] {
            assert_eq!(find_in(lines), Err(()), "{lines:?}");
        }
        assert_eq!(find_in(&["x=1", "y=2"]), Ok(None));
    }

    #[test]
    fn all_others_stay() {
        let without = |line: &str| {
            let headers = Headers::from_pairs([("cookie", line)]);
            without(&headers, &["session", "device"]).map(|l| String::from_utf8(l).unwrap())
        };
        assert_eq!(without("session=a"), None);
        assert_eq!(without("session=a; device=b;"), None);
        assert_eq!(without("x=1;session=a;  y=2; odd").as_deref(), Some("x=1; y=2; odd"));
        assert_eq!(without("sessions=a").as_deref(), Some("sessions=a"));
    }
}
