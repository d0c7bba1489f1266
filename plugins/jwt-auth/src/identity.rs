//! The headers in which backends learn who calls.
//!
//! They are the gateway's alone: on each request each of them is written or emptied, whatever the
//! client sent under its name, or under a name that a backend could take for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policy::config::{ClaimPath, ConfigError, WritableHeader, scalar_text};
use portcullis_policy::{HeaderEdits, Headers, clear_spellings, spelled_like};
use serde_json::Value;

use crate::claims::Caller;
use crate::token::UntrustedToken;

/// What of a token goes to a header.
#[derive(Debug)]
pub(crate) struct Forward {
    /// The claim; `None`: the whole payload, as it stands in the token.
    pub(crate) claim: Option<ClaimPath>,
    /// The header's place.
    pub(crate) place: usize,
}

/// The identity headers of all providers, each at its place.
#[derive(Debug, Default)]
pub(crate) struct Identities(Vec<WritableHeader>);

/// A claim can't be a header's value without being read as something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnsafeClaim;

impl Identities {
    /// The place of a header.
    pub(crate) fn place(&mut self, header: WritableHeader) -> Result<usize, ConfigError> {
        let alike =
            |known: &WritableHeader| spelled_like(known.as_str().as_bytes(), header.as_str());
        match self.0.iter().position(alike) {
            Some(place) if self.0.get(place) == Some(&header) => Ok(place),
            Some(place) => {
                let known = self.0.get(place).map_or("", WritableHeader::as_str);
                Err(ConfigError::at(
                    "",
                    format!(
                        "{:?} is written {known:?} elsewhere; a backend may take one for the other",
                        header.as_str()
                    ),
                ))
            }
            None => {
                self.0.push(header);
                Ok(self.0.len().saturating_sub(1))
            }
        }
    }

    /// The header that a backend could take for `header`, if there is one.
    pub(crate) fn alike(&self, header: &str) -> Option<&str> {
        let mut names = self.0.iter().map(WritableHeader::as_str);
        names.find(|known| spelled_like(known.as_bytes(), header))
    }

    /// The value that each header is to have; `None` where a claim is absent or empty.
    pub(crate) fn values(
        &self,
        forwards: &[Forward],
        token: &UntrustedToken<'_>,
    ) -> Result<Box<[Option<Box<str>>]>, UnsafeClaim> {
        let mut values = vec![None; self.0.len()];
        for forward in forwards {
            let text = match &forward.claim {
                Some(path) => match path.find(&token.claims) {
                    Some(claim) => header_value(claim)?,
                    None => None,
                },
                // It was decoded: base64url, and nothing else.
                None => std::str::from_utf8(token.payload).ok().map(Box::from),
            };
            if let Some(value) = values.get_mut(forward.place) {
                *value = text;
            }
        }
        Ok(values.into_boxed_slice())
    }

    /// Whether the client sent one of them twice, in any spellings, since Kong overwrites only the
    /// first line of a name; or would have the next hop drop one (RFC 9110 section 7.6.1).
    pub(crate) fn came_twice(&self, headers: &Headers) -> bool {
        let connection = headers.values("connection");
        let mut named = connection.flat_map(|value| value.split(|byte| *byte == b','));
        if named.any(|name| {
            let name = name.trim_ascii();
            self.0
                .iter()
                .any(|header| spelled_like(name, header.as_str()))
        }) {
            return true;
        }
        self.0.iter().any(|header| {
            let alike = |(name, _): &(&[u8], &[u8])| spelled_like(name, header.as_str());
            headers.iter().filter(alike).nth(1).is_some()
        })
    }

    /// Writes what is known of the caller, and empties everything else.
    pub(crate) fn settle<'a>(
        &'a self,
        headers: &'a Headers,
        callers: &[&Caller],
        edits: &mut HeaderEdits<'a>,
    ) {
        for (place, header) in self.0.iter().enumerate() {
            let sent = clear_spellings(headers, header.as_str(), edits);
            let value = callers
                .iter()
                .find_map(|caller| caller.identity.get(place)?.as_deref());
            match value {
                Some(value) => edits.set(header.as_str(), value.as_bytes().to_vec()),
                // Clearing a header that is not there is not safe on Kong.
                None if sent > 0 && headers.get(header.as_str()).is_some() => {
                    edits.clear(header.as_str());
                }
                None => {}
            }
        }
    }
}

