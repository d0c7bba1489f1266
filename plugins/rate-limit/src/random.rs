//! Numbers that tests draw.

/// Draws numbers below its argument, the same for the same seed (Knuth's MMIX, a linear congruential generator).
pub(crate) fn draw(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut random = seed;
    move |below| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    }
}
