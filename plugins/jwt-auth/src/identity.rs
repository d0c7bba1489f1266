//! The headers in which backends learn who calls.
//!
//! They are the gateway's alone: on each request each of them is written or emptied, whatever the
//! client sent under its name, or under a name that a backend could take for it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policy::config::{ClaimPath, ConfigError, WritableHeader, json_text, scalar_text};
use portcullis_policy::{Headers, RequestEdits, clear_spellings, spelled_like};
use serde_json::Value;

use crate::caller::Caller;
use crate::config::Lists;
use crate::token::UntrustedToken;

/// What of a token goes to a header.
#[derive(Debug)]
pub(crate) struct Forward {
    /// The claim; `None`: the whole payload, as it stands in the token.
    pub(crate) claim: Option<ClaimPath>,
    /// The header's place.
    pub(crate) place: usize,
    /// How it holds a list.
    pub(crate) lists: Lists,
}

/// The identity headers of all providers, each at its place.
#[derive(Debug, Default)]
pub(crate) struct Identities(Vec<WritableHeader>);

/// What the identity headers are to hold, by their places.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) headers: Box<[Option<Box<str>>]>,
    /// Whether a claim did not fit into its header, so that it is to be empty.
    pub(crate) has_unfit: bool,
}

/// Why a claim does not go into its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It can't be a header's value without being read as something else: by nobody's doing but an
    /// attacker's.
    Unsafe,
    /// It is a list with an entry that could not be told from two, or from none.
    Unfit,
}

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

    /// The value that each header is to have; `None` where a claim is absent, empty or does not fit.
    ///
    /// # Errors
    /// The path of a claim that would be read as something else.
    pub(crate) fn values<'f>(
        &self,
        forwards: &'f [Forward],
        token: &UntrustedToken<'_>,
    ) -> Result<Values, &'f ClaimPath> {
        let mut values = vec![None; self.0.len()];
        let mut has_unfit = false;
        for forward in forwards {
            let text = match &forward.claim {
                Some(path) => match path.find(&token.claims) {
                    Some(claim) => match header_value(claim, forward.lists) {
                        Ok(text) => text,
                        Err(Fault::Unsafe) => return Err(path),
                        Err(Fault::Unfit) => {
                            has_unfit = true;
                            None
                        }
                    },
                    None => None,
                },
                // It was decoded: base64url, and nothing else.
                None => std::str::from_utf8(token.payload).ok().map(Box::from),
            };
            if let Some(value) = values.get_mut(forward.place) {
                *value = text;
            }
        }
        Ok(Values {
            headers: values.into_boxed_slice(),
            has_unfit,
        })
    }

    /// Whether the client sent one of them twice, in any spellings, since Kong overwrites only the
    /// first line of a name; or would have the next hop drop one (RFC 9110 section 7.6.1).
    pub(crate) fn came_twice(&self, headers: &Headers) -> bool {
        let is_ours = |name| self.0.iter().any(|ours| spelled_like(name, ours.as_str()));
        if headers.named_hop_by_hop().any(is_ours) {
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
        edits: &mut RequestEdits<'a>,
    ) {
        for (place, header) in self.0.iter().enumerate() {
            clear_spellings(headers, header.as_str(), edits);
            let value = callers
                .iter()
                .find_map(|caller| caller.identity.get(place)?.as_deref());
            match value {
                Some(value) => edits.set(header.as_str(), value.as_bytes().to_vec()),
                // Clearing a header that is not there is not safe on Kong.
                None if headers.get(header.as_str()).is_some() => {
                    edits.clear(header.as_str());
                }
                None => {}
            }
        }
    }
}

fn header_value(claim: &Value, lists: Lists) -> Result<Option<Box<str>>, Fault> {
    let text = match claim {
        Value::Null => return Ok(None),
        Value::Array(entries) if entries.is_empty() => return Ok(None),
        Value::Array(entries) => match (lists, texts(entries)) {
            (Lists::Json, _) => json_text(claim),
            (Lists::Space, Some(texts)) => joined(&texts, " ")?,
            (Lists::Comma, Some(texts)) => joined(&texts, ",")?,
            (Lists::Space | Lists::Comma, None) => encoded(claim),
        },
        // A number may be an object, as it was written.
        Value::Object(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            match scalar_text(claim) {
                Some(text) => text.into_owned(),
                None => encoded(claim),
            }
        }
    };
    // Spaces at either end are lost on the way: " admin" would come out as "admin".
    if text.contains(char::is_control) || text.starts_with(' ') || text.ends_with(' ') {
        return Err(Fault::Unsafe);
    }
    Ok((!text.is_empty()).then(|| text.into_boxed_str()))
}

