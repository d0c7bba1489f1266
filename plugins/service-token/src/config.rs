//! What a user writes.

use portcullis_message_signature::Component;
use portcullis_policy::Span;
use portcullis_policy::config::{
    ConfigError, Duration, Encoding, EnvName, HeaderName, Match, Mode, NonEmpty, ObjectOnly,
    OnError, SecretConfig, SecretText, WritableHeader, text_type,
};
use serde::Deserialize;

/// What a backend knows this gateway by, and which requests get it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is sent.
    pub credential: ObjectOnly<CredentialConfig>,
    /// The requests that it is sent with: those that any of these match; every request when it is
    /// not given. To all others a client's header of that name is cleared.
    pub inject: Option<NonEmpty<InjectConfig>>,
    /// What is done with the plugin's decisions. In shadow nothing is injected, and what a client
    /// sends under the credential's name passes: the backend has to check it by itself.
    #[serde(default)]
    pub mode: Mode,
    /// What becomes of a request when the gateway does not show or change its headers. With `allow`
    /// it passes as the client sent it, the credential's header included.
    #[serde(default = "OnError::deny")]
    pub on_error: OnError,
}

/// What is sent. Which keys there are depends on its kind.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// How a backend knows it for real.
    pub kind: Kind,
    /// `static`, `jwt`: the header that holds it; `x-service-token` when it is not given.
    pub header: Option<WritableHeader>,
    /// The first is used; all of them are known as ours when another gateway in front of this one
    /// has used them. To rotate: add the new one on the verifying side, then put it first here.
    pub secrets: NonEmpty<ObjectOnly<SecretEntry>>,
    /// Whether a secret may be shorter than 32 bytes, or than the hash of `algorithm`.
    #[serde(default)]
    pub allow_short: bool,
    /// `jwt`: how it is signed; HS256 when it is not given.
    pub algorithm: Option<HmacAlgorithm>,
    /// `jwt`, required: `iss`, by which a backend knows this gateway.
    pub issuer: Option<Word>,
    /// `jwt`, required: `sub`, or with a caller `act.sub`: what this gateway is called.
    pub subject: Option<Word>,
    /// `jwt`: `aud`, where an entry of `inject` does not name its own.
    pub audience: Option<Word>,
    /// `jwt`: the header in which `jwt_auth`, before this filter, tells who calls. In `edge` it is
    /// known without one.
    pub caller_header: Option<HeaderName>,
    /// `http_signature`: the label; `service-token` when it is not given.
    pub label: Option<Label>,
    /// `http_signature`: what is signed, beside `content-digest`; `@method`, `@authority`, `@path`
    /// and `@query` when it is not given. A header that a request does not have is left out.
    pub components: Option<NonEmpty<ComponentName>>,
    /// `jwt`, `http_signature`: how long it is good; 60 s when it is not given.
    pub ttl: Option<Duration>,
}

/// How a backend knows the credential for real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is a secret that both sides have.
    Static,
    /// It is a token that is signed with such a secret and ends soon.
    Jwt,
    /// It is a signature over the request (RFC 9421).
    HttpSignature,
}

/// An algorithm of RFC 7518 section 3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// A text of 1 to 256 visible characters of ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(String);
text_type!(Word, "1 to 256 visible characters of ASCII", "pattern": "^[!-~]{1,256}$");

/// The label of a signature: a key of a structured field (RFC 9651 section 3.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);
text_type!(Label, "a label of a-z, 0-9, _, - and .", "pattern": "^[a-z][a-z0-9_.-]{0,63}$");

/// Something of a request that a signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentName(Component);
text_type!(ComponentName, "@method, @authority, @path, @query or a header in lower case", "pattern": "^(@(method|authority|path|query)|[!#$%&'*+.^_`|~0-9a-z-]{1,128})$");

/// A secret and what it is called: exactly one of `env` and `value`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SecretEntry {
    /// What it is called in log lines.
    pub id: SecretId,
    /// The environment variable that holds it.
    pub env: Option<EnvName>,
    /// The secret itself.
    pub value: Option<SecretText>,
    /// How it is written.
    #[serde(default)]
    pub encoding: Encoding,
}

/// Requests that the credential is sent with.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct InjectConfig {
    /// Which requests. One whose path two parsers could read differently is matched by no path.
    #[serde(rename = "match")]
    pub matches: Match,
    /// `jwt`: `aud` of the token that they get.
    pub audience: Option<Word>,
}

