//! See `portcullis_fuzz::jwks`.
#![no_main]

use portcullis_fuzz::jwks::{check, good};

libfuzzer_sys::fuzz_target!(
    // A target that refuses everything would find nothing.
    init: assert!(check(good().as_bytes())),
    |input: &[u8]| {
        check(input);
    }
);
