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
    /// It reads answers, which are not shown to this build of it.
    AnswersNotShown,
    /// It names a variable that it may not see.
    HiddenVariable,
    /// A comment that allows findings does not.
    AllowsNothing,
    /// A limit does nothing beside another one.
    NeverRefuses,
    /// The filter waits for bodies that Envoy does not go on reading.
    BodiesNotShown,
    /// A limit goes by an address that the client chooses.
    ChosenAddress,
    /// A secret stands in the file.
    SecretInClear,
    /// A route has no tokens checked that its listener has checked.
    OpenRoute,
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
    pub const ALL: [Self; 10] = [
        Self::Unreadable,
        Self::Refused,
        Self::AnswersNotShown,
        Self::HiddenVariable,
        Self::AllowsNothing,
        Self::NeverRefuses,
        Self::BodiesNotShown,
        Self::ChosenAddress,
        Self::SecretInClear,
        Self::OpenRoute,
    ];

    /// What it is called.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Unreadable => "P001",
            Self::Refused => "P002",
            Self::AnswersNotShown => "P003",
            Self::HiddenVariable => "P004",
            Self::AllowsNothing => "P005",
            Self::NeverRefuses => "P010",
            Self::BodiesNotShown => "P011",
            Self::ChosenAddress => "P012",
            Self::SecretInClear => "P013",
            Self::OpenRoute => "P014",
        }
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Unreadable => "the file is no YAML",
            Self::Refused => "the filter refuses its configuration",
            Self::AnswersNotShown => "answers are not shown to this build of the filter",
            Self::HiddenVariable => "the filter may not see this variable",
            Self::AllowsNothing => "this comment allows nothing",
            Self::NeverRefuses => "this limit never refuses",
            Self::BodiesNotShown => "Envoy does not go on reading what the filter waits for",
            Self::ChosenAddress => "clients choose this address",
            Self::SecretInClear => "a secret stands in the file",
            Self::OpenRoute => "this route lets everybody pass",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Unreadable | Self::Refused | Self::AnswersNotShown | Self::HiddenVariable => {
                Level::Error
            }
            Self::AllowsNothing
            | Self::NeverRefuses
            | Self::BodiesNotShown
            | Self::ChosenAddress
            | Self::SecretInClear
            | Self::OpenRoute => Level::Warning,
        }
    }

    /// Whether a comment can allow it.
    #[must_use]
    pub const fn can_be_allowed(self) -> bool {
        !matches!(self, Self::Unreadable | Self::AllowsNothing)
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|code| code.id().eq_ignore_ascii_case(id))
    }
}
