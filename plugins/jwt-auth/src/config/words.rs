//! Words of a configuration, each a type that can't hold a wrong one.

use std::fmt;
use std::marker::PhantomData;

use portcullis_policy::config::ClaimPath;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A text type's `Deserialize`, by `parse(&str) -> Result<Self, String>`, and its schema.
macro_rules! word {
    ($type:ident, $schema:tt) => {
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text)
            }
        }

        schema!($type, $schema);
    };
}

macro_rules! schema {
    ($type:ident, $schema:tt) => {
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

/// A signature algorithm (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}
word!(Algorithm, { "type": "string", "enum": ["HS256", "HS384", "HS512"] });

/// What an issuer, an audience or a key is called: 1 to 512 bytes, no control character among
/// them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Identifier(String);
word!(Identifier, { "type": "string", "minLength": 1, "maxLength": 512 });

/// An authentication scheme (RFC 9110 section 11.1).
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Scheme(String);
word!(Scheme, { "type": "string", "pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,32}$" });

/// A realm: visible ASCII and spaces, none of which a quoted string would escape.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Realm(String);
word!(Realm, { "type": "string", "pattern": "^[ !#-\\[\\]-~]{1,64}$" });

/// A scope (RFC 6749 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Scope(String);
word!(Scope, { "type": "string", "pattern": "^[!#-\\[\\]-~]{1,128}$" });

/// A value that a claim may be asked to have: text, a number, or a boolean.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(try_from = "Value")]
pub struct ClaimValue(Value);
schema!(ClaimValue, { "type": ["string", "number", "boolean"] });

/// Entries by claim, in the order in which they are written; a claim that comes twice is refused.
#[derive(Clone, Debug)]
pub struct ByClaim<V>(Vec<(ClaimPath, V)>);

impl Algorithm {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| {
            format!("{text:?} is not an algorithm; expected one of HS256, HS384, HS512")
        })
    }

    /// The algorithm of this name, to the letter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hs256),
            "HS384" => Some(Self::Hs384),
            "HS512" => Some(Self::Hs512),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// How long a key must be, in bytes: as long as the hash (RFC 7518 section 3.2).
    #[must_use]
    pub const fn shortest_key(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

impl Identifier {
    fn parse(text: &str) -> Result<Self, String> {
        if (1..=512).contains(&text.len()) && !text.contains(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} does not fit; expected 1 to 512 bytes without control characters"
        ))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scheme {
    fn parse(text: &str) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if (1..=32).contains(&text.len()) && text.bytes().all(token) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not an authentication scheme; expected one such as Bearer"
        ))
    }

    /// The scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Realm {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a realm; expected 1 to 64 of visible ASCII and spaces, without \" and \\"
        ))
    }

    /// The realm.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("portcullis".to_owned())
    }
}

impl Scope {
    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a scope; expected 1 to 128 of visible ASCII, without \" and \\"
        ))
    }

    /// The scope.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Value> for ClaimValue {
    type Error = String;
    fn try_from(value: Value) -> Result<Self, String> {
        match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(Self(value)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(format!(
                "{value} is not a claim's value; expected text, a number or a boolean"
            )),
        }
    }
}

impl ClaimValue {
    /// Whether `claim` is this value. Whole numbers compare exactly, others as they are in
    /// floating point: Envoy hands every number of a configuration over as such.
    #[must_use]
    pub fn is(&self, claim: &Value) -> bool {
        let whole = |value: &Value| value.is_i64() || value.is_u64();
        match (&self.0, claim) {
            (Value::Number(ours), Value::Number(theirs)) => {
                ours == theirs
                    || !(whole(&self.0) && whole(claim)) && ours.as_f64() == theirs.as_f64()
            }
            (ours, theirs) => ours == theirs,
        }
    }
}

impl<V> ByClaim<V> {
    /// The entries, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(ClaimPath, V)> {
        self.0
    }
}

impl<V> Default for ByClaim<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ByClaim<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Vec<(ClaimPath, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries: Self::Value = Vec::new();
                while let Some((path, value)) = map.next_entry::<ClaimPath, V>()? {
                    if entries.iter().any(|(known, _)| *known == path) {
                        let message = format!("{:?} is there twice", path.as_str());
                        return Err(de::Error::custom(message));
                    }
                    entries.push((path, value));
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

#[cfg(feature = "schema")]
impl<V: schemars::JsonSchema> schemars::JsonSchema for ByClaim<V> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("ByClaimOf{}", V::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "patternProperties": { "^[!-~]{1,128}$": generator.subschema_for::<V>() },
            "additionalProperties": false
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_realm_and_a_scope_need_no_escaping_in_a_quoted_string() {
        assert!(Realm::parse("rag api").is_ok() && Scope::parse("rag:read").is_ok());
        for wrong in ["", "a\"b", "a\\b", "a\r\nb", "ä", &"a".repeat(129)] {
            assert!(Realm::parse(wrong).is_err(), "{wrong:?}");
            assert!(Scope::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(Scope::parse("a b").is_err(), "two scopes are not one");
    }

    #[test]
    fn a_claims_value_keeps_its_type() {
        for (ours, theirs, same) in [
            (json!("gold"), json!("gold"), true),
            (json!("gold"), json!("Gold"), false),
            (json!("1"), json!(1), false),
            (json!(1), json!(1.0), true),
            (json!(1.0), json!(1), true),
            (
                json!(9_007_199_254_740_993_u64),
                json!(9_007_199_254_740_992_u64),
                false,
            ),
            (json!(true), json!("true"), false),
            (json!(true), json!(true), true),
        ] {
            let ours = ClaimValue::try_from(ours).unwrap();
            assert_eq!(ours.is(&theirs), same, "{ours:?} {theirs}");
        }
        for wrong in [json!(null), json!([]), json!({})] {
            assert!(ClaimValue::try_from(wrong).is_err());
        }
    }

    #[test]
    fn a_claim_that_comes_twice_is_refused() {
        let error = serde_json::from_str::<ByClaim<u8>>(r#"{"a.b":1,"a.b":2}"#).unwrap_err();
        assert!(error.to_string().contains("\"a.b\" is there twice"));
    }

    #[test]
    fn none_is_not_an_algorithm_and_names_are_taken_to_the_letter() {
        for name in ["HS256", "HS384", "HS512"] {
            assert_eq!(Algorithm::parse(name).map(Algorithm::name), Ok(name));
        }
        for wrong in ["none", "hs256", "HS256 ", "", "RS256"] {
            assert!(Algorithm::parse(wrong).is_err(), "{wrong}");
        }
    }
}
