//! See `portcullis_fuzz::usage`.
#![no_main]

use portcullis_fuzz::usage::{check, good};

libfuzzer_sys::fuzz_target!(
    // A target that reads nothing would find nothing.
    init: assert!(check(good())),
    |input: &[u8]| {
        check(input);
    }
);
