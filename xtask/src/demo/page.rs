//! How the tour prints.

use anyhow::{Result, ensure};
use portcullis_e2e::Answer;

/// Headers worth a look.
const SHOWN: [&str; 8] = [
    "content-type",
    "www-authenticate",
    "retry-after",
    "ratelimit-policy",
    "ratelimit",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-request-id",
];

/// Checks a status.
///
/// # Errors
/// It is another.
pub(super) fn expect(answer: &Answer, status: u16) -> Result<()> {
    ensure!(
        answer.status == status,
        "expected {status}, got {}: {}",
        answer.status,
        answer.body
    );
    Ok(())
}

/// An answer: status, the headers worth a look, and the beginning of the body.
pub(super) fn show(answer: &Answer) {
    println!("    {}", answer.status);
    for name in SHOWN {
        if let Some(value) = answer.header(name) {
            println!("    {name}: {value}");
        }
    }
    if !answer.body.is_empty() {
        println!("    {}", excerpt(&answer.body));
    }
}

/// The beginning of a body, in one line.
pub(super) fn excerpt(body: &str) -> String {
    /// Two lines of a terminal.
    const SHOWN: usize = 150;
    let mut text: String = body
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if body.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// What to see in it.
pub(super) fn see(text: &str) {
    println!("\n  -> {text}");
}
