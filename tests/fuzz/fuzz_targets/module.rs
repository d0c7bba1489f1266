//! See `portcullis_fuzz::module`.
#![no_main]

use portcullis_fuzz::module::{Event, check, good};

libfuzzer_sys::fuzz_target!(
    // A target that refuses everything would find nothing.
    init: assert!(check(good())),
    |events: Vec<Event>| {
        check(events);
    }
);
