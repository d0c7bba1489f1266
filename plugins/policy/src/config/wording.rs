//! What serde says of a wrong value, without the names that only this program's authors know.

/// The same message in the words of a configuration.
pub(super) fn plain(message: &str) -> String {
    const WRONG_KIND: [&str; 3] = ["invalid type: ", "invalid value: ", "invalid length "];
    let Some(kind) = WRONG_KIND.iter().find(|kind| message.starts_with(**kind)) else {
        return message.to_owned();
    };
    let said = message.strip_prefix(kind).unwrap_or(message);
    // A text that stands there may have anything in it, this too: what is expected comes last.
    let Some((found, expected)) = said.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let (expected, position) = match expected.rfind(" at line ") {
        Some(at) => expected.split_at_checked(at).unwrap_or((expected, "")),
        None => (expected, ""),
    };
    format!(
        "{kind}{}, expected {}{position}",
        plain_found(found),
        plain_expected(expected)
    )
}

/// What stands there. A text is not repeated: it may be a secret in the wrong place.
fn plain_found(found: &str) -> &str {
    match found {
        "sequence" => "list",
        "map" => "object",
        "unit value" | "Option value" => "null",
        "unit variant" | "newtype variant" | "tuple variant" | "struct variant" | "enum"
        | "newtype struct" | "byte array" => "value",
        _ if found.starts_with("string ") || found.starts_with("character ") => "string",
        _ => found,
    }
}

fn plain_expected(expected: &str) -> &str {
    match expected {
        "a string" | "a borrowed string" | "str" | "string" | "a character"
        | "variant identifier" | "field identifier" | "identifier" => "a text",
        "a sequence" | "a tuple" | "an array" => "a list",
        "a map" => "an object",
        "string or map" => "a text, or an object",
        "unit" => "null",
        "bool" => "a boolean",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if expected.starts_with("struct ") || expected.starts_with("tuple struct ") => {
            "an object"
        }
        _ if expected.starts_with("enum ") => "a text",
        _ if expected.contains("variant ") => "a text",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn no_name_of_a_type_is_told() {
        for (message, expected) in [
            (
                "invalid type: integer `5`, expected struct CacheConfig at line 1 column 9",
                "invalid type: integer `5`, expected an object at line 1 column 9",
            ),
            (
                "invalid type: string \"hunter2\", expected struct Cache with 1 element",
                "invalid type: string, expected an object",
            ),
            (
                "invalid type: string \"a, expected struct B\", expected u32",
                "invalid type: string, expected a whole number that is not negative",
            ),
            (
                "invalid type: map, expected enum Mode",
                "invalid type: object, expected a text",
            ),
            (
                "invalid type: unit variant, expected newtype variant Mode::On",
                "invalid type: value, expected a text",
            ),
            (
                "invalid type: sequence, expected a map",
                "invalid type: list, expected an object",
            ),
            (
                "invalid length 1, expected struct Cache with 2 elements",
                "invalid length 1, expected an object",
            ),
            (
                "invalid type: null, expected f64",
                "invalid type: null, expected a number",
            ),
            (
                "invalid value: map, expected string or map",
                "invalid value: object, expected a text, or an object",
            ),
            (
                "invalid type: integer `2026`, expected an id in quotes",
                "invalid type: integer `2026`, expected an id in quotes",
            ),
            (
                "unknown variant `on`, expected `off`",
                "unknown variant `on`, expected `off`",
            ),
            ("missing field `rules`", "missing field `rules`"),
            ("", ""),
        ] {
            assert_eq!(plain(message), expected, "{message}");
        }
    }
}
