//! What a token may look like, besides what all of them do.

use serde::Deserialize;

/// What becomes of tokens that are bound to a key of their holder's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BoundTokens {
    /// They are refused: whoever has stolen one could use it (RFC 9449 section 7.1).
    #[default]
    Refuse,
    /// They are taken as any other: something else checks who sends them.
    Accept,
}

/// What becomes of `=` at the end of a token's segments (RFC 7515 section 2 has none).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The token is malformed.
    #[default]
    Refuse,
    /// It is passed over. The signature is about the text as it came.
    Accept,
}
