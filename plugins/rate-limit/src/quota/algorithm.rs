//! The algorithms by name.

use serde::Deserialize;

/// How requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// In windows that start at multiples of their length since 1970.
    FixedWindow,
    /// In the window that ends now.
    #[default]
    SlidingWindow,
    /// As tokens out of a bucket that holds `burst` and into which `quota` drip in each window.
    TokenBucket,
}
