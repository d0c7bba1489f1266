//! The fields `Signature-Input` and `Signature` (RFC 9421 section 4): dictionaries with a member for
//! each signature, by its label.

use std::fmt;

use sfv::{BareItem, DictSerializer, Dictionary, InnerList, ListEntry, ListSerializer, Parser};

use crate::{Component, UnknownComponent};

/// A field that is no dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A signature of a request.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its label.
    pub label: String,
    /// Its bytes.
    pub signature: Vec<u8>,
    /// What it covers, and its parameters.
    input: InnerList,
}

/// The signatures of which both fields tell, in the order of `Signature-Input`. The values of
/// several lines are joined by commas before.
///
/// # Errors
/// [`Malformed`]: one of the fields is no dictionary.
pub fn members(signature_input: &[u8], signature: &[u8]) -> Result<Vec<Signed>, Malformed> {
    let inputs = dictionary(signature_input)?;
    let mut signatures = dictionary(signature)?;
    let member = |(label, input): (sfv::Key, ListEntry)| {
        let ListEntry::InnerList(input) = input else {
            return None;
        };
        let ListEntry::Item(item) = signatures.shift_remove(&label)? else {
            return None;
        };
        let BareItem::ByteSequence(signature) = item.bare_item else {
            return None;
        };
        let label = label.as_str().to_owned();
        Some(Signed {
            label,
            signature,
            input,
        })
    };
    Ok(inputs.into_iter().filter_map(member).collect())
}

/// Whether a field has a member of that label.
///
/// # Errors
/// [`Malformed`]: it is no dictionary.
pub fn has(field: &[u8], label: &str) -> Result<bool, Malformed> {
    let members = dictionary(field)?;
    Ok(members.keys().any(|known| known.as_str() == label))
}

/// A field without the member of that label; `None` when nothing is left.
///
/// # Errors
/// [`Malformed`]: it is no dictionary.
pub fn without(field: &[u8], label: &str) -> Result<Option<String>, Malformed> {
    let mut members = dictionary(field)?;
    members.retain(|known, _| known.as_str() != label);
    let mut serializer = DictSerializer::new();
    serializer.members(&members);
    Ok(serializer.finish())
}

fn dictionary(field: &[u8]) -> Result<Dictionary, Malformed> {
    Parser::new(field).parse().map_err(|_| Malformed)
}

impl Signed {
    /// What it covers.
    ///
    /// # Errors
    /// [`UnknownComponent`]: something else than this crate knows, or with parameters of its own.
    pub fn components(&self) -> Result<Vec<Component>, UnknownComponent> {
        let component = |item: &sfv::Item| match &item.bare_item {
            BareItem::String(identifier) if item.params.is_empty() => {
                Component::parse(identifier.as_str())
            }
            _ => Err(UnknownComponent),
        };
        self.input.items.iter().map(component).collect()
    }

    /// A parameter that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.parameter(name)? {
            BareItem::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// A parameter that is a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.parameter(name)? {
            BareItem::Integer(number) => Some(i64::from(*number)),
            _ => None,
        }
    }

    /// Whether there is such a parameter, of whatever type.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    /// The last line of its signature base, as it is written canonically.
    #[must_use]
    pub fn params(&self) -> String {
        let mut serializer = ListSerializer::new();
        let entry = ListEntry::InnerList(self.input.clone());
        serializer.members([&entry]);
        serializer.finish().unwrap_or_default()
    }

    fn parameter(&self, name: &str) -> Option<&BareItem> {
        let mut parameters = self.input.params.iter();
        let (_, value) = parameters.find(|(key, _)| key.as_str() == name)?;
        Some(value)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a dictionary (RFC 9651 section 3.2)")
    }
}

impl std::error::Error for Malformed {}
