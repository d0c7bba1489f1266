//! See `portcullis_fuzz::token`.
#![no_main]

use portcullis_fuzz::token::{check, good};

libfuzzer_sys::fuzz_target!(
    // A target that refuses everything would find nothing.
    init: assert!(check(good().as_bytes())),
    |input: &[u8]| {
        check(input);
    }
);
