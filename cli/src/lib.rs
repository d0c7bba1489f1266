//! Tells what is wrong with a gateway's configuration before the gateway does.

mod allow;
pub mod assumed;
pub mod check;
pub mod document;
pub mod explain;
pub mod filter;
pub mod find;
pub mod finding;
pub mod gateway;
mod kubernetes;
pub mod path;
pub mod report;
mod rules;
pub mod source;
