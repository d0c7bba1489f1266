//! Secrets of a file, which become variables.

use serde_json::{Value, json};

use super::notes::{At, Notes, Variable};

/// What a text in the place of a secret is.
enum Written<'a> {
    /// A name in braces that its gateway does not expand.
    Unexpanded(&'a str),
    /// A variable of deck's, or of Kong's vault `env`.
    Variable(String),
    /// Something that another place holds.
    Reference,
    /// The secret itself.
    Itself,
}

fn written(text: &str) -> Written<'_> {
    let text = text.trim();
    let inner = |begin: &str, end: &str| text.strip_prefix(begin)?.strip_suffix(end);
    if let Some(inside) = inner("${{", "}}") {
        let name = inside.split('"').nth(1).unwrap_or_default();
        return Written::Variable(variable_name(name));
    }
    if let Some(name) = inner("${", "}") {
        return Written::Unexpanded(name);
    }
    if let Some(name) = inner("{vault://env/", "}") {
        let name = name.split(['?', '#', '/']).next().unwrap_or_default();
        return Written::Variable(variable_name(name));
    }
    if text.starts_with("{vault://") {
        return Written::Reference;
    }
    Written::Itself
}

/// A text that is a variable's name: letters, digits and `_` in upper case.
#[must_use]
pub(super) fn variable_name(text: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    let name: String = text.chars().map(letter).take(100).collect();
    match name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        true => format!("SECRET_{name}"),
        false => name,
    }
}

/// How long a secret is, in bytes; `None` where the file does not hold it.
#[must_use]
pub(super) fn length(text: &str) -> Option<usize> {
    matches!(written(text), Written::Itself).then_some(text.len())
}

/// The secret of a field as a variable: `{ env: NAME }`. Its text is in no message.
#[must_use]
pub(super) fn to_variable(notes: &mut Notes, at: &At, proposed: &str) -> Value {
    let text = at.node.text().unwrap_or_default();
    text_to_variable(notes, at, text, proposed)
}

/// The same for a secret that is a part of the field's text.
#[must_use]
pub(super) fn text_to_variable(notes: &mut Notes, at: &At, text: &str, proposed: &str) -> Value {
    let (name, set_to) = match written(text) {
        Written::Unexpanded(name) => (
            variable_name(name),
            format!(
                "the secret that was meant: the file holds the text ${{{name}}}, which no gateway expands: it is what is sent \
                 and compared today"
            ),
        ),
        Written::Variable(name) => (name, "what it holds today".to_owned()),
        Written::Reference => (
            variable_name(proposed),
            "the secret that this reference leads to".to_owned(),
        ),
        Written::Itself => (
            variable_name(proposed),
            "the value of this field".to_owned(),
        ),
    };
    let name = unused(notes, name, at);
    notes.variables.push(Variable {
        name: name.clone(),
        place: at.place,
        set_to,
    });
    json!({ "env": name })
}

fn unused(notes: &Notes, name: String, at: &At) -> String {
    let is_taken = |name: &str| {
        let mut known = notes.variables.iter();
        known.any(|variable| variable.name == name && variable.place != at.place)
    };
    let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or(name)
}

/// Whether a header of this name holds a credential.
#[must_use]
pub(super) fn is_credential(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    let words = [
        "token",
        "secret",
        "authorization",
        "api-key",
        "apikey",
        "api_key",
        "password",
        "credential",
    ];
    words.iter().any(|word| header.contains(word))
}
