//! Tokens in the query (RFC 6750 section 2.3).

use super::SeveralTokens;

/// The value of the parameter `name` in a request target.
///
/// # Errors
/// [`SeveralTokens`] when it is there twice in any spelling that a backend could take for it, or
/// behind a `;`, which some take for a `&`.
pub(super) fn find<'a>(target: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, SeveralTokens> {
    let Some(query) = query(target) else {
        return Ok(None);
    };
    let mut found = None;
    for pair in pairs(query) {
        let mut inner = pair.split(|byte| *byte == b';');
        let first = inner.next().and_then(|pair| value_of(pair, name));
        if inner.any(|pair| value_of(pair, name).is_some()) {
            return Err(SeveralTokens);
        }
        if first.is_none() {
            continue;
        }
        if found.is_some() {
            return Err(SeveralTokens);
        }
        // With whatever stands behind a `;`: no token has one.
        found = value_of(pair, name);
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// The target without the parameters of these names. All others stay as they are.
pub(super) fn without(target: &[u8], names: &[&str]) -> Vec<u8> {
    let Some(query) = query(target) else {
        return target.to_vec();
    };
    let kept = pairs(query).filter(|pair| !names.iter().any(|name| value_of(pair, name).is_some()));
    let kept: Vec<&[u8]> = kept.collect();
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut left = path.to_vec();
    if !kept.is_empty() {
        left.push(b'?');
        left.extend_from_slice(&kept.join(&b"&"[..]));
    }
    left
}

fn query(target: &[u8]) -> Option<&[u8]> {
    target.splitn(2, |byte| *byte == b'?').nth(1)
}

fn pairs(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|byte| *byte == b'&')
}

fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let sent = parts.next()?;
    let value = parts.next().unwrap_or_default();
    let decoded = decoded(sent);
    let same = decoded.eq_ignore_ascii_case(name.as_bytes());
    same.then_some(value)
}

/// A name with its percent-encoded bytes decoded (WHATWG URL section 5.1).
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        let encoded = (*first == b'%')
            .then(|| u8::try_from(digit(0)? << 4 | digit(1)?).ok())
            .flatten();
        match encoded {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(target: &str) -> Result<Option<&str>, ()> {
        let found = find(target.as_bytes(), "access_token").map_err(|SeveralTokens| ())?;
        Ok(found.map(|value| std::str::from_utf8(value).unwrap()))
    }

    #[test]
    fn a_parameter_is_found_under_every_spelling_of_its_name() {
        for (target, expected) in [
            ("/a?access_token=t", Ok(Some("t"))),
            ("/a?q=1&access_token=t&r", Ok(Some("t"))),
            ("/a?access%5ftoken=t", Ok(Some("t"))),
            ("/a?ACCESS_TOKEN=t", Ok(Some("t"))),
            ("/a?access_token=t?u", Ok(Some("t?u"))),
            ("/a?access_token=t;q=1", Ok(Some("t;q=1"))),
            ("/a?access_token=", Ok(None)),
            ("/a?access_token", Ok(None)),
            ("/a?access_token%=t", Ok(None)),
            ("/a?xaccess_token=t", Ok(None)),
            ("/access_token=t", Ok(None)),
            ("/a?", Ok(None)),
            ("/a", Ok(None)),
        ] {
            assert_eq!(find_in(target), expected, "{target}");
        }
    }

    #[test]
    fn two_of_them_are_refused_in_any_spelling() {
        for target in [
            "/a?access_token=t&access_token=t",
            "/a?access_token=t&Access_Token=u",
            "/a?access_token=t&access%5Ftoken=u",
            "/a?access_token=&access_token=u",
            "/a?access_token=t;access_token=u",
            "/a?q=1;access_token=u",
        ] {
            assert_eq!(find_in(target), Err(()), "{target}");
        }
    }

    #[test]
    fn all_others_stay_as_they_are() {
        for (target, left) in [
            ("/a?access_token=t", "/a"),
            ("/a%20b?q=%41+b&access%5ftoken=t&&r", "/a%20b?q=%41+b&&r"),
            ("/a?device=d&q=1&access_token=t", "/a?q=1"),
            ("/a?q=1", "/a?q=1"),
            ("/a", "/a"),
        ] {
            let without = without(target.as_bytes(), &["access_token", "device"]);
            assert_eq!(String::from_utf8(without).unwrap(), left);
        }
    }
}
