//! The parameters of a signature (RFC 9421 section 2.3), written.

use std::fmt;

use sfv::{KeyRef, ListSerializer, StringRef};

use crate::Component;

/// The parameters, in the order in which they are written. Points in time are in seconds since the
/// Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a> {
    /// When the signature was made.
    pub created: u64,
    /// When it ends.
    pub expires: Option<u64>,
    /// What is never used twice.
    pub nonce: Option<&'a str>,
    /// The algorithm's name.
    pub alg: Option<&'a str>,
    /// What the key is called.
    pub keyid: &'a str,
    /// What the signature is for.
    pub tag: Option<&'a str>,
}

/// A text that is not visible ASCII, or a number out of range (RFC 9651 section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAscii;

/// The inner list of the components with the parameters: a member of `Signature-Input`, and the
/// last line of the signature base.
///
/// # Errors
/// [`NotAscii`] when a parameter can't be written.
pub fn signature_params(components: &[Component], params: &Params<'_>) -> Result<String, NotAscii> {
    let text = |text| StringRef::from_str(text).map_err(|_| NotAscii);
    let number = |number: u64| sfv::Integer::try_from(number).map_err(|_| NotAscii);
    let mut list = ListSerializer::new();
    let mut inner = list.inner_list();
    for component in components {
        inner.bare_item(text(component.identifier())?);
    }
    let mut written = inner.finish();
    written = written.parameter(key("created")?, number(params.created)?);
    if let Some(expires) = params.expires {
        written = written.parameter(key("expires")?, number(expires)?);
    }
    for (name, value) in [
        ("nonce", params.nonce),
        ("alg", params.alg),
        ("keyid", Some(params.keyid)),
        ("tag", params.tag),
    ] {
        if let Some(value) = value {
            written = written.parameter(key(name)?, text(value)?);
        }
    }
    list.finish().ok_or(NotAscii)
}

fn key(name: &str) -> Result<&KeyRef, NotAscii> {
    KeyRef::from_str(name).map_err(|_| NotAscii)
}

impl fmt::Display for NotAscii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a parameter is not visible ASCII")
    }
}

impl std::error::Error for NotAscii {}
