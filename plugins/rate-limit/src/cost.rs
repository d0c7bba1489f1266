//! What a request takes of a quota: a number, or what its body, its query or its answer says.

use std::num::NonZeroU32;

use portcullis_policy::Request;
use portcullis_policy::config::ConfigError;
use portcullis_usage::{Counts, Document, Value};

use crate::body::{Place, Places, Said, at};
use crate::config::{
    Cost, FieldConfig, InputReserve, LEAST_GRANTED, OutputReserve, TokensConfig, Unreadable,
    WeightsConfig,
};
use crate::rewrite::Target;
use crate::value;

/// How it is found what a request takes.
#[derive(Debug)]
pub(crate) enum Pricing {
    Fixed(u32),
    Field(Field),
    Tokens(Tokens),
}

/// By what a request asks for.
#[derive(Debug)]
pub(crate) struct Field {
    json: Option<Place>,
    query: Option<String>,
    default: u32,
    at_most: u32,
    unreadable: Unreadable,
}

/// By what a model uses.
#[derive(Debug)]
pub(crate) struct Tokens {
    weights: Weights,
    input: InputReserve,
    output: Output,
    unreadable: Unreadable,
    bytes_per_token: u64,
}

/// What tokens take, in millionths.
#[derive(Clone, Copy, Debug)]
struct Weights {
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
}

#[derive(Debug)]
enum Output {
    Number(u64),
    Asked {
        from: Vec<Place>,
        /// The same, where they may be lowered to what is left.
        lowered: Option<Vec<Target>>,
        /// How many answers are wanted at once.
        times: Vec<Place>,
        prompts: Place,
        default: u64,
        at_most: u64,
    },
}

/// Tokens that a request was charged for before they were known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) input: u32,
    pub(crate) output: u32,
    /// How many each of the answers that it wants may have, where that is fewer than it asks for.
    pub(crate) granted: Option<NonZeroU32>,
}

/// What a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) cost: u32,
    /// Where it is settled by what it uses.
    pub(crate) reserved: Option<Reserved>,
    /// Where it may be granted fewer tokens than it asks for: how many answers it wants.
    pub(crate) answers: Option<NonZeroU32>,
}

/// Why it is not to be said what a request takes: it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unpriced {
    /// Its body can't be read.
    NotReadable,
    /// It asks for more than it may be charged at most, and can't be made to ask for less.
    TooDear,
}

/// Where a request says how many answers it wants at once: OpenAI's `n` and `best_of`; Gemini's, in either of its spellings.
const TIMES: [&str; 6] = [
    "n",
    "best_of",
    "generationConfig.candidateCount",
    "generationConfig.candidate_count",
    "generation_config.candidateCount",
    "generation_config.candidate_count",
];

/// Where OpenAI's completions have several prompts, each of which is answered.
const PROMPTS: &str = "prompt";

impl Price {
    pub(crate) const fn of(cost: u32) -> Self {
        Self {
            cost,
            reserved: None,
            answers: None,
        }
    }
}

impl Pricing {
    pub(crate) fn new(config: &Cost, places: &mut Places) -> Self {
        match config {
            Cost::Always(cost) => Self::Fixed(cost.get()),
            Cost::When(_) => Self::Fixed(1),
            Cost::Field(field) => Self::Field(Field::new(field, places)),
            Cost::Tokens(tokens) => Self::Tokens(Tokens::new(tokens, places)),
        }
    }

    /// Whether it goes by requests' bodies.
    pub(crate) const fn reads_requests(&self) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Field(field) => field.json.is_some(),
            Self::Tokens(tokens) => tokens.reads(),
        }
    }

    /// Whether it is settled by answers.
    pub(crate) const fn tokens(&self) -> Option<&Tokens> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Fixed(_) | Self::Field(_) => None,
        }
    }

    /// What a request takes that says nothing.
    pub(crate) fn ordinary(&self) -> u32 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Field(field) => field.default,
            Self::Tokens(tokens) => tokens.price(0, tokens.output.wanted(None)),
        }
    }

    /// The most that a request may be charged for its answer.
    pub(crate) fn largest(&self) -> u32 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Field(field) => field.at_most,
            Self::Tokens(tokens) => tokens.price(0, tokens.output.most()),
        }
    }

    /// What a request takes.
    pub(crate) fn of(&self, request: &Request<'_>, said: &Said) -> Result<Price, Unpriced> {
        match self {
            Self::Fixed(cost) => Ok(Price::of(*cost)),
            Self::Field(field) => field.of(request, said).map(Price::of),
            Self::Tokens(tokens) => tokens.of(said),
        }
    }
}

