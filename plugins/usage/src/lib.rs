//! What an answer used, and what a request asks for: read out of bodies as they pass, chunk by chunk, in constant memory.
//!
//! ```text
//! an answer  ─> Reader: server-sent events, lines or one document ─> Scanner: JSON, byte by byte ─> values at Paths ─> Meter
//! a request  ────────────────────────────────────────────────────> Scanner                      ─> values at Paths ─> Fields
//! ```
//!
//! Chunks may be cut anywhere. Nothing is kept of a body but where its reader is and what was found: no tree, no line, no copy.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod extra;
mod fields;
mod meter;
mod number;
mod paths;
mod reader;
mod scanner;
mod text;

pub use extra::Extra;
pub use fields::{Body, Document, Fields, Value};
pub use meter::{Counts, Kind, Meter, Vendors};
pub use paths::{InvalidPath, Paths};
pub use reader::{Framing, Reader};
pub use scanner::{Broken, Found, Place, Scanner};
