//! Requests of a HAR file (HTTP Archive 1.2), which browsers write.

use serde::Deserialize;

use super::{Asked, line};
use crate::moment;

#[derive(Deserialize)]
struct Archive {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: Option<String>,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<Header>,
    post_data: Option<PostData>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: String,
}

/// All requests, in their order.
///
/// # Errors
/// It is no HAR file, or holds what is no request.
pub fn parse(text: &str) -> Result<Vec<Asked>, String> {
    // Some tools begin a file with a mark.
    let text = text.trim_start_matches('\u{feff}');
    let archive: Archive =
        serde_json::from_str(text).map_err(|error| format!("no HAR file: {error}"))?;
    // Pages also have what is no request of HTTP: `data:` and `blob:`.
    let entries = archive.log.entries.into_iter().enumerate();
    let entries = entries.filter(|(_, entry)| entry.request.url.starts_with("http"));
    let asked = entries.map(|(index, entry)| {
        asked(entry).map_err(|error| format!("log.entries[{index}]: {error}"))
    });
    asked.collect()
}

fn asked(entry: Entry) -> Result<Asked, String> {
    let request = entry.request;
    let mut asked = line::of_url(&request.url)?;
    asked.method = request.method;
    asked.at = match &entry.started_date_time {
        Some(text) => Some(moment::parse(text)?),
        None => None,
    };
    for header in &request.headers {
        let is_made_anew = header.name.eq_ignore_ascii_case("content-length");
        if !header.name.starts_with(':') && !is_made_anew {
            asked.add(&header.name, &header.value);
        }
    }
    asked.body = request
        .post_data
        .map_or(Vec::new(), |data| data.text.into_bytes());
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_a_request() {
        let text = r#"{ "log": { "version": "1.2", "entries": [
            { "startedDateTime": "2026-01-01T00:00:00.000Z", "time": 5, "request": { "method": "POST", "url": "https://h/a?b=c",
              "headers": [{ "name": ":path", "value": "/a" }, { "name": "X-A", "value": "1" }, { "name": "Content-Length", "value": "9" }],
              "postData": { "mimeType": "application/json", "text": "{}" } }, "response": {} },
            { "request": { "method": "GET", "url": "data:image/png;base64,AAAA" } }
        ] } }"#;
        let all = parse(text).unwrap();
        assert_eq!(
            all,
            [Asked {
                method: "POST".to_owned(),
                target: "/a?b=c".to_owned(),
                authority: "h".to_owned(),
                headers: vec![("x-a".to_owned(), "1".to_owned())],
                body: b"{}".to_vec(),
                client: None,
                at: moment::parse("2026-01-01T00:00:00Z").ok(),
                route: None,
            }]
        );
        assert!(parse("{}").unwrap_err().starts_with("no HAR file"));
    }
}
