//! Fields of values of which nothing is known.

use serde_json::Value;

/// A field; `null` where there is none.
#[must_use]
pub(super) fn get<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Sets a field of an object; does nothing to what is none.
pub(super) fn set(value: &mut Value, name: &str, field: Value) {
    if let Some(fields) = value.as_object_mut() {
        let _former = fields.insert(name.to_owned(), field);
    }
}
