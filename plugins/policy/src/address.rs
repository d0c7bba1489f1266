//! The client's address: the connection's peer, or what trusted proxies say that it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::{Request, config, forwarded};

/// Reads a peer as the gateways write one: `10.0.0.1:1234` and `[::1]:1234` (Envoy), `10.0.0.1`
/// and `::1` (Kong). IPv4 addresses mapped into IPv6 come out as IPv4.
#[must_use]
pub fn parse_peer(text: &str) -> Option<IpAddr> {
    let address = match text.parse::<SocketAddr>() {
        Ok(socket) => socket.ip(),
        Err(_) => text.parse::<IpAddr>().ok()?,
    };
    Some(address.to_canonical())
}

/// How the client's address is found.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Vec<IpNet>,
    header: String,
    ipv6_prefix: u8,
}

impl ClientAddress {
    /// How many addresses of a forwarding header are looked at, from the right. More proxies than
    /// that do not stand in a row; a client can write as many as it likes.
    const MOST_HOPS: usize = 32;

    /// The address that a request is counted under; IPv6 addresses are cut to their prefix.
    ///
    /// Without trusted proxies it is the connection's peer. With them, it is the rightmost address
    /// of the header that is not a trusted proxy; a header that holds anything else from the right
    /// up to there falls back to the last hop that can be trusted.
    #[must_use]
    pub fn of(&self, request: &Request<'_>) -> Option<IpAddr> {
        let peer = request.peer()?.to_canonical();
        Some(self.group(self.behind_proxies(request, peer)))
    }

    fn behind_proxies(&self, request: &Request<'_>, peer: IpAddr) -> IpAddr {
        if !self.is_trusted(peer) {
            return peer;
        }
        let lines: Vec<&[u8]> = request.headers().values(&self.header).collect();
        let lines = lines.iter().rev();
        let mut nearest = peer;
        let hops: Box<dyn Iterator<Item = Option<IpAddr>>> = if self.header == forwarded::HEADER {
            Box::new(lines.flat_map(|line| forwarded::hops(line).into_iter().rev()))
        } else {
            let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
            Box::new(hops.map(|hop| parse_peer(std::str::from_utf8(hop).ok()?.trim())))
        };
        for hop in hops.take(Self::MOST_HOPS) {
            let Some(address) = hop else {
                return nearest;
            };
            nearest = address;
            if !self.is_trusted(address) {
                return address;
            }
        }
        nearest
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    fn group(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => {
                let cut = 128_u32.saturating_sub(u32::from(self.ipv6_prefix));
                let mask = u128::MAX.checked_shl(cut).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl From<config::ClientAddressConfig> for ClientAddress {
    fn from(config: config::ClientAddressConfig) -> Self {
        Self {
            trusted: config
                .trusted_proxies
                .0
                .into_iter()
                .map(|cidr| cidr.0)
                .collect(),
            header: config.header.as_str().to_owned(),
            ipv6_prefix: config.ipv6_prefix.get(),
        }
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        config::ClientAddressConfig::default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, PeerAddress};

    struct Peer(&'static str);
    impl PeerAddress for Peer {
        fn peer(&self) -> Option<IpAddr> {
            parse_peer(self.0)
        }
    }

    fn address(peer: &'static str, lines: &[&str]) -> String {
        address_in("x-forwarded-for", peer, lines)
    }

    fn address_in(header: &str, peer: &'static str, lines: &[&str]) -> String {
        let config =
            format!(r#"{{"trusted_proxies": ["10.0.0.0/8", "fd00::/8"], "header": "{header}"}}"#);
        let config: config::ClientAddressConfig = serde_json::from_str(&config).unwrap();
        let headers = Headers::from_pairs(lines.iter().map(|line| (header, *line)));
        let found = ClientAddress::from(config).of(&Request::new(&headers, &Peer(peer)));
        found.unwrap().to_string()
    }

    #[test]
    fn peers_are_read_as_both_gateways_write_them() {
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(parse_peer(text).unwrap().to_string(), expected);
        }
        assert_eq!(parse_peer("/tmp/socket"), None);
    }

    #[test]
    fn a_client_that_is_not_a_trusted_proxy_can_not_choose_its_address() {
        assert_eq!(address("192.0.2.1:9", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn behind_proxies_it_is_the_rightmost_address_that_is_not_a_proxy() {
        assert_eq!(
            address("10.0.0.1:9", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(
            address("10.0.0.1:9", &["1.1.1.1", "198.51.100.7", "10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(address("[fd00::1]:9", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn garbage_falls_back_to_the_last_hop_that_can_be_trusted() {
        assert_eq!(
            address("10.0.0.1:9", &["198.51.100.7, unknown"]),
            "10.0.0.1"
        );
        assert_eq!(
            address("10.0.0.1:9", &["198.51.100.7, unknown, 10.0.0.2"]),
            "10.0.0.2"
        );
        assert_eq!(address("10.0.0.1:9", &[]), "10.0.0.1");
        assert_eq!(address("10.0.0.1:9", &["10.0.0.3"]), "10.0.0.3");
    }

    #[test]
    fn the_standard_header_is_read_as_its_rfc_says() {
        let address = |lines: &[&str]| address_in("Forwarded", "10.0.0.1:9", lines);
        for (lines, expected) in [
            (
                &["for=192.0.2.60;proto=http;by=203.0.113.43"][..],
                "192.0.2.60",
            ),
            (
                &["for=1.1.1.1, for=198.51.100.17, For=10.0.0.2"],
                "198.51.100.17",
            ),
            (
                &["for=1.1.1.1", "for=198.51.100.17;by=10.0.0.9"],
                "198.51.100.17",
            ),
            (&["FOR=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::"),
            (&["for=\"192.0.2.1:80\""], "192.0.2.1"),
            (&["for=1.1.1.1, for=unknown"], "10.0.0.1"),
            (&["for=1.1.1.1, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=1.1.1.1, for=\"2.2.2.2"], "10.0.0.1"),
            (&["for=1.1.1.1, proto=https"], "10.0.0.1"),
            (&["for=\"1.1.1.1, for=2.2.2.2\""], "10.0.0.1"),
            (&["by=\"a,for=9.9.9.9\";for=192.0.2.60"], "192.0.2.60"),
            (&["for=1.1.1.1;for=2.2.2.2"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(address(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn ipv6_is_grouped_by_64_bits() {
        assert_eq!(address("[2001:db8:1:2:3:4:5:6]:9", &[]), "2001:db8:1:2::");
    }
}