/// What a secret is called: 1 to 64 of letters, digits, `-`, `.` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretId(String);
text_type!(SecretId, "an id in quotes, such as \"2026-11\"", "pattern": "^[A-Za-z0-9._-]{1,64}$");

impl SecretId {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        // It may be the secret itself, written into the wrong field.
        Err("not an id; expected 1 to 64 of letters, digits, -, . and _")
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HmacAlgorithm {
    /// How long a key must be at least, in bytes (RFC 7518 section 3.2).
    pub(crate) const fn shortest_key(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

impl Word {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err("expected 1 to 256 visible characters of ASCII")
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Label {
    fn parse(text: &str) -> Result<Self, String> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        if begins && text.len() <= 64 && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a label; expected a letter, then letters, digits, _, - and ., all in lower case, at most 64"
        ))
    }

    /// The label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ComponentName {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |rule: String| format!("{text:?} can't be covered; {rule}");
        // The fields that hold signatures can't be in one, and those of one hop do not get further.
        const OF_ONE_HOP: [&str; 9] = [
            "proxy-connection",
            "signature",
            "signature-input",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        if OF_ONE_HOP.contains(&text) {
            return Err(wrong("it does not reach the backend as it is".to_owned()));
        }
        if text == "host" {
            return Err(wrong(
                "expected @authority, which is the same on every gateway".to_owned(),
            ));
        }
        match Component::parse(text) {
            Ok(component) if text.len() <= 128 => Ok(Self(component)),
            Ok(_) => Err(wrong("expected at most 128 characters".to_owned())),
            Err(rule) => Err(wrong(rule.to_string())),
        }
    }

    /// The component.
    pub(crate) fn into_component(self) -> Component {
        self.0
    }
}

impl CredentialConfig {
    /// Refuses the keys of other kinds, and those that are missing in this one.
    ///
    /// # Errors
    /// [`ConfigError`] names the key.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        use Kind::{HttpSignature, Jwt, Static};
        for (key, there, kinds) in [
            ("header", self.header.is_some(), &[Static, Jwt][..]),
            ("algorithm", self.algorithm.is_some(), &[Jwt]),
            ("issuer", self.issuer.is_some(), &[Jwt]),
            ("subject", self.subject.is_some(), &[Jwt]),
            ("audience", self.audience.is_some(), &[Jwt]),
            ("caller_header", self.caller_header.is_some(), &[Jwt]),
            ("label", self.label.is_some(), &[HttpSignature]),
            ("components", self.components.is_some(), &[HttpSignature]),
            ("ttl", self.ttl.is_some(), &[Jwt, HttpSignature]),
        ] {
            if there && !kinds.contains(&self.kind) {
                let rule = format!("not a key of kind {}", self.kind.as_str());
                return Err(ConfigError::at(key, rule));
            }
        }
        for (key, there) in [
            ("issuer", self.issuer.is_some()),
            ("subject", self.subject.is_some()),
        ] {
            if self.kind == Jwt && !there {
                return Err(ConfigError::at("", format!("missing field `{key}`")));
            }
        }
        Ok(())
    }

    /// How long a credential is good, in whole seconds.
    ///
    /// # Errors
    /// [`ConfigError`]: too short to get through a clock that is a little off, or too long to be
    /// called short-lived.
    pub(crate) fn ttl_secs(&self) -> Result<u64, ConfigError> {
        const SHORTEST: u64 = 5;
        const LONGEST: u64 = 3_600;
        let Some(ttl) = self.ttl else {
            return Ok(60);
        };
        let secs = ttl.span().as_secs_ceil();
        let is_whole = Span::from_secs(secs) == ttl.span();
        if !is_whole || !(SHORTEST..=LONGEST).contains(&secs) {
            let rule = "out of range; expected whole seconds from 5s to 1h";
            return Err(ConfigError::at("ttl", rule));
        }
        Ok(secs)
    }
}

impl Kind {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Jwt => "jwt",
            Self::HttpSignature => "http_signature",
        }
    }
}

impl SecretEntry {
    /// Its id, and where its bytes are.
    pub(crate) fn split(self) -> (SecretId, SecretConfig) {
        let secret = SecretConfig {
            env: self.env,
            value: self.value,
            encoding: self.encoding,
        };
        (self.id, secret)
    }
}