fn header_value(claim: &Value) -> Result<Option<Box<str>>, UnsafeClaim> {
    let text = match claim {
        Value::Null => return Ok(None),
        Value::Array(entries) if entries.iter().all(is_scalar) => list_text(entries)?,
        // Headers hold text: what has a structure goes as its JSON, in base64url.
        Value::Array(_) | Value::Object(_) => URL_SAFE_NO_PAD.encode(claim.to_string()),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            scalar_text(claim).unwrap_or_default().into_owned()
        }
    };
    // Spaces at either end are lost on the way: " admin" would come out as "admin".
    if text.contains(char::is_control) || text.starts_with(' ') || text.ends_with(' ') {
        return Err(UnsafeClaim);
    }
    Ok((!text.is_empty()).then(|| text.into_boxed_str()))
}

const fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

fn list_text(entries: &[Value]) -> Result<String, UnsafeClaim> {
    let mut text = String::new();
    for (at, entry) in entries.iter().enumerate() {
        let word = scalar_text(entry).unwrap_or_default();
        // "a b" as one entry would come out as two.
        if word.is_empty() || word.contains(' ') {
            return Err(UnsafeClaim);
        }
        if at > 0 {
            text.push(' ');
        }
        text.push_str(&word);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use portcullis_policy::HeaderEdit;
    use serde_json::json;

    use super::*;

    fn header(name: &str) -> WritableHeader {
        serde_json::from_value(json!(name)).unwrap()
    }

    fn value(claim: Value) -> Result<Option<String>, UnsafeClaim> {
        header_value(&claim).map(|value| value.map(String::from))
    }

    #[test]
    fn a_claim_is_forwarded_by_its_kind() {
        for (claim, expected) in [
            (json!("alice"), Some("alice")),
            (json!("Zo\u{eb} M"), Some("Zo\u{eb} M")),
            (json!(7), Some("7")),
            (json!(true), Some("true")),
            (json!(["a", 1, false]), Some("a 1 false")),
            (json!(""), None),
            (json!([]), None),
            (json!(null), None),
            (json!({"a": 1}), Some("eyJhIjoxfQ")),
            (json!({}), Some("e30")),
            (json!(["a", ["b"]]), Some("WyJhIixbImIiXV0")),
            (json!(["a", null]), Some("WyJhIixudWxsXQ")),
            (json!(["a b", {}]), Some("WyJhIGIiLHt9XQ")),
        ] {
            assert_eq!(
                value(claim.clone()),
                Ok(expected.map(str::to_owned)),
                "{claim}"
            );
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_is_unsafe() {
        for claim in [
            json!("a\r\nx-admin: 1"),
            json!("a\u{0}b"),
            json!("a\tb"),
            json!("a\u{7f}"),
            json!("a\u{85}b"),
            json!(" admin"),
            json!("admin "),
            json!(" "),
            json!(["a b"]),
            json!(["a", "b\n"]),
            json!(["a", ""]),
        ] {
            assert_eq!(value(claim.clone()), Err(UnsafeClaim), "{claim}");
        }
    }

    #[test]
    fn a_header_has_one_place_and_one_spelling() {
        let mut identities = Identities::default();
        assert_eq!(identities.place(header("x-user")), Ok(0));
        assert_eq!(identities.place(header("x-tenant")), Ok(1));
        assert_eq!(identities.place(header("X-User")), Ok(0));
        let error = identities.place(header("x_user")).unwrap_err().to_string();
        assert!(
            error.contains(r#""x_user" is written "x-user" elsewhere"#),
            "{error}"
        );
    }

    #[test]
    fn without_a_caller_only_what_was_sent_is_emptied_in_every_spelling() {
        let mut identities = Identities::default();
        for name in ["x-user", "x-tenant", "x-tier"] {
            identities.place(header(name)).unwrap();
        }
        let sent = Headers::from_pairs([("X-User", "root"), ("x_tenant", "a"), ("x-users", "b")]);
        let mut edits = HeaderEdits::none();
        identities.settle(&sent, &[], &mut edits);
        let clear = |name| HeaderEdit::Clear {
            name: Cow::Borrowed(name),
        };
        assert_eq!(edits.as_slice(), [clear("x-user"), clear("x_tenant")]);
    }

    #[test]
    fn two_lines_of_one_header_are_seen_in_any_spelling() {
        let mut identities = Identities::default();
        identities.place(header("x-user")).unwrap();
        let twice = |pairs: &[(&str, &str)]| {
            identities.came_twice(&Headers::from_pairs(pairs.iter().copied()))
        };
        assert!(twice(&[("x-user", "a"), ("X-USER", "a")]));
        assert!(twice(&[("x-user", "a"), ("x_user", "a")]));
        assert!(!twice(&[("x-user", "a"), ("x-users", "a")]));
    }
}
