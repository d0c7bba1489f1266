//! What this build was made for.

/// A mark, and behind it 1. Where `cargo xtask build` takes the callback for responses' bodies away, it writes 0 there.
#[used]
static SHOWS_RESPONSES: [u8; 27] = *b"portcullis:shows-responses\x01";

/// Whether the gateway can show responses' bodies to this build.
pub(crate) fn shows_responses() -> bool {
    // Read where it lies: it may have been changed since it was compiled.
    // SAFETY: it lies there.
    let bytes = unsafe { (&raw const SHOWS_RESPONSES).read_volatile() };
    bytes.last() == Some(&1)
}
