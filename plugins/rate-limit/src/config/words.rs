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

/// A model's name, or with `*` behind it the begin of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model(String);
text_type!(Model, "a model's name, or with * behind it the begin of several", "pattern": "^[!-)+-~]{1,128}\\*?$|^\\*$");

impl Model {
    fn parse(name: &str) -> Result<Self, String> {
        let begin = name.strip_suffix('*').unwrap_or(name);
        let is_plain = begin
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'*');
        match is_plain && !name.is_empty() && begin.len() <= 128 {
            true => Ok(Self(name.to_owned())),
            false => Err(format!(
                "{name:?} is not a model's name; expected 1 to 128 visible characters, and * only behind them"
            )),
        }
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// How much it says of a model: all, or so many bytes of its begin.
    pub(crate) fn precision(&self) -> (bool, usize) {
        (!self.0.ends_with('*'), self.0.len())
    }

    /// Whether it is that model, or it is among those.
    pub(crate) fn is(&self, model: &[u8]) -> bool {
        match self.0.strip_suffix('*') {
            Some(begin) => model.starts_with(begin.as_bytes()),
            None => model == self.0.as_bytes(),
        }
    }
}

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

    /// Whether they stand in each other's way: they are one, or one lies within the other. In any case, as names are compared.
    pub(crate) fn overlaps(&self, other: &str) -> bool {
        let (one, other) = (self.0.split('.'), other.split('.'));
        one.zip(other)
            .all(|(one, other)| one.eq_ignore_ascii_case(other))
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
