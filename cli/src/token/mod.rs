//! Tokens for trying things out, and what is wrong with others.

pub mod key;
pub mod mint;
pub mod provider;
