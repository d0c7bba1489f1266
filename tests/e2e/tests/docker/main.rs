//! The stack of `envoy/compose.yaml` or `kong/compose.yaml` on Docker, driven from outside, by `cargo xtask test --docker`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on has failed"
)]

mod concerns;
mod egress;
mod failures;
mod gateway;
mod kind;
mod page;
mod stack;
