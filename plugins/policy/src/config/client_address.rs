//! `client_address`: which proxies to believe.

use ipnet::IpNet;
use serde::Deserialize;

use crate::UNIX_PEER;
use crate::config::text::text_type;
use crate::config::{Bounded, HeaderName, List};

/// How the client's address is found. Without trusted proxies: the connection's peer.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ClientAddressConfig {
    /// Networks whose word is believed; `unix` for whoever connects over a unix socket.
    pub trusted_proxies: List<Cidr>,
    /// The header in which they say it.
    pub header: HeaderName,
    /// Leading bits by which IPv6 addresses count as one client.
    pub ipv6_prefix: Bounded<1, 128, u8>,
}

impl Default for ClientAddressConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: List::default(),
            header: HeaderName::known("x-forwarded-for"),
            // A customer gets a /64 and may use any address in it.
            ipv6_prefix: Bounded::new(64),
        }
    }
}

/// A network such as `10.0.0.0/8` or `fd00::/8`, or one address; `unix` is that of [`UNIX_PEER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub IpNet);
text_type!(
    Cidr,
    "a network such as 10.0.0.0/8, an address, or unix for whoever connects over a unix socket"
);

impl Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self(IpNet::from(UNIX_PEER)));
        }
        let net = match text.parse::<std::net::IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| {
                format!(
                    "{text:?} is not a network; expected one such as 10.0.0.0/8 or fd00::/8, or unix"
                )
            })?,
        };
        if net.trunc() != net {
            return Err(format!(
                "{text:?} has bits behind its prefix; did you mean {}?",
                net.trunc()
            ));
        }
        Ok(Self(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_with_bits_behind_its_prefix_is_a_mistake() {
        assert!(Cidr::parse("10.0.0.0/8").is_ok() && Cidr::parse("::1").is_ok());
        assert!(
            Cidr::parse("10.0.0.1/8")
                .unwrap_err()
                .contains("10.0.0.0/8")
        );
        assert!(Cidr::parse("10.0.0.0/33").is_err() && Cidr::parse("unix:").is_err());
        assert_eq!(Cidr::parse("unix"), Ok(Cidr(IpNet::from(UNIX_PEER))));
    }
}
