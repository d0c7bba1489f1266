//! What requests' bodies say of what they ask for.

use portcullis_policy::config::ConfigError;
use portcullis_usage::{Body, Fields, Value};

/// All places in requests' bodies that some limit goes by.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// How many bytes of text are taken for a token.
    pub(crate) bytes_per_token: u64,
    paths: Vec<String>,
    fields: Option<Fields>,
}

/// A place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    body: Body,
    /// Whether a limit that refuses anybody wants it.
    pub(crate) is_enforced: bool,
}

/// What a request's body says.
#[derive(Debug)]
pub(crate) enum Said {
    /// There is none.
    Nothing,
    /// What stands at each place, and how long the body is.
    This { values: Vec<Value>, bytes: u64 },
    /// It is no JSON that all parsers read alike, or did not come whole; how long it is, at least.
    Unreadable { bytes: u64 },
    /// The gateway did not show it.
    Lost,
    /// It has not come: a request takes the least that it can.
    NotYet,
}

impl Reading {
    /// What it says is not known.
    pub(crate) const fn unread(&self) -> Said {
        match self.body.bytes() {
            0 => Said::Nothing,
            bytes => Said::Unreadable { bytes },
        }
    }
}

impl Places {
    /// None yet.
    pub(crate) fn new(bytes_per_token: u64) -> Self {
        Self {
            bytes_per_token,
            ..Self::default()
        }
    }

    /// The place at that path.
    pub(crate) fn at(&mut self, path: &str) -> Place {
        let known = self.paths.iter().position(|known| known == path);
        Place(known.unwrap_or_else(|| {
            self.paths.push(path.to_owned());
            self.paths.len().saturating_sub(1)
        }))
    }

    /// All places are known.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn complete(&mut self) -> Result<(), ConfigError> {
        let fields = Fields::new(self.paths.iter().map(String::as_str));
        self.fields = Some(fields.map_err(|error| ConfigError::at("limits", error.to_string()))?);
        Ok(())
    }

    /// A body of which nothing has come.
    pub(crate) fn begin(&self, is_enforced: bool) -> Option<Reading> {
        let body = self.fields.as_ref()?.body();
        Some(Reading { body, is_enforced })
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&self, reading: &mut Reading, bytes: &[u8]) {
        if let Some(fields) = &self.fields {
            reading.body.feed(fields, bytes);
        }
    }

    /// All of it has come.
    pub(crate) fn end(&self, reading: Reading) -> Said {
        let bytes = reading.body.bytes();
        let values = self
            .fields
            .as_ref()
            .and_then(|fields| reading.body.end(fields).ok());
        match values {
            _ if bytes == 0 => Said::Nothing,
            Some(values) => Said::This { values, bytes },
            None => Said::Unreadable { bytes },
        }
    }
}

/// What stands at a place.
pub(crate) fn at(values: &[Value], Place(place): Place) -> Value {
    values.get(place).copied().unwrap_or_default()
}
