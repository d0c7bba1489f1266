//! What a person types in this repository: build, test, demo, load, bench, and what else `cargo xtask --help` shows.
//!
//! No logic of the product lives here; the filters know nothing of this crate.
#![allow(
    clippy::disallowed_methods,
    reason = "these rules are the product's: here, time is the machine's"
)]

pub mod bench;
pub mod build;
pub mod cli;
pub mod command;
pub mod coverage;
pub mod demo;
pub mod docker;
pub mod docs;
pub mod filters;
pub mod fuzz;
pub mod history;
pub mod lds;
pub mod load;
pub mod meta;
pub mod mutants;
pub mod packages;
pub mod port;
pub mod qdrant;
pub mod release;
pub mod schema;
pub mod spelling;
pub mod strip;
pub mod test;
pub mod token;
pub mod tools;
pub mod wasm_target;
pub mod workspace;

mod machine_paths;