/// Headers hold text: what has a structure goes as its JSON, in base64url.
fn encoded(claim: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json_text(claim))
}

/// The entries' texts; `None` where one has a structure.
fn texts(entries: &[Value]) -> Option<Vec<Cow<'_, str>>> {
    entries.iter().map(scalar_text).collect()
}

fn joined(texts: &[Cow<'_, str>], separator: &str) -> Result<String, Fault> {
    if texts.iter().any(|text| text.contains(char::is_control)) {
        return Err(Fault::Unsafe);
    }
    // "a b" as one entry would come out as two, and spaces around a comma are no part of an entry.
    let unfit = |text: &Cow<'_, str>| {
        text.is_empty() || text.contains(separator) || text.starts_with(' ') || text.ends_with(' ')
    };
    if texts.iter().any(unfit) {
        return Err(Fault::Unfit);
    }
    Ok(texts.join(separator))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use portcullis_policy::HeaderEdit;
    use portcullis_policy::config::number_as_written;
    use serde_json::json;

    use super::*;

    fn header(name: &str) -> WritableHeader {
        serde_json::from_value(json!(name)).unwrap()
    }

    fn value(claim: Value) -> Result<Option<String>, Fault> {
        header_value(&claim, Lists::Space).map(|value| value.map(String::from))
    }

    #[test]
    fn a_claim_is_forwarded_by_its_kind() {
        for (claim, expected) in [
            (json!("alice"), Some("alice")),
            (json!("Zo\u{eb} M"), Some("Zo\u{eb} M")),
            (json!(7), Some("7")),
            (json!(true), Some("true")),
            (number_as_written("1e3"), Some("1e3")),
            (
                number_as_written("1234567890123456789012345"),
                Some("1234567890123456789012345"),
            ),
            (json!(["a", number_as_written("-0")]), Some("a -0")),
            (json!({"a": number_as_written("1e3")}), Some("eyJhIjoxZTN9")),
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
            json!(["a", "b\n"]),
            json!(["a b", "b\n"]),
        ] {
            assert_eq!(value(claim.clone()), Err(Fault::Unsafe), "{claim}");
        }
    }

    #[test]
    fn a_list_goes_on_as_it_was_asked_for_or_not_at_all() {
        let unfit = || Err(Fault::Unfit);
        let text = |text: &str| Ok(Some(text.to_owned()));
        for (claim, space, comma, json) in [
            (
                json!(["a", 1]),
                text("a 1"),
                text("a,1"),
                text(r#"["a",1]"#),
            ),
            (
                json!(["Domain Users", "x"]),
                unfit(),
                text("Domain Users,x"),
                text(r#"["Domain Users","x"]"#),
            ),
            (json!(["a,b"]), text("a,b"), unfit(), text(r#"["a,b"]"#)),
            (json!(["a", ""]), unfit(), unfit(), text(r#"["a",""]"#)),
            (json!([" a"]), unfit(), unfit(), text(r#"[" a"]"#)),
            (json!([]), Ok(None), Ok(None), Ok(None)),
            (
                json!(["a", ["b"]]),
                text("WyJhIixbImIiXV0"),
                text("WyJhIixbImIiXV0"),
                text(r#"["a",["b"]]"#),
            ),
            (
                json!(["a\nb"]),
                Err(Fault::Unsafe),
                Err(Fault::Unsafe),
                text(r#"["a\nb"]"#),
            ),
            (
                json!(["a\u{7f}"]),
                Err(Fault::Unsafe),
                Err(Fault::Unsafe),
                Err(Fault::Unsafe),
            ),
        ] {
            for (lists, expected) in [
                (Lists::Space, space),
                (Lists::Comma, comma),
                (Lists::Json, json),
            ] {
                let found = header_value(&claim, lists).map(|value| value.map(String::from));
                assert_eq!(found, expected, "{claim} {lists:?}");
            }
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
        let mut edits = RequestEdits::none();
        identities.settle(&sent, &[], &mut edits);
        let clear = |name| HeaderEdit::Clear {
            name: Cow::Borrowed(name),
        };
        assert_eq!(edits.headers(), [clear("x-user"), clear("x_tenant")]);
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
        // Who stands there is dropped by the next hop.
        assert!(twice(&[("connection", "close, X_User")]));
        assert!(!twice(&[("connection", "close,x-users")]));
    }
}
