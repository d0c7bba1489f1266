//! Proxies that are believed, and are anybody.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::configured::Configured;
use crate::document::Node;
use crate::finding::{Code, Finding};

/// `trusted_proxies` with more networks in them than anybody has proxies in.
pub(crate) fn trusted_strangers(configured: &Configured) -> Vec<Finding> {
    let parts = ["jwt_auth", "rate_limit"].iter();
    let parts = parts.filter_map(|part| configured.part(part));
    let lists = parts.filter_map(|part| part.at(&["client_address", "trusted_proxies"]));
    let wide = lists.flat_map(Node::items).filter(|network| {
        let text = network.text().unwrap_or_default();
        is_too_wide(text)
    });
    let finding = |network: &Node| {
        let text = network.text().unwrap_or_default();
        Finding::new(
            Code::TrustsStrangers,
            network.written,
            trusted("`trusted_proxies`", text),
        )
    };
    wide.map(finding).collect()
}

/// What is wrong with a network.
pub(crate) fn trusted(list: &str, network: &str) -> String {
    format!(
        "{list} believes everybody in {network}: a client from there chooses the address that it is counted by; expected the networks \
         of your own proxies"
    )
}

/// Whether a network is larger than those of anybody's proxies: content delivery networks have `/13` and `/29` at most.
pub(crate) fn is_too_wide(text: &str) -> bool {
    const WIDEST: (u8, u8) = (12, 28);
    let Ok(network) = text.parse::<IpNet>() else {
        return false;
    };
    let (is_own, widest) = match network.addr() {
        IpAddr::V4(address) => {
            let shared = address.octets().starts_with(&[100]) && network.prefix_len() >= 10;
            let is_own = address.is_private() || address.is_loopback() || shared;
            (is_own && network.prefix_len() >= 8, WIDEST.0)
        }
        IpAddr::V6(address) => {
            let is_own = address.is_unique_local() || address.is_unicast_link_local();
            (is_own && network.prefix_len() >= 7, WIDEST.1)
        }
    };
    !is_own && network.prefix_len() < widest
}

#[cfg(test)]
mod tests {
    use super::is_too_wide;

    #[test]
    fn a_network_that_nobody_has_proxies_in_is_too_wide() {
        for network in [
            "0.0.0.0/0",
            "::/0",
            "128.0.0.0/1",
            "10.0.0.0/7",
            "34.0.0.0/8",
            "2000::/3",
        ] {
            assert!(is_too_wide(network), "{network}");
        }
        for network in [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "127.0.0.0/8",
            "100.64.0.0/10",
            "104.16.0.0/13",
            "2a06:98c0::/29",
            "fc00::/7",
            "fe80::/10",
            "::1/128",
            "203.0.113.7",
            "unix",
        ] {
            assert!(!is_too_wide(network), "{network}");
        }
    }
}
