//! What makes one key, and what makes two.

use super::*;
use portcullis_policy::{Headers, PeerAddress, Span};

struct Peer;
impl PeerAddress for Peer {
    fn peer(&self) -> Option<IpAddr> {
        "192.0.2.1".parse().ok()
    }
}

fn fingerprint(
    limit: &str,
    parts: &[&str],
    headers: &[(&str, &str)],
) -> Result<Fingerprint, NoKey> {
    let parts: Vec<KeyPart> = parts
        .iter()
        .map(|part| KeyPart::parse(part).unwrap())
        .collect();
    let headers = Headers::from_pairs(headers.iter().copied());
    let client_address = ClientAddress::default();
    let source = Source {
        request: &Request::new(&headers, &Peer),
        client_address: &client_address,
        claims: None,
        claim_headers: &[],
        address: Default::default(),
    };
    let quota = Quota {
        algorithm: Algorithm::FixedWindow,
        quota: 1,
        window: Span::from_secs(60),
        burst: 1,
    };
    Fingerprint::of(limit, &quota, &parts, &source, &[7; 16], false)
}

#[test]
fn limits_parts_and_values_do_not_run_into_one_another() {
    let parts = ["header:a", "header:b"];
    let one = fingerprint("l", &parts, &[("a", "x"), ("b", "yz")]).unwrap();
    assert_eq!(
        fingerprint("l", &parts, &[("b", "yz"), ("A", "x")]),
        Ok(one)
    );
    assert_ne!(
        fingerprint("l", &parts, &[("a", "xy"), ("b", "z")]),
        Ok(one)
    );
    assert_ne!(
        fingerprint("m", &parts, &[("a", "x"), ("b", "yz")]),
        Ok(one)
    );
    assert_ne!(
        fingerprint("l", &parts, &[("a", "x"), ("a", "y"), ("b", "z")]),
        Ok(one)
    );
}

#[test]
fn an_absent_or_empty_part_is_missing() {
    assert_eq!(fingerprint("l", &["header:a"], &[]), Err(NoKey::Missing));
    assert_eq!(
        fingerprint("l", &["header:a"], &[("a", "")]),
        Err(NoKey::Missing)
    );
    assert_eq!(fingerprint("l", &["claim:sub"], &[]), Err(NoKey::Missing));
    assert!(fingerprint("l", &["client_address"], &[]).is_ok());
}

#[test]
fn what_is_not_a_key_is_named() {
    for wrong in [
        "ip",
        "header:",
        "header:a b",
        "claim:a..b",
        "cookie:",
        "cookie:a=b",
        "query:a&b",
        "paths",
        "constant:1",
    ] {
        assert!(
            KeyPart::parse(wrong)
                .unwrap_err()
                .contains(&format!("{:?}", wrong.rsplit(':').next().unwrap()))
                || KeyPart::parse(wrong)
                    .unwrap_err()
                    .contains(&format!("{wrong:?}")),
            "{wrong}"
        );
    }
}
