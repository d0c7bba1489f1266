//! The client's address: the connection's peer, or what trusted proxies say that it is.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::node::{UNIX_PEER, parse_node};
use crate::{Request, config, forwarded};

/// Reads a peer as the gateways write one: `10.0.0.1:1234` and `[::1]:1234` (Envoy), `10.0.0.1`
/// and `::1` (Kong). IPv4 addresses mapped into IPv6 come out as IPv4, zones are left out. A unix
/// socket, which Envoy writes as its path or its `@name` and Kong as `unix:`, is [`UNIX_PEER`].
#[must_use]
pub fn parse_peer(text: &str) -> Option<IpAddr> {
    let is_unix = || text.starts_with("unix:") || text.starts_with('@') || text.contains('/');
    parse_node(text).or_else(|| is_unix().then_some(UNIX_PEER))
}

/// How the client's address is found.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Vec<IpNet>,
    header: String,
    ipv6_prefix: u8,
}

/// What was found of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundAddress {
    /// The address; `None` where the gateway does not tell the peer.
    pub address: Option<IpAddr>,
    /// What a trusted proxy wrote could not be read, and the address is that of the last hop that
    /// can be trusted: all clients behind it are one.
    pub unreadable: bool,
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
        self.find(request).address
    }

    /// The same, with whether all that was needed could be read.
    #[must_use]
    pub fn find(&self, request: &Request<'_>) -> FoundAddress {
        let Some(peer) = request.peer() else {
            return FoundAddress {
                address: None,
                unreadable: false,
            };
        };
        let (address, unreadable) = self.behind_proxies(request, peer.to_canonical());
        FoundAddress {
            address: Some(self.group(address)),
            unreadable,
        }
    }

    /// The address under which one that a person writes is counted.
    #[must_use]
    pub fn grouped(&self, text: &str) -> Option<IpAddr> {
        parse_node(text).map(|address| self.group(address))
    }

    /// The address, and whether the header could not be read up to it.
    fn behind_proxies(&self, request: &Request<'_>, peer: IpAddr) -> (IpAddr, bool) {
        if !self.is_trusted(peer) {
            return (peer, false);
        }
        let lines: Vec<&[u8]> = request.headers().values(&self.header).collect();
        let lines = lines.iter().rev();
        let mut nearest = peer;
        let hops: Box<dyn Iterator<Item = Option<IpAddr>>> = if self.header == forwarded::HEADER {
            Box::new(lines.flat_map(|line| forwarded::hops(line).into_iter().rev()))
        } else {
            let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
            let hops = hops.map(<[u8]>::trim_ascii);
            // A list may have empty members (RFC 9110 section 5.6.1.2).
            let hops = hops.filter(|hop| !hop.is_empty());
            Box::new(hops.map(|hop| parse_node(std::str::from_utf8(hop).ok()?)))
        };
        for hop in hops.take(Self::MOST_HOPS) {
            let Some(address) = hop else {
                return (nearest, true);
            };
            nearest = address;
            if !self.is_trusted(address) {
                return (address, false);
            }
        }
        (nearest, false)
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
mod tests;
