//! `kind: static`: the secret itself is the credential.

use portcullis_policy::Environment;
use portcullis_policy::config::{ConfigError, SecretUse};

use crate::config::CredentialConfig;
use crate::secrets::{Known, resolve};

/// A header and the secrets that are known to be ours.
#[derive(Debug)]
pub(crate) struct StaticSecret {
    header: String,
    current: Known,
    others: Vec<Known>,
}

/// The header of a credential whose configuration names none.
pub(crate) const HEADER: &str = "x-service-token";

/// As many bytes as a hash that nobody guesses; RFC 7518 asks the same of a key for HS256.
const SHORTEST: usize = 32;

impl StaticSecret {
    /// Fetches the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names field and rule, never a secret.
    pub(crate) fn new(
        config: CredentialConfig,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let header = config.header.as_ref().map_or(HEADER, |name| name.as_str());
        let header = header.to_owned();
        let shortest = (!config.allow_short).then_some(SHORTEST);
        let known = resolve(
            config.secrets,
            SecretUse::HeaderValue,
            shortest,
            environment,
        )?;
        let mut known = known.into_iter();
        let Some(current) = known.next() else {
            return Err(ConfigError::at("secrets", "expected at least one secret"));
        };
        Ok(Self {
            header,
            current,
            others: known.collect(),
        })
    }

    /// The header's name, in lower case.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// What is sent.
    pub(crate) fn value(&self) -> &[u8] {
        self.current.secret.as_bytes()
    }

    /// What the secret that is sent is called.
    pub(crate) fn id(&self) -> &str {
        self.current.id.as_str()
    }

    /// Whether `value` is one of our secrets, in time that does not tell which of them it is close
    /// to.
    pub(crate) fn is_ours(&self, value: &[u8]) -> bool {
        self.others
            .iter()
            .fold(self.current.secret.matches(value), |ours, known| {
                ours | known.secret.matches(value)
            })
    }
}

#[cfg(test)]
mod tests {
    use portcullis_policy::config::parse_text;
    use portcullis_sim::Env;

    use super::*;
    use crate::secrets::MOST_SECRETS;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn new(text: &str) -> Result<StaticSecret, String> {
        let environment = Env(vec![("TOKEN".to_owned(), format!("{LONG}\n"))]);
        let config: CredentialConfig =
            parse_text(text.as_bytes()).map_err(|error| error.to_string())?;
        StaticSecret::new(config, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_secret_is_sent_and_all_are_ours() {
        let credential = new(
            r#"{"kind":"static","header":"X-Gate","allow_short":true,
            "secrets":[{"id":"2026-11","env":"TOKEN"},{"id":"2026-10","value":"6f6c64","encoding":"hex"}]}"#,
        )
        .unwrap();
        assert_eq!(credential.header(), "x-gate");
        assert_eq!(
            (credential.id(), credential.value()),
            ("2026-11", LONG.as_bytes())
        );
        assert!(credential.is_ours(LONG.as_bytes()) && credential.is_ours(b"old"));
        for other in ["", "ol", "olds", &LONG[1..], &LONG.to_uppercase()] {
            assert!(!credential.is_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let secret = |fields: &str| format!(r#"{{"kind":"static","secrets":[{{{fields}}}]}}"#);
        for (text, error) in [
            (
                r#"{"kind":"mtls","secrets":[]}"#.to_owned(),
                "kind: unknown variant `mtls`, expected one of `static`, `jwt`, `http_signature`",
            ),
            (
                r#"{"kind":"static","secrets":[]}"#.to_owned(),
                "secrets: the list is empty; expected at least one entry",
            ),
            (
                r#"{"kind":"static","secrets":"hunter2"}"#.to_owned(),
                "secrets: expected a list, found a string",
            ),
            (
                r#"{"kind":"static","secrets":["hunter2"]}"#.to_owned(),
                "secrets[0]: expected an object, found a string",
            ),
            (
                secret(r#""id":"a","value":"hunter2""#),
                "secrets[0]: the secret has 7 bytes; expected at least 32, or allow_short: true",
            ),
            (secret(r#""value":"hunter2""#), "secrets[0]: missing field `id`"),
            (
                secret(r#""id":"hunter2!","value":"x""#),
                "secrets[0].id: not an id; expected 1 to 64 of letters, digits, -, . and _",
            ),
            (
                secret(r#""id":2026,"value":"hunter2""#),
                "secrets[0].id: expected an id in quotes",
            ),
            (
                secret(r#""id":"a""#),
                "secrets[0]: neither `env` nor `value`; expected one of them",
            ),
            (
                secret(r#""id":"a","env":"UNSET""#),
                "secrets[0]: the environment variable UNSET is not set or not shown to the filter",
            ),
            (
                secret(r#""id":"a","value":"hunter2 hunter2 hunter2 hunter2 hunter2""#),
                "secrets[0]: the secret is sent as a header and must be visible ASCII",
            ),
            (
                r#"{"kind":"static","secrets":[{"id":"a","env":"TOKEN"},{"id":"a","env":"TOKEN"}]}"#
                    .to_owned(),
                "secrets[1].id: \"a\" is there twice; expected an id of its own for each secret",
            ),
            (
                r#"{"kind":"static","secrets":[{"id":"2026-12","env":"TOKEN"},{"id":"2026-11","env":"TOKEN"}]}"#
                    .to_owned(),
                "secrets[1]: the same secret as \"2026-12\"; expected another one",
            ),
            (
                r#"{"kind":"static","header":"Host","secrets":[{"id":"a","env":"TOKEN"}]}"#
                    .to_owned(),
                "header: \"Host\" frames or routes the request and can't be written",
            ),
        ] {
            let found = new(&text).unwrap_err();
            assert!(found.starts_with(error), "{text}\n{found}\n{error}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn there_is_an_end_to_secrets() {
        let secrets: Vec<String> = (0..=MOST_SECRETS)
            .map(|n| format!(r#"{{"id":"{n}","env":"TOKEN"}}"#))
            .collect();
        let text = format!(r#"{{"kind":"static","secrets":[{}]}}"#, secrets.join(","));
        assert_eq!(
            new(&text).unwrap_err(),
            "secrets: 17 secrets; expected at most 16"
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let credential = new(r#"{"kind":"static","secrets":[{"id":"a","env":"TOKEN"}]}"#).unwrap();
        assert!(!format!("{credential:?}").contains(LONG));
    }
}
