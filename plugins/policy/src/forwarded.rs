//! `Forwarded` (RFC 7239 section 4).

use std::net::IpAddr;

use crate::node::parse_node;

/// In lower case.
pub(crate) const HEADER: &str = "forwarded";

/// The address in the `for` of each hop of a line, from left to right; `None` where there is none
/// that can be read, or two. Empty elements are none (RFC 9110 section 5.6.1.2).
pub(crate) fn hops(line: &[u8]) -> Vec<Option<IpAddr>> {
    let elements = split_unquoted(line, b',').into_iter();
    let elements = elements.filter(|element| !element.trim_ascii().is_empty());
    elements.map(address).collect()
}

fn address(element: &[u8]) -> Option<IpAddr> {
    let pairs = split_unquoted(element, b';');
    let mut nodes = pairs.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_at_checked(pair.iter().position(|byte| *byte == b'=')?)?;
        let node = name.trim_ascii().eq_ignore_ascii_case(b"for");
        node.then(|| value.get(1..).unwrap_or_default())
    });
    let node = nodes.next()?.trim_ascii();
    if nodes.next().is_some() {
        return None;
    }
    let text = std::str::from_utf8(node).ok()?;
    let text = match text.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => text,
    };
    parse_node(text)
}

/// The parts of a line between those of these bytes that are not quoted.
fn split_unquoted(line: &[u8], at: u8) -> Vec<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = line.split(|byte| {
        let separates = !quoted && *byte == at;
        if escaped {
            escaped = false;
        } else if quoted && *byte == b'\\' {
            escaped = true;
        } else if *byte == b'"' {
            quoted = !quoted;
        }
        separates
    });
    parts.collect()
}
