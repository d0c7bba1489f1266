//! What a request says where one value belongs: in a header, a cookie, a parameter of the query.
//!
//! Backends differ in which of several they take, and in what they take for another way to write
//! one. So that nobody gets a count of their own by writing it in a way that only the backend
//! understands, several values are told from one, and what some backend takes for the same counts
//! as the same.

use std::borrow::Cow;

use portcullis_policy::{
    Headers, cookie_pairs, cookie_value, form_decoded, percent_decoded, query_pairs, spelled_like,
    unquoted,
};

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Nothing, or nothing but empty ones.
    None,
    One(Cow<'a, [u8]>),
    /// Several, or one that can be read in two ways.
    Several,
}

/// What a comma in a header's line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comma {
    /// It parts two values, as two lines do (RFC 9110 section 5.3): whoever stands between may have
    /// joined them, as Envoy does with some, and some backends part them again.
    Parts,
    /// It is a part of the value.
    Belongs,
}

/// Headers that are lists, or in which one value has commas: their whole text counts.
const WHOLE: [&str; 10] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cookie",
    "forwarded",
    "user-agent",
    "via",
    "x-forwarded-client-cert",
    "x-forwarded-for",
];

/// A header's value. Lines under a name that a backend could fold into this one are lines of it.
pub(crate) fn header<'a>(headers: &'a Headers, name: &str, comma: Comma) -> Value<'a> {
    let lines = headers.spelled_like(name);
    let values = lines.map(|(_, value)| value.trim_ascii());
    let values = values.filter(|value| !value.is_empty()).map(Cow::Borrowed);
    if WHOLE.contains(&name) {
        return match values.reduce(|all, next| Cow::Owned([&*all, &*next].join(&b','))) {
            None => Value::None,
            Some(all) => Value::One(all),
        };
    }
    match (single(values), comma) {
        (Value::One(value), Comma::Parts) if value.contains(&b',') => Value::Several,
        (value, _) => value,
    }
}

/// A cookie's value, without the quotes around it, decoded. Its name counts to the letter.
pub(crate) fn cookie<'a>(headers: &'a Headers, name: &str) -> Value<'a> {
    let pairs = headers.values("cookie").flat_map(cookie_pairs);
    let values = pairs.filter_map(|pair| cookie_value(pair, name));
    match single(
        values
            .map(unquoted)
            .filter(|v| !v.is_empty())
            .map(Cow::Borrowed),
    ) {
        // Within quotes it may stand for what follows it, or for a byte in octal.
        Value::One(value) if value.contains(&b'\\') => Value::Several,
        Value::One(Cow::Borrowed(value)) => Value::One(percent_decoded(value)),
        other => other,
    }
}

/// A parameter's value, decoded. Its name counts in any case and encoding, and however a backend
/// could fold it: `a[]` and `a.b` are `a` and `a_b` to PHP. Some part parameters at `;`, too.
pub(crate) fn query<'a>(target: &'a [u8], name: &str) -> Value<'a> {
    let mut values = Vec::new();
    for pair in query_pairs(target) {
        let before = values.len();
        for piece in pair.split(|byte| *byte == b';') {
            let mut parts = piece.splitn(2, |byte| *byte == b'=');
            let sent = form_decoded(parts.next().unwrap_or_default());
            let sent = sent.split(|byte| matches!(byte, b'[' | 0)).next();
            let value = parts.next().filter(|value| !value.is_empty());
            if let (Some(sent), Some(value)) = (sent, value)
                && spelled_like(sent.trim_ascii(), name)
            {
                values.push(form_decoded(value));
            }
        }
        if values.len() > before && pair.contains(&b';') {
            return Value::Several;
        }
    }
    single(values.into_iter())
}

