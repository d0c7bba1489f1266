//! Tokens in a cookie (RFC 6265 section 5.4).

use portcullis_policy::{Headers, cookie_pairs, cookie_value, percent_decoded};

use crate::config::TokenForward;

use super::SeveralTokens;

pub(super) const HEADER: &str = "cookie";

/// The value of the cookie `name`.
///
/// # Errors
/// [`SeveralTokens`] when it is there twice, or once in a spelling that only some backends take for
/// it, or in a request with several lines of cookies: such a line can't be taken out everywhere, and
/// only the oldest clients write more than one.
///
/// Names of cookies are case-sensitive: `SESSION` is another cookie than `session`. Where the token
/// is kept, a backend may read it again, and one that folds the case could read the other one, which
/// nobody has checked: there it is one spelling more.
pub(super) fn find<'a>(
    headers: &'a Headers,
    name: &str,
    forward: TokenForward,
) -> Result<Option<&'a [u8]>, SeveralTokens> {
    let mut found = None;
    for line in headers.values(HEADER) {
        for value in cookie_pairs(line).filter_map(|pair| cookie_value(pair, name)) {
            if found.is_some() {
                return Err(SeveralTokens);
            }
            found = Some(value);
        }
    }
    let alike = headers
        .values(HEADER)
        .map(|line| count_alike(line, name, forward));
    let alike = alike.fold(0_usize, usize::saturating_add);
    if alike > usize::from(found.is_some()) {
        return Err(SeveralTokens);
    }
    if found.is_some() && headers.values(HEADER).nth(1).is_some() {
        return Err(SeveralTokens);
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// The line of cookies without those of these names; `None` when nothing is left of it.
pub(super) fn without(headers: &Headers, names: &[&str]) -> Option<Vec<u8>> {
    let line = headers.get(HEADER)?;
    let kept = cookie_pairs(line)
        .filter(|pair| !names.iter().any(|name| cookie_value(pair, name).is_some()));
    let kept: Vec<&[u8]> = kept.filter(|pair| !pair.is_empty()).collect();
    (!kept.is_empty()).then(|| kept.join(&b"; "[..]))
}

/// How many cookies some backend could take for `name`: separated by commas too, percent-encoded, or
/// between bytes that some take for white space; where the token is kept, in another case.
fn count_alike(line: &[u8], name: &str, forward: TokenForward) -> usize {
    let is_same = |sent: &u8, ours: u8| match forward {
        TokenForward::Keep => sent.eq_ignore_ascii_case(&ours),
        TokenForward::Strip => *sent == ours,
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    let pieces = line.split(|byte| matches!(byte, b';' | b','));
    let names = pieces.filter_map(|piece| piece.split(|byte| *byte == b'=').next());
    let alike = names.filter(|sent| {
        let decoded = percent_decoded(sent);
        let mut sent = decoded.iter().filter(|byte| plain(byte));
        let mut ours = name.bytes();
        ours.by_ref()
            .all(|byte| sent.next().is_some_and(|sent| is_same(sent, byte)))
            && sent.next().is_none()
    });
    alike.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(lines: &[&str]) -> Result<Option<String>, ()> {
        find_where(TokenForward::Strip, lines)
    }

    fn find_where(forward: TokenForward, lines: &[&str]) -> Result<Option<String>, ()> {
        let headers = Headers::from_pairs(lines.iter().map(|line| ("cookie", *line)));
        let found = find(&headers, "session", forward).map_err(|SeveralTokens| ())?;
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
            ("xsession=a; sessions=b; x=session", Ok(None)),
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
            &["session=a; x=1, session=b"],
            &["session=a; s%65ssion=b"],
            &["session=a; \u{a0}session=b"],
            &["session=a; session"],
        ] {
            assert_eq!(find_in(lines), Err(()), "{lines:?}");
        }
        assert_eq!(find_in(&["x=1", "y=2"]), Ok(None));
    }

    #[test]
    fn in_another_case_it_is_another_cookie_unless_a_backend_may_read_it_again() {
        for (line, stripped) in [
            ("session=a; SESSION=b", Some("a")),
            ("Session=b; session=a", Some("a")),
            ("SESSION=b", None),
            ("S%45SSION=b; session=a", Some("a")),
        ] {
            let found = Ok(stripped.map(str::to_owned));
            assert_eq!(find_where(TokenForward::Strip, &[line]), found, "{line}");
            assert_eq!(find_where(TokenForward::Keep, &[line]), Err(()), "{line}");
        }
        // Twice is twice.
        let twice = &["session=a; SESSION=b; session=c"];
        assert_eq!(find_in(twice), Err(()));
    }

    #[test]
    fn all_others_stay() {
        let without = |line: &str| {
            let headers = Headers::from_pairs([("cookie", line)]);
            without(&headers, &["session", "device"]).map(|l| String::from_utf8(l).unwrap())
        };
        assert_eq!(without("session=a"), None);
        assert_eq!(without("session=a; device=b;"), None);
        assert_eq!(
            without("x=1;session=a;  y=2; odd").as_deref(),
            Some("x=1; y=2; odd")
        );
        assert_eq!(without("sessions=a").as_deref(), Some("sessions=a"));
        assert_eq!(
            without("session=a; SESSION=b").as_deref(),
            Some("SESSION=b")
        );
    }
}
