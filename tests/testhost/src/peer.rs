//! The client's address, as each gateway writes it.

use std::net::{IpAddr, SocketAddr};

/// The port of a peer that a test named without one.
const DEFAULT_PORT: u16 = 40_000;

/// Address and port of a peer given as `10.0.0.1`, `10.0.0.1:1234`, `::1` or `[::1]:1234`.
pub(crate) fn parse(peer: &str) -> Option<SocketAddr> {
    let with_port = peer.parse::<SocketAddr>().ok();
    with_port.or_else(|| {
        peer.parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, DEFAULT_PORT))
    })
}

/// Envoy's `source.address`: with the port. What is no IP address (a pipe) is shown as it is.
pub(crate) fn with_port(peer: &str) -> String {
    parse(peer).map_or_else(|| peer.to_owned(), |address| address.to_string())
}

/// Kong's `source.address`: the IP address alone.
pub(crate) fn without_port(peer: &str) -> String {
    parse(peer).map_or_else(|| peer.to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_written_with_and_without_its_port() {
        for (peer, with, without) in [
            ("10.0.0.1:1234", "10.0.0.1:1234", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1:40000", "10.0.0.1"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9", "2001:db8::1"),
            ("2001:db8::1", "[2001:db8::1]:40000", "2001:db8::1"),
            ("unix:/run/x", "unix:/run/x", "unix:/run/x"),
        ] {
            assert_eq!(with_port(peer), with);
            assert_eq!(without_port(peer), without);
        }
    }
}
