//! What an answer of a model used.

use crate::paths::{InvalidPath, Paths};
use crate::reader::{Framing, Reader};
use crate::scanner::Found;

/// What a number, or a text, at a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tokens of the prompt, with those that came from a cache where they are told [within](Self::CachedWithin).
    Input,
    /// Tokens of the prompt that [`Self::Input`] leaves out.
    MoreInput,
    /// Tokens of the prompt that came from a cache, and that [`Self::Input`] has.
    CachedWithin,
    /// Tokens of the prompt that came from a cache, and that [`Self::Input`] leaves out.
    CachedApart,
    /// Tokens of the answer.
    Output,
    /// Tokens that the model thought with, and that [`Self::Output`] has.
    ReasoningWithin,
    /// Tokens that the model thought with, and that [`Self::Output`] leaves out.
    ReasoningApart,
    /// A part of the answer's text.
    Content,
}

/// Where answers say what they used: all shapes that are known at once, since no two of them contradict each other.
///
/// | who | tokens | text |
/// | --- | --- | --- |
/// | OpenAI, vLLM: chat completions, completions, embeddings | `usage.prompt_tokens`, `usage.completion_tokens` | `choices.*.delta.content`, … |
/// | OpenAI: responses | `usage.input_tokens`, `response.usage.input_tokens` in a stream, … | `delta`, `output.*.content.*.text` |
/// | Ollama: generate, chat, embed | `prompt_eval_count`, `eval_count` | `response`, `message.content` |
/// | Anthropic: messages | `message.usage.…` first, `usage.…` later, both of all so far | `delta.text`, `content.*.text` |
/// | Gemini | `usageMetadata.promptTokenCount`, … | `candidates.*.content.parts.*.text` |
/// | Cohere: chat, embed | `usage.tokens.…`, `delta.usage.tokens.…`, `meta.billed_units.…` | `delta.message.content.text`, … |
#[derive(Clone, Debug)]
pub struct Vendors {
    paths: Paths,
    kinds: Vec<Kind>,
}

const KNOWN: [(&str, Kind); 54] = [
    ("usage.prompt_tokens", Kind::Input),
    ("usage.completion_tokens", Kind::Output),
    (
        "usage.prompt_tokens_details.cached_tokens",
        Kind::CachedWithin,
    ),
    (
        "usage.completion_tokens_details.reasoning_tokens",
        Kind::ReasoningWithin,
    ),
    ("choices.*.delta.content", Kind::Content),
    ("choices.*.delta.reasoning_content", Kind::Content),
    ("choices.*.delta.reasoning", Kind::Content),
    ("choices.*.delta.refusal", Kind::Content),
    (
        "choices.*.delta.tool_calls.*.function.arguments",
        Kind::Content,
    ),
    ("choices.*.message.content", Kind::Content),
    ("choices.*.message.reasoning_content", Kind::Content),
    (
        "choices.*.message.tool_calls.*.function.arguments",
        Kind::Content,
    ),
    ("choices.*.text", Kind::Content),
    // OpenAI's responses; Anthropic's messages have the first two as well.
    ("usage.input_tokens", Kind::Input),
    ("usage.output_tokens", Kind::Output),
    (
        "usage.input_tokens_details.cached_tokens",
        Kind::CachedWithin,
    ),
    (
        "usage.output_tokens_details.reasoning_tokens",
        Kind::ReasoningWithin,
    ),
    ("response.usage.input_tokens", Kind::Input),
    ("response.usage.output_tokens", Kind::Output),
    (
        "response.usage.input_tokens_details.cached_tokens",
        Kind::CachedWithin,
    ),
    (
        "response.usage.output_tokens_details.reasoning_tokens",
        Kind::ReasoningWithin,
    ),
    ("delta", Kind::Content),
    ("output.*.content.*.text", Kind::Content),
    // Ollama.
    ("prompt_eval_count", Kind::Input),
    ("eval_count", Kind::Output),
    ("response", Kind::Content),
    ("message.content", Kind::Content),
    ("message.thinking", Kind::Content),
    ("thinking", Kind::Content),
    // Anthropic.
    ("message.usage.input_tokens", Kind::Input),
    ("message.usage.output_tokens", Kind::Output),
    ("message.usage.cache_read_input_tokens", Kind::CachedApart),
    ("message.usage.cache_creation_input_tokens", Kind::MoreInput),
    ("usage.cache_read_input_tokens", Kind::CachedApart),
    ("usage.cache_creation_input_tokens", Kind::MoreInput),
    ("delta.text", Kind::Content),
    ("delta.thinking", Kind::Content),
    ("delta.partial_json", Kind::Content),
    ("content.*.text", Kind::Content),
    ("content.*.thinking", Kind::Content),
    // Gemini.
    ("usageMetadata.promptTokenCount", Kind::Input),
    ("usageMetadata.toolUsePromptTokenCount", Kind::MoreInput),
    ("usageMetadata.cachedContentTokenCount", Kind::CachedWithin),
    ("usageMetadata.candidatesTokenCount", Kind::Output),
    ("usageMetadata.thoughtsTokenCount", Kind::ReasoningApart),
    ("candidates.*.content.parts.*.text", Kind::Content),
    // Cohere.
    ("usage.tokens.input_tokens", Kind::Input),
    ("usage.tokens.output_tokens", Kind::Output),
    ("delta.usage.tokens.input_tokens", Kind::Input),
    ("delta.usage.tokens.output_tokens", Kind::Output),
    ("meta.billed_units.input_tokens", Kind::Input),
    ("meta.billed_units.output_tokens", Kind::Output),
    ("delta.message.content.text", Kind::Content),
    ("message.content.*.text", Kind::Content),
];

