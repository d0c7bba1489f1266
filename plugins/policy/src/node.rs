//! Addresses of the hops of a request, as proxies write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The peer of a connection that has no address: one over a unix socket. It is the unspecified
/// address, which no other connection has.
pub const UNIX_PEER: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Reads an address as proxies write one: with a port or without, IPv6 in brackets or not, with a
/// zone or without. nginx writes `unix:` for a client on a unix socket.
pub(crate) fn parse_node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(text) => {
            let (address, rest) = text.split_once(']')?;
            let port = rest.strip_prefix(':');
            if !rest.is_empty() && !port.is_some_and(is_port) {
                return None;
            }
            IpAddr::V6(parse_v6(address)?)
        }
        None if text == "unix:" => return Some(UNIX_PEER),
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => {
                if !is_port(port) {
                    return None;
                }
                IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
            }
            Some(_) => IpAddr::V6(parse_v6(text)?),
            None => IpAddr::V4(text.parse::<Ipv4Addr>().ok()?),
        },
    };
    Some(address.to_canonical())
}

/// The zone (RFC 4007 section 11) says by which link the address was seen, and is left out.
fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "any"));
    address.parse().ok().filter(|_| !zone.is_empty())
}

/// A number, or one that is hidden behind a name (RFC 7239 section 6).
fn is_port(text: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(hidden),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
