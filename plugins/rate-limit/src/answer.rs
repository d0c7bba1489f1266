//! What answers used.

use portcullis_policy::config::ConfigError;
use portcullis_policy::{Origin, Response};
use portcullis_usage::{Counts, Kind, Meter, Vendors};

use crate::config::{AcceptEncoding, JsonPath, UsageConfig};
use crate::cost::{Reserved, Tokens};

/// How answers are read.
#[derive(Debug)]
pub(crate) struct Answers {
    vendors: Vendors,
    /// Whether upstreams are asked for answers that are not compressed.
    pub(crate) asks_for_identity: bool,
}

/// What is known of a request's answer.
#[derive(Debug, Default)]
pub(crate) enum Answer {
    /// None has come.
    #[default]
    None,
    /// It is read as it passes.
    Read(Box<Meter>),
    /// It can't be read.
    Unreadable,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Used {
    /// Nothing was used: the upstream refused it.
    Nothing,
    /// Nothing was used: it has not come that far, for no fault of its client's.
    Unserved,
    /// That is not known.
    Unknown,
    /// What its answer says. Whether that came whole.
    Answered(Box<Meter>, bool),
}

/// Where it is known from what a request used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The answer says it.
    Told,
    /// Some of it was estimated, by the answer's text and the request's length.
    Estimated,
    /// It was not served, and has used nothing.
    NotServed,
}

impl Answer {
    /// Whether it is a stream of events that is read.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Read(meter) if meter.is_of_events())
    }
}

impl Answers {
    pub(crate) fn new(config: &UsageConfig) -> Result<Self, ConfigError> {
        let places = [
            (&config.input, Kind::Input),
            (&config.cached_input, Kind::CachedWithin),
            (&config.output, Kind::Output),
            (&config.content, Kind::Content),
        ];
        let own = places
            .iter()
            .flat_map(|(paths, kind)| paths.0.iter().map(|path| (JsonPath::as_str(path), *kind)));
        Ok(Self {
            vendors: Vendors::known_and(own)
                .map_err(|error| ConfigError::at("usage", error.to_string()))?,
            asks_for_identity: config.accept_encoding == AcceptEncoding::Identity,
        })
    }

    /// An answer begins.
    pub(crate) fn begin(&self, response: &dyn Response) -> Answer {
        let header = |name: &str| response.header(name).unwrap_or_default();
        let meter = Meter::of(&header("content-type"), &header("content-encoding"));
        match meter.is_readable() {
            true => Answer::Read(Box::new(meter)),
            false => Answer::Unreadable,
        }
    }

    /// Its next bytes; `None`: some were not shown.
    pub(crate) fn feed(&self, answer: &mut Answer, bytes: Option<&[u8]>) {
        match (&mut *answer, bytes) {
            (Answer::Read(meter), Some(bytes)) => meter.feed(&self.vendors, bytes),
            (Answer::Read(_), None) => *answer = Answer::Unreadable,
            (Answer::None | Answer::Unreadable, _) => {}
        }
    }

    /// It has ended.
    pub(crate) fn end(&self, answer: Answer, origin: impl FnOnce() -> Origin) -> Used {
        match answer {
            Answer::None | Answer::Unreadable => Used::Unknown,
            Answer::Read(mut meter) => {
                meter.end(&self.vendors);
                Used::Answered(meter, origin() == Origin::Upstream)
            }
        }
    }
}

impl Used {
    /// In tokens; `None` where nothing of them is known.
    pub(crate) fn of(&self, tokens: &Tokens, reserved: Reserved) -> Option<(Counts, How)> {
        let (meter, is_whole) = match self {
            Self::Nothing | Self::Unserved => return Some((Counts::default(), How::NotServed)),
            Self::Unknown => return None,
            Self::Answered(meter, is_whole) => (meter, *is_whole),
        };
        let told = meter.counts();
        let says_nothing = told.input.is_none() && told.output.is_none() && told.content == 0;
        // Of a document that was broken off what it has used could stand in what did not come.
        if !meter.is_known() || says_nothing && meter.is_one_document() {
            return None;
        }
        let estimated = tokens.in_tokens(told.content);
        let output = match told.output {
            Some(output) if is_whole => output,
            // Some say early what they have used so far, and the rest at the end.
            Some(output) => output.max(estimated),
            None => estimated,
        };
        let is_told =
            is_whole && told.input.is_some() && (told.output.is_some() || told.content == 0);
        let counts = Counts {
            input: Some(told.input.unwrap_or(reserved.input.into())),
            output: Some(output),
            ..told
        };
        Some((
            counts,
            match is_told {
                true => How::Told,
                false => How::Estimated,
            },
        ))
    }
}

impl How {
    /// A word for the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Estimated => "estimated",
            Self::NotServed => "not_served",
        }
    }
}
