//! `RateLimit-Policy` and `RateLimit`, read by a parser of structured fields (RFC 9651) that is not
//! ours, as draft-ietf-httpapi-ratelimit-headers-10 defines them.

use portcullis_conformance::{Sent, Then, everywhere};
use portcullis_rate_limit::RateLimit;
use sfv::{BareItem, List, ListEntry, Parser};

const CONFIG: &str = r#"{"capacity":64,"limits":[
    {"name":"per_ip","key":["client_address"],"quota":3,"window":"1m","algorithm":"fixed_window"},
    {"name":"all","key":["constant"],"quota":1000000,"window":"24h","algorithm":"sliding_window"},
    {"name":"bursts","key":["client_address"],"quota":20,"window":"1s","burst":5,"algorithm":"token_bucket"}]}"#;

/// An item of either field: the limit's name, and its parameters.
type Item = (String, Vec<(String, i64)>);

/// The field of that name, which stands there once.
fn field(headers: &[(String, String)], name: &str) -> Vec<Item> {
    let mut lines = headers.iter().filter(|(known, _)| known == name);
    let (_, value) = lines.next().expect("the field");
    assert!(lines.next().is_none(), "{name} is there twice");
    let list: List = Parser::new(value).parse().expect("a structured field");
    list.into_iter().map(item).collect()
}

fn item(entry: ListEntry) -> Item {
    let ListEntry::Item(item) = entry else {
        panic!("an inner list");
    };
    let BareItem::String(name) = item.bare_item else {
        panic!("not a string: {:?}", item.bare_item);
    };
    let parameters = item.params.into_iter().map(|(key, value)| match value {
        BareItem::Integer(number) => (key.to_string(), number.into()),
        other => panic!("{key} is not an integer: {other:?}"),
    });
    (name.to_string(), parameters.collect())
}

fn items(expected: [(&str, [(&str, i64); 2]); 3]) -> Vec<Item> {
    let item = |(name, parameters): (&str, [(&str, i64); 2])| {
        let parameters = parameters.map(|(key, value)| (key.to_owned(), value));
        (name.to_owned(), parameters.to_vec())
    };
    expected.map(item).to_vec()
}

fn policy() -> Vec<Item> {
    items([
        ("per_ip", [("q", 3), ("w", 60)]),
        ("all", [("q", 1_000_000), ("w", 86_400)]),
        ("bursts", [("q", 20), ("w", 1)]),
    ])
}

#[test]
fn both_fields_are_lists_of_named_items_on_what_is_admitted_and_on_429() {
    everywhere::<RateLimit>(CONFIG, |subject| {
        for left in [2, 1, 0] {
            let (seen, handle) = subject.begin(Sent::get("/"));
            assert_eq!(seen.refused, None);
            let headers = subject.finish(handle, Then::Upstream(200));
            assert_eq!(field(&headers, "ratelimit-policy"), policy());
            let state = field(&headers, "ratelimit");
            let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["per_ip", "all", "bursts"]);
            assert_eq!(state[0].1, [("r".to_owned(), left), ("t".to_owned(), 60)]);
            for ((_, state), (_, policy)) in state.iter().zip(policy()) {
                assert_eq!((state[0].0.as_str(), state[1].0.as_str()), ("r", "t"));
                assert!((0..=policy[0].1).contains(&state[0].1));
                assert!((0..=policy[1].1).contains(&state[1].1));
            }
        }
        let seen = subject.ask(Sent::get("/"));
        assert_eq!(seen.status(), 429);
        // All that counted it, as they stand without it.
        assert_eq!(field(&seen.headers, "ratelimit-policy"), policy());
        let state = field(&seen.headers, "ratelimit");
        let refusing = vec![("r".to_owned(), 0), ("t".to_owned(), 60)];
        assert_eq!(state[0], ("per_ip".to_owned(), refusing));
        assert_eq!(state[1].1[0], ("r".to_owned(), 999_997));
        assert_eq!(state[2].1[0], ("r".to_owned(), 2));
        let retry_after: i64 = seen
            .header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
            .expect("a number");
        assert_eq!(retry_after, state[0].1[1].1);
    });
}

#[test]
fn the_parser_refuses_what_is_no_such_field() {
    for value in [
        "per_ip;q=3,",
        "\"per_ip\";Q=3",
        "\"per_ip\" q=3",
        "\"a\";q=1,,\"b\"",
    ] {
        assert!(Parser::new(value).parse::<List>().is_err(), "{value}");
    }
}
