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

impl Finding {
    /// One thing, and nothing beside it.
    #[must_use]
    pub const fn new(code: Code, place: Place, message: String) -> Self {
        Self {
            code,
            place,
            message,
            beside: None,
        }
    }
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
    /// The version of Kong runs no filters.
    OtherKong,
    /// Kong has no zone for what the filter shares.
    NoZone,
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
    /// Entries before this one leave nothing to it.
    Hidden,
    /// It is about requests that do not come.
    Unreached,
    /// A limit goes by what no request has.
    MissingPart,
    /// A client's address is taken from whoever says it.
    TrustsStrangers,
    /// A breaker waits for longer than its routes.
    NeverWaited,
    /// Requests pass without the filter.
    NotAsked,
    /// Four filters do what one does.
    Separate,
    /// A page of another origin can't read refusals.
    HiddenFromPages,
    /// Kong's zone is too small for what filters share.
    SmallZone,
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
    pub const ALL: [Self; 21] = [
        Self::Unreadable,
        Self::Refused,
        Self::AnswersNotShown,
        Self::HiddenVariable,
        Self::AllowsNothing,
        Self::OtherKong,
        Self::NoZone,
        Self::NeverRefuses,
        Self::BodiesNotShown,
        Self::ChosenAddress,
        Self::SecretInClear,
        Self::OpenRoute,
        Self::Hidden,
        Self::Unreached,
        Self::MissingPart,
        Self::TrustsStrangers,
        Self::NeverWaited,
        Self::NotAsked,
        Self::Separate,
        Self::HiddenFromPages,
        Self::SmallZone,
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
            Self::OtherKong => "P006",
            Self::NoZone => "P007",
            Self::NeverRefuses => "P010",
            Self::BodiesNotShown => "P011",
            Self::ChosenAddress => "P012",
            Self::SecretInClear => "P013",
            Self::OpenRoute => "P014",
            Self::Hidden => "P015",
            Self::Unreached => "P016",
            Self::MissingPart => "P017",
            Self::TrustsStrangers => "P018",
            Self::NeverWaited => "P019",
            Self::NotAsked => "P020",
            Self::Separate => "P021",
            Self::HiddenFromPages => "P022",
            Self::SmallZone => "P023",
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
            Self::OtherKong => "this Kong runs no filters",
            Self::NoZone => "Kong has no zone for what filters share",
            Self::Hidden => "nothing is left to this entry",
            Self::Unreached => "no request comes here",
            Self::MissingPart => "no request has this part of the key",
            Self::TrustsStrangers => "strangers are believed",
            Self::NeverWaited => "the route does not wait that long",
            Self::NotAsked => "requests pass without this filter",
            Self::Separate => "one filter would do",
            Self::HiddenFromPages => "pages can't read refusals",
            Self::SmallZone => "the zone is too small",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Unreadable
            | Self::Refused
            | Self::AnswersNotShown
            | Self::HiddenVariable
            | Self::OtherKong
            | Self::NoZone => Level::Error,
            Self::AllowsNothing
            | Self::NeverRefuses
            | Self::BodiesNotShown
            | Self::ChosenAddress
            | Self::SecretInClear
            | Self::OpenRoute
            | Self::Hidden
            | Self::Unreached
            | Self::MissingPart
            | Self::TrustsStrangers
            | Self::NeverWaited
            | Self::NotAsked
            | Self::Separate
            | Self::HiddenFromPages
            | Self::SmallZone => Level::Warning,
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
