//! Where in a token's claims a value stands.

use std::borrow::Cow;

use serde_json::Value;

use crate::config::number_text;
use crate::config::text::text_type;

/// A claim's name, or names joined by dots that lead into nested objects: `sub`, `tenant.id`. What
/// begins with a slash is a JSON Pointer (RFC 6901): `/kubernetes.io/namespace`, `/groups/0`.
///
/// Names may have dots themselves, below others too. A claim whose whole name has dots in it
/// (`https://example.com/tier`) goes before one that is nested; among nested ones, those whose outer
/// name is the shorter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimPath(String);
text_type!(ClaimPath, "a claim, a path of claims joined by dots, or a JSON Pointer", "pattern": "^[!-~]{1,128}$");

/// Something that knows the claims of the caller of the request at hand.
pub trait Claims {
    /// The claim at `path`.
    fn claim(&self, path: &ClaimPath) -> Option<&Value>;
}

impl AsRef<str> for ClaimPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl ClaimPath {
    /// Deepest nesting that is followed.
    const DEEPEST: u32 = 8;
    /// Most names that are looked up before a claim counts as absent.
    const MOST_LOOKUPS: u32 = 256;

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fits =
            (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let known = match text.strip_prefix('/') {
            Some(_) if is_pointer(text) => true,
            Some(_) => {
                return Err(format!(
                    "{text:?} is not a JSON Pointer; expected ~0 for ~ and ~1 for /"
                ));
            }
            None => !text.split('.').any(str::is_empty),
        };
        if !fits || !known {
            return Err(format!(
                "{text:?} is not a claim path; expected names joined by dots, or a JSON Pointer"
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
        if self.0.starts_with('/') {
            return claims.pointer(&self.0);
        }
        let mut lookups = Self::MOST_LOOKUPS;
        find_below(claims, &self.0, Self::DEEPEST, &mut lookups)
    }
}

/// Whether each `~` of a JSON Pointer begins an escape (RFC 6901 section 3).
fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    escapes.all(|rest| rest.starts_with(['0', '1']))
}

/// The value at `path` below `at`, by any split of the path into names.
fn find_below<'v>(at: &'v Value, path: &str, deepest: u32, lookups: &mut u32) -> Option<&'v Value> {
    let object = at.as_object()?;
    *lookups = lookups.checked_sub(1)?;
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let deeper = deepest.checked_sub(1).filter(|left| *left > 0)?;
    let dots = path.match_indices('.').map(|(dot, _)| dot);
    for dot in dots {
        let (name, rest) = path.split_at_checked(dot)?;
        let rest = rest.strip_prefix('.')?;
        *lookups = lookups.checked_sub(1)?;
        if let Some(inner) = object.get(name)
            && let Some(value) = find_below(inner, rest, deeper, lookups)
        {
            return Some(value);
        }
    }
    None
}

/// A string, number or boolean as text, a number as it was written; `None` for anything else.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(true) => Some(Cow::Borrowed("true")),
        Value::Bool(false) => Some(Cow::Borrowed("false")),
        Value::Number(_) | Value::Object(_) => number_text(value),
        Value::Null | Value::Array(_) => None,
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

    #[test]
    fn any_split_of_a_path_is_followed_and_the_shorter_outer_name_first() {
        let claims = serde_json::json!({
            "kubernetes.io": { "namespace": "rag", "serviceaccount": { "name": "reader" } },
            "a": { "b.c": 1, "b": { "d": 4 } }, "a.b": { "c": 2, "e": 3, "d": 5 },
            "x": { "y.z": { "v.w": true } }, "text": "t"
        });
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("kubernetes.io.namespace"), Some("rag".into()));
        assert_eq!(
            find("kubernetes.io.serviceaccount.name"),
            Some("reader".into())
        );
        assert_eq!(find("kubernetes.io.none"), None);
        assert_eq!(find("a.b.c"), Some(1.into()));
        assert_eq!(find("a.b.d"), Some(4.into()));
        assert_eq!(find("a.b.e"), Some(3.into()));
        assert_eq!(find("x.y.z.v.w"), Some(true.into()));
        assert_eq!(find("text.more"), None);
    }

    #[test]
    fn a_path_that_begins_with_a_slash_is_a_json_pointer() {
        let claims = serde_json::json!({
            "kubernetes.io": { "namespace": "rag" }, "a/b": 1, "m~n": 2, "groups": ["x", "y"],
            "https://x.example/tier": { "name": "gold" }
        });
        let find = |path: &str| ClaimPath::parse(path).unwrap().find(&claims).cloned();
        assert_eq!(find("/kubernetes.io/namespace"), Some("rag".into()));
        assert_eq!(find("/a~1b"), Some(1.into()));
        assert_eq!(find("/m~0n"), Some(2.into()));
        assert_eq!(find("/groups/1"), Some("y".into()));
        assert_eq!(find("/groups/2"), None);
        assert_eq!(find("/https:~1~1x.example~1tier/name"), Some("gold".into()));
        assert_eq!(find("/kubernetes/io"), None);
        for wrong in ["/a~", "/a~2", "/~/x"] {
            assert!(ClaimPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_claims_make_a_path_costly() {
        let name = vec!["a"; 60].join(".");
        let mut claims = serde_json::json!({});
        for _ in 0..8 {
            let names = (1..60).map(|names| (vec!["a"; names].join("."), claims.clone()));
            claims = Value::Object(names.take(2).collect());
        }
        assert_eq!(ClaimPath::parse(&name).unwrap().find(&claims), None);
    }
}
