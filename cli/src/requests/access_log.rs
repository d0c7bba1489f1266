//! Requests of an access log of Envoy's, of which each line is a JSON object.

use std::net::IpAddr;

use portcullis_policy::parse_peer;
use serde_json::{Map, Value};

use super::{Asked, line};
use crate::moment;

/// Under which names logs have what is needed. Envoy's own format of JSON is the first of each; the files of `envoy/` have some.
const METHOD: [&str; 4] = ["method", ":method", "req_method", "request_method"];
const PATH: [&str; 5] = [
    "path",
    "x-envoy-original-path",
    ":path",
    "original_path",
    "url",
];
const AUTHORITY: [&str; 4] = ["authority", ":authority", "host", "requested_server_name"];
const TIME: [&str; 4] = ["start_time", "time", "timestamp", "@timestamp"];
const CLIENT: [&str; 5] = [
    "client",
    "downstream_remote_address_without_port",
    "downstream_remote_address",
    "x_forwarded_for",
    "remote_address",
];
/// Those that are headers.
const HEADERS: [(&str, &str); 4] = [
    ("request_id", "x-request-id"),
    ("x_request_id", "x-request-id"),
    ("user_agent", "user-agent"),
    ("x_forwarded_for", "x-forwarded-for"),
];

/// All requests, in their order. What an access log does not have, such as tokens and bodies, they have not.
///
/// # Errors
/// A line is no JSON object, or names no method or path.
pub fn parse(text: &str) -> Result<Vec<Asked>, String> {
    let lines = (1_usize..).zip(text.lines());
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let asked = lines.map(|(number, line)| {
        let fields = serde_json::from_str::<Map<String, Value>>(line)
            .map_err(|error| format!("line {number}: no JSON object: {error}"));
        fields.and_then(|fields| asked(&fields).map_err(|error| format!("line {number}: {error}")))
    });
    asked.collect()
}

fn asked(fields: &Map<String, Value>) -> Result<Asked, String> {
    let target = field(fields, &PATH).ok_or("no path")?;
    let mut asked = line::of_url(target)?;
    field(fields, &METHOD)
        .ok_or("no method")?
        .clone_into(&mut asked.method);
    if let Some(authority) = field(fields, &AUTHORITY) {
        authority.clone_into(&mut asked.authority);
    }
    asked.at = match field(fields, &TIME) {
        Some(text) => Some(moment::parse(text)?),
        None => None,
    };
    asked.client = field(fields, &CLIENT).and_then(address);
    for (name, header) in HEADERS {
        if let Some(value) = field(fields, &[name]) {
            asked.add_default(header, value);
        }
    }
    Ok(asked)
}

/// The last one of a list: what came before it its sender may have written.
fn address(text: &str) -> Option<IpAddr> {
    parse_peer(text.rsplit(',').next()?.trim())
}

/// A field by one of its names. Envoy writes `-`, or null, for what is not there.
fn field<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    let mut found = names.iter().filter_map(|name| fields.get(*name)?.as_str());
    found.find(|text| !text.is_empty() && *text != "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_with_what_the_log_has_of_it() {
        let text = concat!(
            r#"{"time":"2026-01-01T00:00:00.000Z","request_id":"r1","client":"203.0.113.9","method":"GET","path":"/a","status":200}"#,
            "\n\n",
            r#"{"start_time":"2026-01-01T00:00:01.000Z","method":"POST","path":"/b?c","authority":"h","x_forwarded_for":"10.0.0.1, 10.0.0.2","user_agent":"-"}"#,
            "\n"
        );
        let all = parse(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].client, "203.0.113.9".parse().ok());
        assert_eq!(all[0].at, moment::parse("2026-01-01T00:00:00Z").ok());
        let id = ("x-request-id".to_owned(), "r1".to_owned());
        assert_eq!(all[0].headers, [id]);
        assert_eq!((&*all[1].authority, &*all[1].target), ("h", "/b?c"));
        assert_eq!(all[1].client, "10.0.0.2".parse().ok());
    }

    #[test]
    fn a_line_that_is_no_request_is_named() {
        for (text, said) in [
            (
                "{\"method\":\"GET\",\"path\":\"/\"}\nnone",
                "line 2: no JSON",
            ),
            ("{\"method\":\"GET\"}", "line 1: no path"),
            ("{\"path\":\"/\"}", "line 1: no method"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
