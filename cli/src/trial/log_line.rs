//! Reads lines of the filters' log.

/// A value by its name.
pub(super) fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut fields = fields.iter();
    let found = fields.find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// The pairs of a line: `key=value`, or `key="value"` with backslashes before quotes.
pub(super) fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start();
    while let Some((name, behind)) = rest.split_once('=') {
        let (value, after) = match behind.strip_prefix('"') {
            None => {
                let (value, after) = behind.split_once(' ').unwrap_or((behind, ""));
                (value.to_owned(), after)
            }
            Some(quoted) => unquoted(quoted),
        };
        fields.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    fields
}

/// What stands before the closing quote, and what behind it.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => {
                return (
                    value,
                    quoted.get(at.saturating_add(1)..).unwrap_or_default(),
                );
            }
            '\\' => match letters.next() {
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => {}
            },
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pairs_of_a_line_are_read_whatever_is_in_them() {
        let line = "plugin=jwt_auth event=refused kid=\"a \\\"b\\\" \\x0a\" path=/x";
        let read = fields(line);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read,
            [
                pair("plugin", "jwt_auth"),
                pair("event", "refused"),
                pair("kid", "a \"b\" \\x0a"),
                pair("path", "/x"),
            ]
        );
    }
}
