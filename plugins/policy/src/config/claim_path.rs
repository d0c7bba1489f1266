//! Where in a token's claims a value stands.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::text::text_type;

/// A claim's name, or names joined by dots that lead into nested objects: `sub`, `tenant.id`.
///
/// A claim whose whole name has dots in it (`https://example.com/tier`) goes before one that is
/// nested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimPath(String);
text_type!(ClaimPath, "a claim, or a path of claims joined by dots", "pattern": "^[!-~]{1,128}$");

/// Something that knows the claims of the caller of the request at hand.
pub trait Claims {
    /// The claim at `path`.
    fn claim(&self, path: &ClaimPath) -> Option<&Value>;
}

impl ClaimPath {
    /// Deepest nesting that is followed.
    const DEEPEST: usize = 8;

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || text.split('.').any(str::is_empty) {
            return Err(format!(
                "{text:?} is not a claim path; expected names joined by dots"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// From text that is part of a longer configuration value.
    ///
    /// # Errors
    /// A message that names value and rule.
    pub fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at this path of `claims`.
    #[must_use]
    pub fn find<'v>(&self, claims: &'v Value) -> Option<&'v Value> {
        let mut at = claims;
        let mut rest = self.0.as_str();
        for _ in 0..Self::DEEPEST {
            let object = at.as_object()?;
            if let Some(value) = object.get(rest) {
                return Some(value);
            }
            let (name, inner) = rest.split_once('.')?;
            at = object.get(name)?;
            rest = inner;
        }
        None
    }
}

/// A string, number or boolean as text; `None` for anything else.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_into_objects_and_a_whole_name_goes_first() {
        let claims = serde_json::json!({
            "sub": "u", "tenant": { "id": 7 }, "https://x.example/tier": "gold", "a.b": 1, "a": { "b": 2 }
        });
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("sub"), Some("u".into()));
        assert_eq!(find("tenant.id"), Some(7.into()));
        assert_eq!(find("https://x.example/tier"), Some("gold".into()));
        assert_eq!(find("a.b"), Some(1.into()));
        assert_eq!(find("sub.x"), None);
        assert_eq!(find("tenant.none"), None);
        assert!(ClaimPath::parse("a..b").is_err() && ClaimPath::parse("").is_err());
    }
}