impl Vendors {
    /// All shapes that are known.
    ///
    /// # Errors
    /// None: a test holds it.
    pub fn known() -> Result<Self, InvalidPath> {
        Self::of(KNOWN)
    }

    /// The same, and places of one's own: each path with what it means.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn known_and<'p>(
        own: impl IntoIterator<Item = (&'p str, Kind)>,
    ) -> Result<Self, InvalidPath> {
        Self::of(KNOWN.into_iter().chain(own))
    }

    /// A shape of one's own: each path with what it means.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn of<'p>(places: impl IntoIterator<Item = (&'p str, Kind)>) -> Result<Self, InvalidPath> {
        let (paths, kinds): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        Ok(Self {
            paths: Paths::new(paths)?,
            kinds,
        })
    }
}

/// What an answer used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the prompt that did not come from a cache; `None` where it was not told.
    pub input: Option<u64>,
    /// Tokens of the prompt that came from a cache.
    pub cached: u64,
    /// Tokens of the answer, with those that the model thought with; `None` where it was not told.
    pub output: Option<u64>,
    /// Those that the model thought with.
    pub reasoning: u64,
    /// Bytes of the answer's text.
    pub content: u64,
}

/// Reads an answer as it passes.
#[derive(Clone, Debug)]
pub struct Meter {
    reader: Option<Reader>,
    told: Told,
}

/// What was told last, by kind. What a stream uses grows: the largest counts.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Whether anything has stood where something of it does.
    anything: bool,
    input: Option<u64>,
    more_input: u64,
    cached_within: u64,
    cached_apart: u64,
    output: Option<u64>,
    reasoning_within: u64,
    reasoning_apart: u64,
    content: u64,
}

impl Meter {
    /// Of an answer with these headers. `content_encoding`: empty where there is none.
    #[must_use]
    pub fn of(content_type: &[u8], content_encoding: &[u8]) -> Self {
        let encoding = content_encoding.trim_ascii();
        let is_plain = encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity");
        let framing = Framing::of(content_type).filter(|_| is_plain);
        Self {
            reader: framing.map(Reader::new),
            told: Told::default(),
        }
    }

    /// Whether it can be read: it is compressed, or of a media type of which nothing is known, where it can't.
    #[must_use]
    pub const fn is_readable(&self) -> bool {
        self.reader.is_some()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, vendors: &Vendors, bytes: &[u8]) {
        let told = &mut self.told;
        if let Some(reader) = &mut self.reader {
            reader.feed(&vendors.paths, bytes, &mut |place, found| {
                told.hear(vendors, place.path, found);
            });
        }
    }

    /// The answer has ended, or was broken off.
    pub fn end(&mut self, vendors: &Vendors) {
        let told = &mut self.told;
        if let Some(reader) = &mut self.reader {
            reader.end(&vendors.paths, &mut |place, found| {
                told.hear(vendors, place.path, found);
            });
        }
    }

    /// Whether it is one document, of which little is known before its end.
    #[must_use]
    pub fn is_one_document(&self) -> bool {
        self.reader
            .as_ref()
            .is_some_and(|reader| reader.framing() == Framing::Whole)
    }

    /// Whether it is a stream of server-sent events.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        self.reader
            .as_ref()
            .is_some_and(|reader| reader.framing() == Framing::Events)
    }

    /// How many documents of it have ended that were not broken.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.reader.as_ref().map_or(0, Reader::documents)
    }

    /// Whether anything was found in it where answers of models say something.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.told.anything
    }

    /// Whether any of the answer's text has come: comments, roles and empty parts are none.
    #[must_use]
    pub const fn has_content(&self) -> bool {
        self.told.content > 0
    }

    /// What it has used, as far as it was told.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let told = &self.told;
        Counts {
            input: told.input.map(|input| {
                let fresh = input.saturating_sub(told.cached_within);
                fresh.saturating_add(told.more_input)
            }),
            cached: told.cached_within.saturating_add(told.cached_apart),
            output: told
                .output
                .map(|output| output.saturating_add(told.reasoning_apart)),
            reasoning: told.reasoning_within.saturating_add(told.reasoning_apart),
            content: told.content,
        }
    }
}

impl Told {
    fn hear(&mut self, vendors: &Vendors, path: usize, found: Found<'_>) {
        let Some(kind) = vendors.kinds.get(path) else {
            return;
        };
        self.anything |= matches!(found, Found::Text(..) | Found::Number(_));
        match (kind, found) {
            (Kind::Content, Found::Text(_, length)) => {
                self.content = self.content.saturating_add(length);
            }
            (Kind::Content, _) => {}
            (_, Found::Number(number)) => {
                let Some(count) = whole(number) else {
                    return;
                };
                let raise = |known: &mut u64| *known = count.max(*known);
                match kind {
                    Kind::Input => self.input = Some(self.input.unwrap_or(0).max(count)),
                    Kind::Output => self.output = Some(self.output.unwrap_or(0).max(count)),
                    Kind::MoreInput => raise(&mut self.more_input),
                    Kind::CachedWithin => raise(&mut self.cached_within),
                    Kind::CachedApart => raise(&mut self.cached_apart),
                    Kind::ReasoningWithin => raise(&mut self.reasoning_within),
                    Kind::ReasoningApart => raise(&mut self.reasoning_apart),
                    Kind::Content => {}
                }
            }
            _ => {}
        }
    }
}

/// A count; `None` where a number is none. No answer has used 2^53 tokens.
fn whole(number: f64) -> Option<u64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 0 and 2^53"
    )]
    (0.0..MOST).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests;
