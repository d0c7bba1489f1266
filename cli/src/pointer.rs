//! The paths that filters name, in JSON.

use serde_json::Value;

use crate::path::{Step, next_step};

/// Whether one of two paths leads through the other.
pub(crate) fn leads_through(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let rest = long.strip_prefix(short);
    rest.is_some_and(|rest| short.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

pub(crate) fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

/// The JSON pointer of a path; `None` where it leads nowhere.
pub(crate) fn pointer(config: &Value, path: &str) -> Option<String> {
    let mut pointer = String::new();
    let (mut value, mut rest) = (config, path);
    while !rest.is_empty() {
        let fields = value.as_object().into_iter().flatten();
        let (step, behind) = next_step(rest, fields.map(|(name, _)| name.as_str()))?;
        let token = match step {
            Step::Item(index) => index.to_string(),
            Step::Field(name) => name.replace('~', "~0").replace('/', "~1"),
        };
        pointer = format!("{pointer}/{token}");
        value = config.pointer(&pointer)?;
        rest = behind;
    }
    Some(pointer)
}
