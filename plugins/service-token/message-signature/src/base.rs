//! The signature base (RFC 9421 section 2.5).

use std::fmt;

use crate::Component;

/// A host as it is covered by both sides, `@authority` (RFC 9421 section 2.2.3): in lower case and without
/// the port of plain HTTP. A gateway does not know the scheme by which its upstream is called; behind it,
/// HTTP is the rule.
#[must_use]
pub fn canonical_authority(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let bare = host.strip_suffix(":80").map(str::to_owned);
    bare.unwrap_or(host)
}

/// A request, as one of the two sides sees it.
pub trait Message {
    /// The method, as it was sent.
    fn method(&self) -> &str;
    /// The host in lower case, with its port unless that is the scheme's own. `None`: there is none,
    /// or several.
    fn authority(&self) -> Option<String>;
    /// The request target in origin form: path and query, as they were sent.
    fn target(&self) -> &[u8];
    /// The lines of the field of that name (in lower case), in their order.
    fn lines(&self, name: &str) -> Vec<&[u8]>;
}

/// Why there is no signature base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseError {
    /// The request does not have this component.
    Missing(String),
    /// This component is there twice.
    Repeated(String),
    /// This component has a line break or a byte that is not ASCII in it.
    NotAscii(String),
}

/// The signature base of `message`: what the signature is made over. `params` is the serialized
/// inner list of the components and its parameters, as in `Signature-Input`.
///
/// # Errors
/// [`BaseError`] names the component.
pub fn signature_base(
    message: &dyn Message,
    components: &[Component],
    params: &str,
) -> Result<Vec<u8>, BaseError> {
    let mut base = Vec::with_capacity(256);
    for (index, component) in components.iter().enumerate() {
        let identifier = component.identifier();
        if components
            .iter()
            .take(index)
            .any(|before| before == component)
        {
            return Err(BaseError::Repeated(identifier.to_owned()));
        }
        base.extend_from_slice(b"\"");
        base.extend_from_slice(identifier.as_bytes());
        base.extend_from_slice(b"\": ");
        let start = base.len();
        append(message, component, &mut base)
            .ok_or_else(|| BaseError::Missing(identifier.to_owned()))?;
        let value = base.get(start..).unwrap_or_default();
        if !value.is_ascii() || value.iter().any(|byte| b"\r\n\0".contains(byte)) {
            return Err(BaseError::NotAscii(identifier.to_owned()));
        }
        base.push(b'\n');
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(params.as_bytes());
    Ok(base)
}

/// Appends a component's value; `None` when there is none.
fn append(message: &dyn Message, component: &Component, base: &mut Vec<u8>) -> Option<()> {
    let (path, query) = split(message.target());
    match component {
        Component::Method => base.extend_from_slice(message.method().as_bytes()),
        Component::Authority => base.extend_from_slice(message.authority()?.as_bytes()),
        // RFC 9110 section 4.2.3: an empty path is that of the root.
        Component::Path if path.is_empty() => base.push(b'/'),
        Component::Path => base.extend_from_slice(path),
        Component::Query => {
            base.push(b'?');
            base.extend_from_slice(query);
        }
        Component::Field(name) => {
            let lines = message.lines(name);
            if lines.is_empty() {
                return None;
            }
            for (index, line) in lines.into_iter().enumerate() {
                if index > 0 {
                    base.extend_from_slice(b", ");
                }
                append_line(line, base);
            }
        }
    }
    Some(())
}

/// A target's path, and its query without the question mark.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = target.splitn(2, |byte| *byte == b'?');
    let path = parts.next().unwrap_or_default();
    (path, parts.next().unwrap_or_default())
}

/// A field's line without white space around it, and with a space in place of each obsolete line
/// folding (RFC 9112 section 5.2).
fn append_line(line: &[u8], base: &mut Vec<u8>) {
    let mut parts = line.split(|byte| *byte == b'\n').peekable();
    let mut first = true;
    while let Some(part) = parts.next() {
        let is_folded = first || part.starts_with(b" ") || part.starts_with(b"\t");
        match (first, is_folded) {
            (true, _) => {}
            (false, true) => base.push(b' '),
            // A line break that folds nothing is no part of a field: it is left in, and refused.
            (false, false) => base.push(b'\n'),
        }
        let part = match parts.peek() {
            Some(_) => part.strip_suffix(b"\r").unwrap_or(part),
            None => part,
        };
        base.extend_from_slice(part.trim_ascii());
        first = false;
    }
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(identifier) => write!(f, "the request has no {identifier}"),
            Self::Repeated(identifier) => write!(f, "{identifier} is covered twice"),
            Self::NotAscii(identifier) => {
                write!(
                    f,
                    "{identifier} of the request has bytes that can't be signed"
                )
            }
        }
    }
}

impl std::error::Error for BaseError {}
