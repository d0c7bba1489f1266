//! A request that is shown as the command that a person would type, and made.

use std::fmt;

use anyhow::{Context as _, Result};
use portcullis_e2e::Answer;
use reqwest::{Client, Method};

/// A request.
#[derive(Clone, Debug)]
pub struct Curl {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    token: Option<String>,
    body: Option<String>,
}

impl Curl {
    /// GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            url: url.into(),
            headers: Vec::new(),
            token: None,
            body: None,
        }
    }

    /// Another method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// A header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bearer token; shown as `$TOKEN`.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// A JSON body.
    pub fn json(mut self, body: impl ToString) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }

    /// Makes the request.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn send(&self, client: &Client) -> Result<Answer> {
        let mut request = client.request(self.method.clone(), &self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        Answer::to(request)
            .await
            .with_context(|| format!("no answer to: {self}"))
    }
}

impl fmt::Display for Curl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("curl -i")?;
        if self.method != Method::GET {
            write!(f, " -X {}", self.method)?;
        }
        write!(f, " {}", quoted(&self.url))?;
        if self.token.is_some() {
            f.write_str(" -H \"Authorization: Bearer $TOKEN\"")?;
        }
        for (name, value) in &self.headers {
            write!(f, " -H {}", quoted(&format!("{name}: {value}")))?;
        }
        match &self.body {
            Some(body) => write!(f, " -d {}", quoted(body)),
            None => Ok(()),
        }
    }
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_as_what_a_person_would_type() {
        let curl = Curl::get("http://h/a?q=it's")
            .token("secret")
            .header("x-a", "b");
        assert_eq!(
            curl.to_string(),
            r#"curl -i 'http://h/a?q=it'\''s' -H "Authorization: Bearer $TOKEN" -H 'x-a: b'"#
        );
        let curl = Curl::get("http://h").method(Method::PUT).json("{}");
        assert_eq!(
            curl.to_string(),
            "curl -i -X PUT 'http://h' -H 'content-type: application/json' -d '{}'"
        );
    }
}