impl Field {
    fn new(config: &FieldConfig, places: &mut Places) -> Self {
        Self {
            json: config.json.as_ref().map(|path| places.at(path.as_str())),
            query: config.query.as_ref().map(|name| name.as_str().to_owned()),
            default: config.default.get(),
            at_most: config.at_most.get(),
            unreadable: config.unreadable.unwrap_or_default(),
        }
    }

    fn of(&self, request: &Request<'_>, said: &Said) -> Result<u32, Unpriced> {
        let of_body = match (self.json, said) {
            (Some(_), Said::NotYet) => return Ok(self.default.min(1)),
            (None, _) | (Some(_), Said::Nothing | Said::Lost) => None,
            (Some(place), Said::This { document, .. }) => {
                let value = at(document, place);
                let of_value = self.of_value(value);
                // One that only some parsers find is none to the others.
                of_value.map(|cost| match value.is_doubtful() {
                    true => cost.max(self.default),
                    false => cost,
                })
            }
            (Some(_), Said::Unreadable { .. }) => match self.unreadable {
                Unreadable::Refuse => return Err(Unpriced::NotReadable),
                Unreadable::AtMost => Some(self.at_most),
            },
        };
        let of_query =
            self.query
                .as_ref()
                .and_then(|name| match value::query(request.target(), name) {
                    value::Value::None => None,
                    value::Value::One(text) => Some(self.of_text(&text)),
                    value::Value::Several => Some(self.at_most),
                });
        Ok(of_body.max(of_query).unwrap_or(self.default))
    }

    /// What is no number above 0 a backend may take for anything: a text that it makes a number of, all that there is.
    fn of_value(&self, value: Value) -> Option<u32> {
        let is_odd = value.text.is_some() || value.truth.is_some() || value.members.is_some();
        if is_odd || value.elements == Some(0) {
            return Some(self.at_most);
        }
        let number = value.number.map(|number| match number > 0.0 {
            true => self.bounded(number),
            false => self.at_most,
        });
        let elements = value.elements.map(|elements| {
            let elements = u32::try_from(elements).unwrap_or(u32::MAX);
            elements.min(self.at_most)
        });
        number.max(elements)
    }

    fn of_text(&self, text: &[u8]) -> u32 {
        let text = std::str::from_utf8(text).ok();
        match text.and_then(|text| text.trim().parse::<u32>().ok()) {
            Some(number @ 1..) => number.min(self.at_most),
            Some(0) | None => self.at_most,
        }
    }

    fn bounded(&self, number: f64) -> u32 {
        whole(number, self.at_most.into())
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(self.at_most)
    }
}

impl Tokens {
    fn new(config: &TokensConfig, places: &mut Places) -> Self {
        let output = match &config.reserve.output {
            OutputReserve::Number(number) => Output::Number(number.get().into()),
            OutputReserve::Asked(asked) => Output::Asked {
                from: asked
                    .from()
                    .iter()
                    .map(|path| places.at(path.as_str()))
                    .collect(),
                times: TIMES.iter().map(|path| places.at(path)).collect(),
                prompts: places.at(PROMPTS),
                lowered: asked.clamp.then(|| {
                    let from = asked.from();
                    let targets = from.iter().map(|path| Target::new(path.as_str(), places));
                    targets.collect()
                }),
                default: asked.default.get().into(),
                at_most: asked.at_most.get().into(),
            },
        };
        Self {
            weights: Weights::of(&config.weights),
            input: config.reserve.input,
            output,
            unreadable: config.reserve.unreadable.unwrap_or_default(),
            bytes_per_token: places.bytes_per_token.max(1),
        }
    }

