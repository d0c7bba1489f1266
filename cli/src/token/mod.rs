//! Tokens for trying things out, and what is wrong with others.

pub mod explain;
pub mod key;
pub mod mint;
pub mod provider;
mod required;
pub mod stand_in;
pub mod told;
