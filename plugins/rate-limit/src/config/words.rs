//! Texts that have a form.

use portcullis_policy::config::text_type;
use portcullis_usage::Paths;

/// Names joined by dots, `*` for each element of a list: `options.num_predict`, `messages.*.content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(String);
text_type!(
    JsonPath,
    "names in a JSON document joined by dots, with * for each element of a list",
    "pattern": "^[^.]+(\\.[^.]+){0,7}$"
);

/// The name of a parameter of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryName(String);
text_type!(QueryName, "the name of a parameter of the query", "pattern": "^[A-Za-z0-9_.-]{1,64}$");

impl JsonPath {
    /// One that is known to be good.
    pub(crate) fn known(path: &str) -> Self {
        Self(path.to_owned())
    }

    fn parse(path: &str) -> Result<Self, String> {
        if path.starts_with(['$', '/', '.']) || path.contains(['[', ']']) {
            return Err(format!(
                "{path:?} is written as elsewhere; expected names joined by dots, and * for each element of a list"
            ));
        }
        match Paths::new([path]) {
            Ok(_) => Ok(Self(path.to_owned())),
            Err(error) => Err(format!("{path:?}: {error}")),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl QueryName {
    fn parse(name: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        match (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            true => Ok(Self(name.to_owned())),
            false => Err(format!(
                "{name:?} is not a parameter's name; expected 1 to 64 of A-Z, a-z, 0-9, _, . and -"
            )),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
