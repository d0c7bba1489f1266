//! Keeps secrets out of what is shown.

use crate::filter::Variables;
use crate::gateway::Configured;

/// What is not to be shown.
#[derive(Clone, Default)]
pub struct Mask {
    /// Headers that hold credentials, in lower case.
    names: Vec<String>,
    secrets: Vec<String>,
}

/// Shorter than that, a text is in others by chance.
const SHORTEST: usize = 8;

/// Words in the names of headers that hold credentials.
const WORDS: [&str; 8] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "api-key",
    "apikey",
    "credential",
];

impl Mask {
    /// Also what a filter's configuration and variables hold.
    pub fn add(&mut self, configured: &Configured, variables: &Variables) {
        let credential = configured.part("service_token");
        let header = credential.and_then(|part| part.at(&["credential", "header"])?.text());
        self.names.extend(header.map(str::to_ascii_lowercase));
        let secrets = variables.values().into_iter();
        self.secrets
            .extend(secrets.filter(|secret| secret.len() >= SHORTEST));
    }

    /// A header's value as it may be shown.
    #[must_use]
    pub fn header(&self, name: &str, value: &str) -> String {
        let is_secret = WORDS.iter().any(|word| name.contains(word))
            || self.names.iter().any(|known| known == name);
        if !is_secret {
            return self.text(value);
        }
        // The word before it says what it is.
        match value.split_once(' ') {
            Some((scheme, secret)) if name == "authorization" => {
                format!("{scheme} {}", hidden(secret))
            }
            _ => hidden(value),
        }
    }

    /// A text without the secrets and tokens in it.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.secrets {
            if shown.contains(secret.as_str()) {
                shown = shown.replace(secret.as_str(), "****");
            }
        }
        without_tokens(&shown)
    }
}

fn hidden(secret: &str) -> String {
    format!("**** ({} characters)", secret.chars().count())
}

/// Tokens begin with `{"` in base64url, and have two dots.
fn without_tokens(text: &str) -> String {
    const BEGIN: &str = "eyJ";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (before, token) = rest.split_at(at);
        let is_of_it = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let end = token.find(|c| !is_of_it(c)).unwrap_or(token.len());
        let (token, after) = token.split_at(end);
        shown.push_str(before);
        let is_token = token.matches('.').count() == 2;
        shown.push_str(if is_token { "eyJ****" } else { token });
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown_wherever_they_stand() {
        let mask = Mask {
            names: vec!["x-ours".to_owned()],
            secrets: vec!["hunter2hunter2".to_owned()],
        };
        for (name, value, shown) in [
            ("authorization", "Bearer abc", "Bearer **** (3 characters)"),
            ("cookie", "a=b", "**** (3 characters)"),
            ("x-service-token", "abcd", "**** (4 characters)"),
            ("x-ours", "abcd", "**** (4 characters)"),
            ("x-user", "alice", "alice"),
            ("x-other", "a hunter2hunter2 b", "a **** b"),
            (
                "x-forwarded-uri",
                "/a?t=eyJhbGci.eyJzdWIi.c2ln&b=1",
                "/a?t=eyJ****&b=1",
            ),
        ] {
            assert_eq!(mask.header(name, value), shown, "{name}");
        }
    }
}
