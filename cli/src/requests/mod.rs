//! Requests to be tried, and the ways in which people have them.

pub mod access_log;
pub mod curl;
pub mod har;
pub mod line;

use std::net::IpAddr;

use portcullis_policy::Timestamp;

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path and query, as they are sent.
    pub target: String,
    /// The host that it is for, with its port.
    pub authority: String,
    /// Header lines: names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Who sends it, where that is said.
    pub client: Option<IpAddr>,
    /// When, where that is said.
    pub at: Option<Timestamp>,
    /// The name of the route that the gateway has chosen for it.
    pub route: Option<String>,
}

impl Asked {
    /// Adds a header line. The host is none of them.
    pub fn add(&mut self, name: &str, value: &str) {
        let name = name.trim().to_ascii_lowercase();
        match name.as_str() {
            "host" => value.trim().clone_into(&mut self.authority),
            _ => self.headers.push((name, value.trim().to_owned())),
        }
    }

    /// The same with a header line, unless it has one of that name.
    pub fn add_default(&mut self, name: &str, value: &str) {
        if !self.headers.iter().any(|(known, _)| known == name) {
            self.add(name, value);
        }
    }
}

/// Reads a header line: `name: value`.
///
/// # Errors
/// It is none.
pub fn header(line: &str) -> Result<(String, String), String> {
    let pair = line.split_once(':').filter(|(name, _)| {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.trim_end().bytes().all(is_token)
    });
    let (name, value) =
        pair.ok_or_else(|| format!("{line:?} is no header line; expected `name: value`"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