fn single<'a>(mut values: impl Iterator<Item = Cow<'a, [u8]>>) -> Value<'a> {
    match (values.next(), values.next()) {
        (None, _) => Value::None,
        (Some(value), None) => Value::One(value),
        (Some(_), Some(_)) => Value::Several,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value<'_>) -> String {
        match value {
            Value::None => "-".to_owned(),
            Value::One(value) => String::from_utf8_lossy(value).into_owned(),
            Value::Several => "*".to_owned(),
        }
    }

    fn sent(lines: &[(&str, &str)]) -> Headers {
        Headers::from_pairs(lines.iter().copied())
    }

    #[test]
    fn a_header_has_one_value_in_whatever_spelling_or_several() {
        for (lines, expected) in [
            (&[("x-api-key", "REAL")][..], "REAL"),
            (&[("X-API-Key", "  REAL\t")], "REAL"),
            (&[("x_api_key", "REAL")], "REAL"),
            (&[("x.api-key", "REAL")], "REAL"),
            (&[("x-api-key", ""), ("x-api-key", "REAL")], "REAL"),
            (&[("x-api-keys", "REAL"), ("xapikey", "REAL")], "-"),
            (&[("x-api-key", " ")], "-"),
            (&[("x-api-key", "REAL"), ("x-api-key", "j1")], "*"),
            (&[("x-api-key", "j1"), ("x_api_key", "REAL")], "*"),
            (&[("x-api-key", "REAL"), ("x-api-key", "REAL")], "*"),
            (&[("x-api-key", "REAL, j1")], "*"),
            (&[("x-api-key", "REAL,j1")], "*"),
        ] {
            let headers = sent(lines);
            let value = header(&headers, "x-api-key", Comma::Parts);
            assert_eq!(text(&value), expected, "{lines:?}");
        }
        let name = [("x-subject-dn", "CN=a,O=b")];
        assert_eq!(
            text(&header(&sent(&name), "x-subject-dn", Comma::Belongs)),
            "CN=a,O=b"
        );
        let two = [("x-subject-dn", "CN=a,O=b"), ("X-Subject-DN", "c")];
        assert_eq!(
            text(&header(&sent(&two), "x-subject-dn", Comma::Belongs)),
            "*"
        );
        let list = [("user-agent", "A (KHTML, like B)"), ("user-agent", "C")];
        let value = text(&header(&sent(&list), "user-agent", Comma::Parts));
        assert_eq!(value, "A (KHTML, like B),C");
    }

    #[test]
    fn a_cookie_has_one_value_with_quotes_or_without_or_several() {
        for (lines, expected) in [
            (&["k=v"][..], "v"),
            (&["a=b; k=\"v\""], "v"),
            (&["a=b", "k=v"], "v"),
            (&["k=; k=v"], "v"),
            (&["k=%76"], "v"),
            (&["K=v; kk=v"], "-"),
            (&["k=\"\""], "-"),
            (&["k=v; k=j1"], "*"),
            (&["k=v", "k=v"], "*"),
            (&["k=\"\\v\""], "*"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            assert_eq!(text(&cookie(&sent(&lines), "k")), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_parameter_has_one_value_in_whatever_spelling_or_several() {
        for (target, expected) in [
            ("/?api_key=v", "v"),
            ("/?API.KEY=v", "v"),
            ("/?%61pi_key=%76&x=y", "v"),
            ("/?api_key[]=v", "v"),
            ("/?+api%5fkey=a+b%20c", "a b c"),
            ("/?api_key=&api_key=v", "v"),
            ("/?api_key", "-"),
            ("/api_key=v", "-"),
            ("/?apikey=v", "-"),
            ("/?api_key=v&api-key=j1", "*"),
            ("/?api_key=v&api_key=v", "*"),
            ("/?api_key[0]=v&api_key[1]=w", "*"),
            ("/?api_key=v;x=j1", "*"),
            ("/?x=j1;api_key=v", "*"),
            ("/?x=1;y=2&api_key=v", "v"),
        ] {
            assert_eq!(
                text(&query(target.as_bytes(), "api_key")),
                expected,
                "{target}"
            );
        }
    }
}
