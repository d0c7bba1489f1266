//! Header maps of both gateways.

use super::*;

fn map(dialect: Dialect, pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new(dialect);
    for (name, value) in pairs {
        headers.add(name, value.as_bytes());
    }
    headers
}

fn shown(headers: &Headers) -> Vec<(String, String)> {
    let (pairs, _) = headers.pairs();
    pairs
        .iter()
        .map(|(name, value)| {
            (
                (*name).to_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )
        })
        .collect()
}

fn upstream(headers: &Headers) -> Vec<String> {
    let sent = headers.sent_upstream();
    sent.iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
        .collect()
}

#[test]
fn envoy_replaces_all_duplicates_and_kong_the_first() {
    let duplicates = [("x-user", "a"), ("x-user", "b")];
    let mut envoy = map(Dialect::Envoy, &duplicates);
    envoy.replace("x-user", b"new");
    assert_eq!(upstream(&envoy), ["x-user=new"]);
    let mut kong = map(Dialect::Kong, &duplicates);
    kong.replace("X-User", b"new");
    assert_eq!(upstream(&kong), ["x-user=new", "x-user=b"]);
}

#[test]
fn envoy_removes_and_kong_only_hides() {
    let mut envoy = map(Dialect::Envoy, &[("x-user", "a")]);
    envoy.remove("X-User");
    assert_eq!((envoy.get("x-user"), upstream(&envoy).len()), (None, 0));
    let mut kong = map(Dialect::Kong, &[("x-user", "a")]);
    kong.remove("x-user");
    assert_eq!(kong.get("x-user"), None);
    assert_eq!(upstream(&kong), ["x-user=a"]);
    kong.replace("x-user", b"b");
    assert_eq!(upstream(&kong), ["x-user=a", "x-user=b"]);
}

#[test]
fn a_removed_response_header_reaches_no_client() {
    let mut kong = map(
        Dialect::Kong,
        &[(":status", "200"), ("server", "x"), ("a", "b")],
    );
    kong.remove("server");
    assert_eq!(kong.sent_downstream(), [("a".to_owned(), b"b".to_vec())]);
}

#[test]
fn envoy_joins_duplicates_of_the_headers_it_keeps_once() {
    let duplicates = [
        ("Authorization", "a"),
        ("authorization", "b"),
        ("x-user", "a"),
        ("x-user", "b"),
    ];
    let envoy = map(Dialect::Envoy, &duplicates);
    assert_eq!(
        upstream(&envoy),
        ["authorization=a,b", "x-user=a", "x-user=b"]
    );
    assert_eq!(map(Dialect::Kong, &duplicates).sent_upstream().len(), 4);
}

#[test]
fn envoy_lowers_names_and_kong_keeps_them() {
    let pairs = [("X-User", "a")];
    assert_eq!(
        shown(&map(Dialect::Envoy, &pairs)),
        [("x-user".to_owned(), "a".to_owned())]
    );
    assert_eq!(
        shown(&map(Dialect::Kong, &pairs)),
        [("X-User".to_owned(), "a".to_owned())]
    );
    assert_eq!(
        map(Dialect::Kong, &pairs).get("x-USER"),
        Some(b"a".as_slice())
    );
}

#[test]
fn envoy_knows_host_as_authority() {
    let envoy = map(Dialect::Envoy, &[("Host", "example.com")]);
    assert_eq!(envoy.get(":authority"), Some(b"example.com".as_slice()));
    assert_eq!(envoy.get("host"), Some(b"example.com".as_slice()));
}

#[test]
fn kong_shows_no_more_than_a_hundred_pairs_and_counts_them_all() {
    let mut kong = map(Dialect::Kong, &[(":path", "/")]);
    for i in 0..105 {
        kong.add(&format!("x-{i}"), b"");
    }
    let (pairs, cut) = kong.pairs();
    assert_eq!((pairs.len(), cut, kong.count()), (100, true, 105));
    assert_eq!(
        kong.get("x-104"),
        Some(b"".as_slice()),
        "asked for by name it is there"
    );
}

#[test]
fn a_map_survives_the_way_into_the_module_and_back() {
    let pairs: [(&str, &[u8]); 2] = [("a", b"1"), ("", b"\xff\0")];
    let bytes = encode(&pairs);
    assert_eq!(bytes.get(..4), Some([2, 0, 0, 0].as_slice()));
    let read = decode(&bytes).expect("it was just written");
    assert_eq!(
        read,
        [
            ("a".to_owned(), b"1".to_vec()),
            (String::new(), b"\xff\0".to_vec())
        ]
    );
    assert_eq!(decode(&[]), Some(Vec::new()));
}

#[test]
fn a_map_whose_lengths_lie_is_refused() {
    let bytes = encode(&[("name", b"value")]);
    for end in 1..bytes.len() {
        assert_eq!(decode(&bytes[..end]), None, "cut at {end}");
    }
    assert_eq!(decode(&[255, 255, 255, 255]), None);
}
