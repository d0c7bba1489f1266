//! What this build was made for.

/// A mark, and behind it 1. Where `cargo xtask build` takes the callback for responses' bodies away, it writes 0 there.
#[used]
static SHOWS_RESPONSES: [u8; 27] = *b"portcullis:shows-responses\x01";

/// Whether the gateway can show responses' bodies to this build.
pub(crate) fn shows_responses() -> bool {
    let at = SHOWS_RESPONSES.as_ptr();
    // SAFETY: it lies within. Read where it lies: it may have been changed since it was compiled.
    unsafe { at.add(SHOWS_RESPONSES.len() - 1).read_volatile() == 1 }
}