    fn of(&self, said: &Said) -> Result<Price, Unpriced> {
        let (document, may_change) = match said {
            Said::Nothing | Said::Lost => (None, false),
            // Where neither is read there is nothing to wait for.
            Said::NotYet if self.reads() => {
                return Ok(Price::of(self.price(self.input_of(1), 1).max(1)));
            }
            Said::NotYet => (None, false),
            Said::This {
                document,
                may_change,
            } => (Some(document), *may_change),
            Said::Unreadable { .. } if self.unreadable == Unreadable::Refuse => {
                return Err(Unpriced::NotReadable);
            }
            Said::Unreadable { bytes } => {
                return Ok(self.reserved(self.input_of(*bytes), self.output.most(), None));
            }
        };
        let bytes = document.map_or(0, |document| document.bytes);
        let lowers = document.filter(|document| may_change && self.output.can_lower(document));
        let answers =
            lowers.and_then(|document| NonZeroU32::new(small(self.output.answers(document))));
        let (wanted, most) = (self.output.wanted(document), self.output.most());
        let price = Price {
            answers,
            ..self.reserved(self.input_of(bytes), wanted.min(most), None)
        };
        if wanted <= most || self.lowered().is_empty() || document.is_none() {
            return Ok(price);
        }
        // What it is not charged for it is not to get.
        let granted = answers.and_then(|answers| NonZeroU32::new(small(most) / answers));
        match granted.filter(|granted| granted.get() >= LEAST_GRANTED) {
            Some(granted) => Ok(self.lowered_to(price, granted)),
            None => Err(Unpriced::TooDear),
        }
    }

    /// How many tokens each answer of a request may have, where only so much is left and it asks for more; `None` where that is
    /// no help, or too few.
    pub(crate) fn grant(&self, price: Price, left: u32) -> Option<NonZeroU32> {
        let answers = u64::from(price.answers?.get());
        let reserved = price.reserved?;
        let left = u64::from(left).checked_mul(1_000_000)?;
        let for_input = u64::from(reserved.input).checked_mul(self.weights.input)?;
        let for_output = left.checked_sub(for_input)?;
        let granted = for_output
            .checked_div(self.weights.output)?
            .checked_div(answers)?;
        let is_fewer = granted.checked_mul(answers)? < reserved.output.into();
        NonZeroU32::new(small(granted)).filter(|_| is_fewer && granted >= LEAST_GRANTED.into())
    }

    /// The price of a request whose answers may have no more tokens than that each.
    pub(crate) fn granting(&self, price: Price, granted: NonZeroU32) -> Price {
        let asked = price.reserved.map_or(0, |reserved| reserved.output);
        let output = price.answers.map_or(u32::MAX, |answers| {
            granted.get().saturating_mul(answers.get())
        });
        match output < asked {
            true => self.lowered_to(price, granted),
            false => price,
        }
    }

    fn lowered_to(&self, price: Price, granted: NonZeroU32) -> Price {
        let (Some(answers), Some(reserved)) = (price.answers, price.reserved) else {
            return price;
        };
        let output = granted.get().saturating_mul(answers.get());
        Price {
            answers: Some(answers),
            ..self.reserved(reserved.input.into(), output.into(), Some(granted))
        }
    }

    /// Where a request says how many tokens it wants, where that may be lowered.
    pub(crate) fn lowered(&self) -> &[Target] {
        match &self.output {
            Output::Asked {
                lowered: Some(targets),
                ..
            } => targets,
            Output::Asked { lowered: None, .. } | Output::Number(_) => &[],
        }
    }

    /// Whether it goes by requests' bodies.
    const fn reads(&self) -> bool {
        matches!(self.input, InputReserve::Estimate) || matches!(self.output, Output::Asked { .. })
    }

    fn reserved(&self, input: u64, output: u64, granted: Option<NonZeroU32>) -> Price {
        Price {
            cost: self.price(input, output),
            reserved: Some(Reserved {
                input: small(input),
                output: small(output),
                granted,
            }),
            answers: None,
        }
    }

    fn input_of(&self, bytes: u64) -> u64 {
        match self.input {
            InputReserve::Estimate => self.in_tokens(bytes),
            InputReserve::Number(number) => number.get().into(),
        }
    }

