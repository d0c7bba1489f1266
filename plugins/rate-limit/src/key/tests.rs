//! What makes one key, and what makes two.

use super::*;
use crate::quota::Algorithm;
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
    fingerprint_when(WhenKeyMissing::Skip, limit, parts, headers)
}

fn fingerprint_when(
    when_missing: WhenKeyMissing,
    limit: &str,
    parts: &[&str],
    headers: &[(&str, &str)],
) -> Result<Fingerprint, NoKey> {
    let parts: Vec<KeyPart> = parts
        .iter()
        .map(|part| KeyPart::parse(part).unwrap())
        .collect();
    let headers = Headers::from_pairs(headers.iter().copied());
    of(limit, &parts, &headers, None, &[], when_missing)
}

/// By the claim `sub`, from verified claims or from the headers that are named for claims.
fn by_sub(
    headers: &Headers,
    claims: Option<&dyn Claims>,
    named: &[(ClaimPath, String)],
) -> Result<Fingerprint, NoKey> {
    let parts = [KeyPart::parse("claim:sub").unwrap()];
    of("l", &parts, headers, claims, named, WhenKeyMissing::Skip)
}

fn of(
    limit: &str,
    parts: &[KeyPart],
    headers: &Headers,
    claims: Option<&dyn Claims>,
    claim_headers: &[(ClaimPath, String)],
    when_missing: WhenKeyMissing,
) -> Result<Fingerprint, NoKey> {
    let client_address = ClientAddress::default();
    let source = Source {
        request: &Request::new(headers, &Peer),
        client_address: &client_address,
        claims,
        claim_headers,
        address: &OnceCell::new(),
    };
    let quota = Quota::new(Algorithm::FixedWindow, 1, Span::from_secs(60), None);
    Fingerprint::of(limit, &quota, parts, &source, &[7; 16], when_missing)
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
fn a_part_that_is_missing_is_not_the_next_one() {
    let of = |headers: &[(&str, &str)]| {
        let parts = ["header:a", "header:b"];
        fingerprint_when(WhenKeyMissing::Share, "l", &parts, headers).unwrap()
    };
    assert_eq!(of(&[("a", "x")]), of(&[("a", "x"), ("b", "")]));
    assert_ne!(of(&[("a", "x")]), of(&[("b", "x")]));
    assert_ne!(of(&[]), of(&[("b", "x")]));
}

#[test]
fn several_values_where_one_belongs_are_one_key_for_each_of_the_others() {
    let parts = ["client_address", "header:x-api-key", "cookie:k"];
    let two = |n: u32| {
        let key = format!("j{n}");
        fingerprint(
            "l",
            &parts,
            &[
                ("x-api-key", "REAL"),
                ("X_Api_Key", &key),
                ("cookie", "k=v"),
            ],
        )
    };
    let several = two(0).unwrap();
    assert!((1..100).all(|n| two(n) == Ok(several)));
    let joined = [("x-api-key", "REAL, j1"), ("cookie", "k=\"v\"")];
    assert_eq!(fingerprint("l", &parts, &joined), Ok(several));
    assert_ne!(
        fingerprint("l", &parts, &[("x-api-key", "REAL"), ("cookie", "k=v")]),
        Ok(several)
    );
    let other = [("x-api-key", "REAL, j1"), ("cookie", "k=w")];
    assert_ne!(fingerprint("l", &parts, &other), Ok(several));
    for (when, expected) in [
        (WhenKeyMissing::Share, Ok(several)),
        (WhenKeyMissing::Deny, Err(NoKey::Several(1))),
    ] {
        assert_eq!(fingerprint_when(when, "l", &parts, &joined), expected);
    }
}

#[test]
fn another_number_of_slots_moves_as_few_keys_as_can_be_and_all_slots_are_used() {
    let key = |n: u64| {
        let mut hasher = SipHasher24::new();
        hasher.write_u64(n);
        Fingerprint(hasher.finish128().as_bytes())
    };
    for (fewer, more) in [(1, 2), (8, 16), (2_730, 4_096)] {
        let mut used = std::collections::BTreeMap::<u32, u32>::new();
        for n in 0..40_960 {
            let (before, after) = (key(n).slot(fewer), key(n).slot(more));
            assert!(before < fewer && after < more);
            assert!(
                after == before || after >= fewer,
                "moved to a slot that was there"
            );
            *used.entry(after).or_default() += 1;
        }
        assert_eq!(used.len(), more as usize);
        let fair = 40_960 / more;
        assert!(used.values().all(|keys| *keys < 4 * fair + 4), "{fair}");
    }
    assert_eq!(key(1).slot(0), 0);
}

#[test]
fn a_claim_is_read_from_the_header_that_is_named_for_it() {
    let path = |text| ClaimPath::from_text(text).unwrap();
    let named = [
        (path("tenant"), "x-tenant".to_owned()),
        (path("sub"), "x-user-id".to_owned()),
    ];
    let key = |user: &str, tenant: &str| {
        let headers = Headers::from_pairs([("x-user-id", user), ("x-tenant", tenant)]);
        by_sub(&headers, None, &named)
    };
    let alice = key("alice", "a").unwrap();
    assert_eq!(key("alice", "b"), Ok(alice));
    assert_ne!(key("bob", "a"), Ok(alice));
    assert_eq!(key("", "a"), Err(NoKey::Missing(0)));
}

#[test]
fn a_claim_that_is_empty_is_missing() {
    struct Claimed(serde_json::Value);
    impl Claims for Claimed {
        fn claim(&self, _: &ClaimPath) -> Option<&serde_json::Value> {
            Some(&self.0)
        }
    }
    let key = |value: &str| by_sub(&Headers::default(), Some(&Claimed(value.into())), &[]);
    assert!(key("alice").is_ok());
    assert_eq!(key(""), Err(NoKey::Missing(0)));
}

#[test]
fn the_past_of_a_key_is_another_key_and_its_past_is_the_key() {
    let key = fingerprint("l", &["client_address"], &[]).unwrap();
    assert_ne!(key.in_the_past(), key);
    assert_eq!(key.in_the_past().in_the_past(), key);
}

#[test]
fn an_absent_or_empty_part_is_missing() {
    assert_eq!(fingerprint("l", &["header:a"], &[]), Err(NoKey::Missing(0)));
    assert_eq!(
        fingerprint("l", &["header:a"], &[("a", "")]),
        Err(NoKey::Missing(0))
    );
    assert_eq!(
        fingerprint("l", &["claim:sub"], &[]),
        Err(NoKey::Missing(0))
    );
    assert!(fingerprint("l", &["client_address"], &[]).is_ok());
    let host = |part: &str, name: &str| fingerprint("l", &[part], &[(name, "a.example")]);
    let shown = host("host", "host");
    assert!(shown.is_ok());
    assert_eq!(host("header:host", ":authority"), shown, "as Envoy has it");
    let two = |other: &str| fingerprint("l", &["host"], &[("host", "a.example"), ("host", other)]);
    assert!(two("b.example").is_ok() && two("b.example") != shown);
    assert_eq!(two("b.example"), two("c.example"));
    assert_eq!(fingerprint("l", &["host"], &[]), Err(NoKey::Missing(0)));
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

#[test]
fn a_part_is_named_as_it_is_written() {
    for part in [
        "client_address",
        "path",
        "method",
        "host",
        "route",
        "constant",
        "header:x-api-key",
        "header_line:x-dn",
        "query:k",
        "cookie:Sid",
        "claim:a.b",
    ] {
        assert_eq!(KeyPart::parse(part).unwrap().to_string(), part);
    }
}
