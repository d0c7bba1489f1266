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
    /// The header's index.
    pub(crate) index: usize,
    /// How it holds a list.
    pub(crate) lists: Lists,
}

/// The identity headers of all providers, each by its index.
#[derive(Debug, Default)]
pub(crate) struct Identities(Vec<WritableHeader>);

/// What the identity headers are to hold, by their indices.
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
    /// The index of a header.
    pub(crate) fn index(&mut self, header: WritableHeader) -> Result<usize, ConfigError> {
        let alike =
            |known: &WritableHeader| spelled_like(known.as_str().as_bytes(), header.as_str());
        match self.0.iter().position(alike) {
            Some(index) if self.0.get(index) == Some(&header) => Ok(index),
            Some(index) => {
                let known = self.0.get(index).map_or("", WritableHeader::as_str);
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
            if let Some(value) = values.get_mut(forward.index) {
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
        let mut ours = self.0.iter().map(WritableHeader::as_str);
        ours.any(|ours| headers.spelled_like(ours).nth(1).is_some())
    }

    /// Writes what is known of the caller, and empties everything else.
    pub(crate) fn settle<'a>(
        &'a self,
        headers: &'a Headers,
        callers: &[&Caller],
        edits: &mut RequestEdits<'a>,
    ) {
        for (index, header) in self.0.iter().enumerate() {
            clear_spellings(headers, header.as_str(), edits);
            let value = callers
                .iter()
                .find_map(|caller| caller.identity.get(index)?.as_deref());
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

impl Identities {
    /// Lets the gateway read what is known of the caller, by the names of the headers.
    pub(crate) fn tell<'a>(&'a self, callers: &[&Caller], edits: &mut RequestEdits<'a>) {
        for (index, header) in self.0.iter().enumerate() {
            let mut callers = callers.iter();
            let value = callers.find_map(|caller| caller.identity.get(index)?.as_deref());
            if let Some(value) = value {
                edits.tell(header.as_str(), value.to_owned());
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
mod tests;
