//! Tokens in the query (RFC 6750 section 2.3).

use portcullis_policy::{percent_decoded, query_pairs, query_value};

use super::SeveralTokens;

/// The value of the parameter `name` in a request target.
///
/// # Errors
/// [`SeveralTokens`] when it is there twice in any spelling that a backend could take for it, or
/// behind a `;`, which some take for a `&`.
pub(super) fn find<'a>(target: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, SeveralTokens> {
    let mut found = None;
    for pair in query_pairs(target) {
        if query_value(pair, name).is_none() && is_alike(pair, name) {
            return Err(SeveralTokens);
        }
        let mut inner = pair.split(|byte| *byte == b';');
        let first = inner.next().and_then(|pair| query_value(pair, name));
        if inner.any(|pair| query_value(pair, name).is_some()) {
            return Err(SeveralTokens);
        }
        if first.is_none() {
            continue;
        }
        if found.is_some() {
            return Err(SeveralTokens);
        }
        // With whatever stands behind a `;`: no token has one.
        found = query_value(pair, name);
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// Whether some backend could take the parameter for `name`: PHP, Rails and others read `.`, spaces
/// and `[` as `_`, and cut at `[` and NUL.
fn is_alike(pair: &[u8], name: &str) -> bool {
    let sent = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
    let decoded = percent_decoded(sent);
    let decoded = decoded.trim_ascii_start();
    let decoded = decoded.strip_prefix(b"+").unwrap_or(decoded);
    let folded = |bytes: &[u8]| -> Vec<u8> {
        let end = bytes.iter().position(|byte| matches!(byte, b'[' | 0));
        let bytes = end.and_then(|end| bytes.get(..end)).unwrap_or(bytes);
        let fold = |byte: &u8| match byte {
            b'.' | b' ' | b'+' | b'-' => b'_',
            byte => byte.to_ascii_lowercase(),
        };
        bytes.trim_ascii_end().iter().map(fold).collect()
    };
    folded(decoded) == folded(name.as_bytes())
}

/// The target without the parameters of these names. All others stay as they are.
pub(super) fn without(target: &[u8], names: &[&str]) -> Vec<u8> {
    let kept = query_pairs(target)
        .filter(|pair| !names.iter().any(|name| query_value(pair, name).is_some()));
    let kept: Vec<&[u8]> = kept.collect();
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let mut left = path.to_vec();
    if !kept.is_empty() {
        left.push(b'?');
        left.extend_from_slice(&kept.join(&b"&"[..]));
    }
    left
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
            "/a?access.token=u",
            "/a?access_token=t&access+token=u",
            "/a?access_token=t&access_token[]=u",
            "/a?access_token=t&%20access_token=u",
            "/a?access_token%00x=u",
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
