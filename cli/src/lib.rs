//! Tells what is wrong with a gateway's configuration before the gateway does.

mod allow;
pub mod assumed;
pub mod cases;
pub mod check;
pub mod commands;
pub mod document;
pub mod explain;
pub mod filter;
pub mod find;
pub mod finding;
pub mod gateway;
mod kubernetes;
pub mod loaded;
pub mod mask;
pub mod moment;
pub mod path;
pub mod report;
pub mod requests;
mod rules;
pub mod source;
pub mod tell;
pub mod token;
pub mod trial;
