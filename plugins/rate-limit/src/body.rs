//! What requests' bodies say of what they ask for.

use portcullis_policy::config::ConfigError;
use portcullis_usage::{Body, Document, Fields, Value};

/// All places in requests' bodies that some limit goes by.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// How many bytes of text are taken for a token.
    pub(crate) bytes_per_token: u64,
    paths: Vec<String>,
    /// Where a request says which model it wants, where that matters.
    model: Option<Place>,
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
    /// This, of a body that may be changed or not.
    This {
        document: Document,
        may_change: bool,
    },
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

    /// The name of the model that a request wants is to be kept.
    pub(crate) fn keep_model(&mut self) {
        self.model = Some(self.at("model"));
    }

    /// All places are known.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn complete(&mut self) -> Result<(), ConfigError> {
        let fields = Fields::new(self.paths.iter().map(String::as_str));
        let fields = fields.map_err(|error| ConfigError::at("limits", error.to_string()))?;
        self.fields = Some(match self.model {
            Some(Place(model)) => fields.keep(model),
            None => fields,
        });
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

    /// All of it has come. `may_change`: whether it may be changed.
    pub(crate) fn end(&self, reading: Reading, may_change: bool) -> Said {
        let bytes = reading.body.bytes();
        let document = self
            .fields
            .as_ref()
            .and_then(|fields| reading.body.end(fields).ok());
        match document {
            _ if bytes == 0 => Said::Nothing,
            Some(document) => Said::This {
                document,
                may_change,
            },
            None => Said::Unreadable { bytes },
        }
    }
}

/// What stands at a place.
pub(crate) fn at(document: &Document, Place(place): Place) -> Value {
    document.values.get(place).copied().unwrap_or_default()
}
