//! A request's first line, or its URL.

use super::Asked;

/// The host of a request that names none.
pub const HOST: &str = "localhost";

/// Reads `GET /search?q=x HTTP/1.1`, `GET /search`, `/search`, or the same with a whole URL.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> Result<Asked, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (method, target) = match words[..] {
        [target] => ("GET", target),
        [method, target] => (method, target),
        [method, target, version] if version.starts_with("HTTP/") => (method, target),
        _ => {
            return Err(format!(
                "{text:?} is no request; expected one such as `GET /search HTTP/1.1`"
            ));
        }
    };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_method {
        return Err(format!("{method:?} is no method"));
    }
    let mut asked = of_url(target)?;
    asked.method = method.to_ascii_uppercase();
    Ok(asked)
}

/// A GET of a URL, or of a path.
///
/// # Errors
/// It is neither.
pub fn of_url(url: &str) -> Result<Asked, String> {
    let (authority, target) = match url.split_once("://") {
        None => (HOST, url),
        Some((_, rest)) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            rest.split_at(at)
        }
    };
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let target = target.split('#').next().unwrap_or_default();
    let target = match target.chars().next() {
        Some('/') => target.to_owned(),
        Some('?') => format!("/{target}"),
        None if !authority.is_empty() && url.contains("://") => "/".to_owned(),
        Some(_) | None if target == "*" => target.to_owned(),
        Some(_) | None => {
            return Err(format!(
                "{url:?} is no path and no URL; expected one such as /search"
            ));
        }
    };
    Ok(Asked {
        method: "GET".to_owned(),
        target,
        authority: authority.to_owned(),
        ..Asked::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_in_each_of_its_forms() {
        for (text, method, target, authority) in [
            ("GET /a?b=c HTTP/1.1", "GET", "/a?b=c", HOST),
            ("post /a", "POST", "/a", HOST),
            ("/a", "GET", "/a", HOST),
            ("http://u:p@h:8000/a?b#c", "GET", "/a?b", "h:8000"),
            ("DELETE https://h", "DELETE", "/", "h"),
            ("https://h?x=1", "GET", "/?x=1", "h"),
            ("OPTIONS *", "OPTIONS", "*", HOST),
        ] {
            let asked = parse(text).unwrap();
            let found = (&*asked.method, &*asked.target, &*asked.authority);
            assert_eq!(found, (method, target, authority), "{text}");
        }
        for wrong in ["", "GET", "GET a", "GET /a b c", "G?T /a", "search"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
