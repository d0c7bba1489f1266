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
    let found = ClientAddress::from(config).find(&Request::new(&headers, &Peer(peer)));
    let unreadable = if found.unreadable { " unreadable" } else { "" };
    format!("{}{unreadable}", found.address.unwrap())
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
    for text in ["", "localhost", "10.0.0.1:x", "[::1", "[10.0.0.1]"] {
        assert_eq!(parse_peer(text), None, "{text}");
    }
}

#[test]
fn proxies_write_addresses_in_more_ways_than_gateways() {
    for (text, expected) in [
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:_hidden", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("192.0.2.1:443", "192.0.2.1"),
        ("192.0.2.1:_x", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ("unix:", "::"),
    ] {
        let address = parse_node(text).map(|address| address.to_string());
        assert_eq!(address.as_deref(), Some(expected), "{text}");
    }
    for text in [
        "unknown",
        "_hidden",
        "192.0.2.1:",
        "192.0.2.1:123456",
        "192.0.2.1:_",
        "192.0.2",
        "fe80::1%",
        "[2001:db8::1]x",
        "[2001:db8::1]:",
        "2001:db8::1::",
        "/run/x",
    ] {
        assert_eq!(parse_node(text), None, "{text}");
    }
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
        "10.0.0.1 unreadable"
    );
    assert_eq!(
        address("10.0.0.1:9", &["198.51.100.7, unknown, 10.0.0.2"]),
        "10.0.0.2 unreadable"
    );
    assert_eq!(
        address("10.0.0.1:9", &["unknown, 198.51.100.7"]),
        "198.51.100.7",
        "what is not needed is not read"
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
        (&["for=1.1.1.1, for=unknown"], "10.0.0.1 unreadable"),
        (
            &["for=1.1.1.1, for=_hidden, for=10.0.0.2"],
            "10.0.0.2 unreadable",
        ),
        (&["for=1.1.1.1, for=\"2.2.2.2"], "10.0.0.1 unreadable"),
        (&["for=1.1.1.1, proto=https"], "10.0.0.1 unreadable"),
        (&["for=\"1.1.1.1, for=2.2.2.2\""], "10.0.0.1 unreadable"),
        (&["by=\"a,for=9.9.9.9\";for=192.0.2.60"], "192.0.2.60"),
        (&["for=1.1.1.1;for=2.2.2.2"], "10.0.0.1 unreadable"),
        (&[""], "10.0.0.1"),
        (&["for=\"[2001:db8::1]\""], "2001:db8::"),
        (&["for=\"[fe80::1%eth0]:80\""], "fe80::"),
        (&["for=198.51.100.7,, for=10.0.0.2,"], "198.51.100.7"),
    ] {
        assert_eq!(address(lines), expected, "{lines:?}");
    }
}

#[test]
fn every_form_of_an_address_and_empty_members_are_understood() {
    for (line, expected) in [
        ("[2001:db8::1]", "2001:db8::"),
        ("[2001:db8:1::1]:443", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("198.51.100.7:5000", "198.51.100.7"),
        ("198.51.100.7,,10.0.0.2", "198.51.100.7"),
        ("198.51.100.7, , ", "198.51.100.7"),
        (", ,", "10.0.0.1"),
        ("1.1.1.1, 198.51.100.7:x", "10.0.0.1 unreadable"),
    ] {
        assert_eq!(address("10.0.0.1:9", &[line]), expected, "{line}");
    }
    let many = format!("198.51.100.7{}", ",".repeat(100));
    assert_eq!(address("10.0.0.1:9", &[&many]), "198.51.100.7");
    let long = format!("198.51.100.7{}", ",10.0.0.2".repeat(32));
    assert_eq!(address("10.0.0.1:9", &[&long]), "10.0.0.2");
}

/// With `use_remote_address` Envoy appends the peer to the header before filters see it; for a
/// peer on the loopback it appends the address of its own node in its stead.
#[test]
fn behind_a_proxy_on_its_own_host_envoy_appends_its_node_unless_it_is_told_not_to() {
    let found = |trusted: &str, peer: &'static str, line: &str| {
        let config = format!(r#"{{"trusted_proxies": {trusted}}}"#);
        let config: config::ClientAddressConfig = serde_json::from_str(&config).unwrap();
        let headers = Headers::from_pairs([("x-forwarded-for", line)]);
        let found = ClientAddress::from(config).of(&Request::new(&headers, &Peer(peer)));
        found.unwrap().to_string()
    };
    let (loopback, both) = (r#"["127.0.0.0/8"]"#, r#"["127.0.0.0/8", "172.17.0.2"]"#);
    for (trusted, peer, line, expected) in [
        // use_remote_address alone: all clients are the node.
        (
            loopback,
            "127.0.0.1:9",
            "198.51.100.7,172.17.0.2",
            "172.17.0.2",
        ),
        // The node is a trusted proxy, too.
        (
            both,
            "127.0.0.1:9",
            "198.51.100.7,172.17.0.2",
            "198.51.100.7",
        ),
        // skip_xff_append.
        (loopback, "127.0.0.1:9", "198.51.100.7", "198.51.100.7"),
        // xff_num_trusted_hops: 1. Envoy shows the client as the peer.
        (
            "[]",
            "198.51.100.7:0",
            "198.51.100.7,172.17.0.2",
            "198.51.100.7",
        ),
        // What a client wrote itself stands further left in each of them.
        (
            both,
            "127.0.0.1:9",
            "9.9.9.9,198.51.100.7,172.17.0.2",
            "198.51.100.7",
        ),
        (
            loopback,
            "127.0.0.1:9",
            "9.9.9.9,198.51.100.7",
            "198.51.100.7",
        ),
    ] {
        assert_eq!(found(trusted, peer, line), expected, "{trusted} {line}");
    }
}

#[test]
fn a_peer_on_a_unix_socket_is_one_client_or_a_proxy_that_is_trusted() {
    let found = |trusted: &str, peer: &'static str| {
        let config = format!(r#"{{"trusted_proxies": [{trusted}]}}"#);
        let config: config::ClientAddressConfig = serde_json::from_str(&config).unwrap();
        let headers = Headers::from_pairs([("x-forwarded-for", "198.51.100.7, unix:")]);
        ClientAddress::from(config).of(&Request::new(&headers, &Peer(peer)))
    };
    for peer in [
        "unix:",
        "unix:/run/gateway.sock",
        "/run/gateway.sock",
        "@gateway",
        "@",
    ] {
        assert_eq!(found("", peer), Some(UNIX_PEER), "{peer}");
        assert_eq!(found(r#""10.0.0.0/8""#, peer), Some(UNIX_PEER), "{peer}");
        let client = found(r#""unix""#, peer).unwrap().to_string();
        assert_eq!(client, "198.51.100.7", "{peer}");
    }
    assert_eq!(found(r#""unix""#, "10.0.0.1"), "10.0.0.1".parse().ok());
}

#[test]
fn ipv6_is_grouped_by_64_bits() {
    assert_eq!(address("[2001:db8:1:2:3:4:5:6]:9", &[]), "2001:db8:1:2::");
}
