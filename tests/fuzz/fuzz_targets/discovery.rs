//! See `portcullis_fuzz::discovery`.
#![no_main]

use portcullis_fuzz::discovery::{check, good};

libfuzzer_sys::fuzz_target!(
    // A target that refuses everything would find nothing.
    init: assert!(check(good().as_bytes())),
    |input: &[u8]| {
        check(input);
    }
);
