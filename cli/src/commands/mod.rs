//! What a person types, beside `check` and `explain`: each command with its options.

pub mod chain_args;
pub mod completions;
pub mod import;
pub mod keys;
pub mod man;
pub mod request_args;
pub mod test_cases;
pub mod token;
pub mod try_request;

/// It went as it was to.
pub const DONE: u8 = 0;
/// It did not.
pub const FAILED: u8 = 1;
/// It could not be tried.
pub const IMPOSSIBLE: u8 = 2;
