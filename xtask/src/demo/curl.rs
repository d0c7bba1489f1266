//! A request that is shown as the command that a person would type, and made.

use std::fmt;

use anyhow::{Context as _, Result};
use portcullis_e2e::Answer;
use reqwest::{Client, Method, RequestBuilder, Response};

/// A request.
#[derive(Clone, Debug)]
pub struct Curl {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    token: Option<String>,
    body: Option<String>,
    /// The variable of a shell that holds the body.
    body_name: Option<&'static str>,
    is_stream: bool,
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
            body_name: None,
            is_stream: false,
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

    /// The body is shown as a variable of this name.
    pub fn body_as(mut self, name: &'static str) -> Self {
        self.body_name = Some(name);
        self
    }

    /// The line that sets the body's variable.
    pub fn sets_body(&self) -> Option<String> {
        let (name, body) = self.body_name.zip(self.body.as_ref())?;
        Some(format!("{name}={}", quoted(body)))
    }

    /// Its answer is shown as it comes.
    pub fn streamed(mut self) -> Self {
        self.is_stream = true;
        self
    }

    /// Makes the request.
    ///
    /// # Errors
    /// There was no whole answer.
    pub async fn send(&self, client: &Client) -> Result<Answer> {
        Answer::to(self.request(client))
            .await
            .with_context(|| self.unanswered())
    }

    /// Makes the request, and waits for no more than the head of the answer.
    ///
    /// # Errors
    /// There was none.
    pub async fn begin(&self, client: &Client) -> Result<Response> {
        let answer = self.request(client).send().await;
        answer.with_context(|| self.unanswered())
    }

    fn unanswered(&self) -> String {
        format!("no answer to: {self}")
    }

    fn request(&self, client: &Client) -> RequestBuilder {
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
        request
    }
}

impl fmt::Display for Curl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("curl -i")?;
        if self.is_stream {
            f.write_str(" -N")?;
        }
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
        match (&self.body, self.body_name) {
            (Some(_), Some(name)) => write!(f, " -d \"${name}\""),
            (Some(body), None) => write!(f, " -d {}", quoted(body)),
            (None, _) => Ok(()),
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
        let curl = Curl::get("http://h").streamed().json("{}").body_as("ASKED");
        assert_eq!(
            curl.to_string(),
            "curl -i -N 'http://h' -H 'content-type: application/json' -d \"$ASKED\""
        );
        assert_eq!(curl.sets_body().as_deref(), Some("ASKED='{}'"));
    }
}
