//! What an issuer is called.

use std::fmt;

use portcullis_policy::config::text_type;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::Identifier;

/// What `iss` of a provider's tokens is.
#[derive(Clone, Debug)]
pub enum IssuerConfig {
    /// This, to the letter.
    Exact(Identifier),
    /// This, with the token's own claims in it.
    Template(IssuerTemplate),
}

/// An issuer's name with claims in it, as in `https://login.microsoftonline.com/{tid}/v2.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerTemplate {
    text: String,
    pub(crate) parts: Vec<TemplatePart>,
}
text_type!(
    IssuerTemplate,
    "an issuer with {claim} in it",
    "minLength": 1, "maxLength": 512
);

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    Text(String),
    /// What the token's claim of this name says.
    Claim(String),
}

impl IssuerTemplate {
    /// The template, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn parse(text: &str) -> Result<Self, String> {
        const LONGEST: usize = 512;
        let wrong = |why: &str| {
            let expected = "expected one such as https://login.microsoftonline.com/{tid}/v2.0";
            Err(format!("{text:?} {why}; {expected}"))
        };
        if text.len() > LONGEST || text.contains(char::is_control) {
            return wrong("is longer than 512 bytes or has control characters");
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((claim, behind)) = behind.split_once('}') else {
                return wrong("has a { without a }");
            };
            if before.contains('}') || !is_claim(claim) {
                return wrong("has braces around what is no claim's name of A-Z, a-z, 0-9 and _");
            }
            if claim == "iss" {
                return wrong("would be whatever a token says");
            }
            if !before.is_empty() {
                parts.push(TemplatePart::Text(before.to_owned()));
            }
            parts.push(TemplatePart::Claim(claim.to_owned()));
            rest = behind;
        }
        if rest.contains('}') {
            return wrong("has a } without a {");
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        match parts.first() {
            Some(TemplatePart::Text(_)) if parts.len() > 1 => Ok(Self {
                text: text.to_owned(),
                parts,
            }),
            Some(TemplatePart::Text(_)) | None => wrong("has no claim in it"),
            Some(TemplatePart::Claim(_)) => wrong("begins with a claim"),
        }
    }
}

/// Whether a text is a claim's name that can stand in a template.
pub(crate) fn is_claim(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

const EXPECTED: &str = "a text, or an object with `template`";

impl<'de> Deserialize<'de> for IssuerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            template: IssuerTemplate,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = IssuerConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<IssuerConfig, E> {
                Identifier::deserialize(StrDeserializer::new(text)).map(IssuerConfig::Exact)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IssuerConfig, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(IssuerConfig::Template(object.template))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for IssuerConfig {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IssuerConfig".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "object"],
            "minLength": 1,
            "maxLength": 512,
            "properties": { "template": generator.subschema_for::<IssuerTemplate>() },
            "required": ["template"],
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_with_claims_in_it() {
        for good in [
            "https://login.microsoftonline.com/{tid}/v2.0",
            "https://{tenant}.example.com/{realm_1}",
            "urn:x:{a}{b}",
        ] {
            assert_eq!(IssuerTemplate::parse(good).unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "https://id.example.com",
            "{tid}",
            "{tid}/v2.0",
            "https://x/{}",
            "https://x/{tid",
            "https://x/tid}",
            "https://x/}{tid}",
            "https://x/{{tid}}",
            "https://x/{t.id}",
            "https://x/{t id}",
            "https://x/{iss}",
            "https://x/{tid}\n",
            &format!("https://x/{{tid}}{}", "x".repeat(512)),
        ] {
            assert!(IssuerTemplate::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
