//! What is found, and what each kind of it is called.

use crate::document::Place;

/// What is amiss with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is.
    pub code: Code,
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub message: String,
    /// Where else to look, and why.
    pub beside: Option<(Place, String)>,
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The file is no YAML.
    Unreadable,
    /// The filter refuses its configuration.
    Refused,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The gateway does not work with it.
    Error,
    /// It works, and does something else than it seems to.
    Warning,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Unreadable, Self::Refused];

    /// What it is called.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Unreadable => "P001",
            Self::Refused => "P002",
        }
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unreadable => "the file is no YAML",
            Self::Refused => "the filter refuses its configuration",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Unreadable | Self::Refused => Level::Error,
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|code| code.id().eq_ignore_ascii_case(id))
    }
}