    /// What these bytes of text are taken for.
    pub(crate) const fn in_tokens(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.bytes_per_token)
    }

    fn price(&self, input: u64, output: u64) -> u32 {
        self.cost(&Counts {
            input: Some(input),
            output: Some(output),
            ..Counts::default()
        })
    }

    /// What was used takes so much of the quota.
    pub(crate) fn cost(&self, counts: &Counts) -> u32 {
        let output = counts.output.unwrap_or(0);
        let reasoning = counts.reasoning.min(output);
        let Weights {
            input: per_input,
            cached: per_cached,
            output: per_output,
            reasoning: per_reasoning,
        } = self.weights;
        let parts = [
            (counts.input.unwrap_or(0), per_input),
            (counts.cached, per_cached),
            (output.saturating_sub(reasoning), per_output),
            (reasoning, per_reasoning),
        ];
        let millionths = parts.iter().fold(0_u64, |sum, (count, weight)| {
            sum.saturating_add(count.saturating_mul(*weight))
        });
        u32::try_from(millionths.div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }
}

impl Weights {
    fn of(config: &WeightsConfig) -> Self {
        let millionths = |weight: crate::config::Weight| u64::from(weight.millionths());
        Self {
            input: millionths(config.input),
            cached: millionths(config.cached_input.unwrap_or(config.input)),
            output: millionths(config.output),
            reasoning: millionths(config.reasoning.unwrap_or(config.output)),
        }
    }
}

impl Output {
    const fn most(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Asked { at_most, .. } => *at_most,
        }
    }

    /// How many tokens a request wants. What is no number above 0 stands for as many as there are.
    fn wanted(&self, document: Option<&Document>) -> u64 {
        let Self::Asked {
            from,
            lowered,
            default,
            ..
        } = self
        else {
            return self.most();
        };
        let Some(document) = document else {
            return *default;
        };
        let asked = from.iter().map(|place| {
            let value = at(document, *place);
            let number = number(value, u64::MAX)?;
            // One that only some parsers find is none to the others.
            Some(match value.is_doubtful() {
                true => number.max(*default),
                false => number,
            })
        });
        let asked: Vec<Option<u64>> = asked.collect();
        // A field that is not there may be the one that the backend goes by. Where they may be lowered, one that is there is it.
        let missing = match lowered.is_some() && asked.iter().any(Option::is_some) {
            true => None,
            false => Some(*default),
        };
        let asked = asked.iter().filter_map(|number| number.or(missing));
        let asked = asked.max().unwrap_or(*default);
        asked.saturating_mul(self.answers(document))
    }

    /// How many answers a request wants.
    fn answers(&self, document: &Document) -> u64 {
        let Self::Asked {
            times,
            prompts,
            at_most,
            ..
        } = self
        else {
            return 1;
        };
        let times = times
            .iter()
            .filter_map(|place| number(at(document, *place), *at_most));
        let prompts = at(document, *prompts).elements.unwrap_or(1).max(1);
        times.max().unwrap_or(1).saturating_mul(prompts)
    }

    /// Whether a request's body can be changed so that it asks for fewer.
    fn can_lower(&self, document: &Document) -> bool {
        let Self::Asked {
            lowered: Some(lowered),
            ..
        } = self
        else {
            return false;
        };
        let mut is_there = false;
        let all_fit = lowered.iter().all(|target| {
            let is_absent = target.value(document).times == 0;
            is_there |= !is_absent;
            is_absent || target.is_settable(document)
        });
        let first = lowered.first();
        all_fit && (is_there || first.is_some_and(|target| target.is_settable(document)))
    }
}

/// A number of tokens, or of answers; what is no number above 0 stands for as many as there are. `None`: nothing stands there.
fn number(value: Value, at_most: u64) -> Option<u64> {
    let is_odd = value.text.is_some()
        || value.truth.is_some()
        || value.elements.is_some()
        || value.members.is_some();
    match value.number {
        Some(number) if number > 0.0 && !is_odd => Some(whole(number, at_most).unwrap_or(at_most)),
        None if !is_odd => None,
        Some(_) | None => Some(at_most),
    }
}

/// Of tokens there are never so many that it matters.
fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A number as a whole one, rounded up, and `most` at most; `None` where it is none.
fn whole(number: f64, most: u64) -> Option<u64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if !(0.0..LARGEST).contains(&number) {
        return None;
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 2^53"
    )]
    let rounded = number.ceil() as u64;
    Some(rounded.min(most))
}

/// What a request may cost at most must be something that is left at some time, or nothing would pass.
pub(crate) fn check_cost(cost: u32, most: u32) -> Result<u32, ConfigError> {
    if cost <= most {
        return Ok(cost);
    }
    let rule = format!("{cost} is more than the {most} that are ever left: nothing would pass");
    Err(ConfigError::at("", rule))
}
