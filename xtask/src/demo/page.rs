//! How the tour prints.

use anyhow::{Result, ensure};
use portcullis_e2e::{Answer, Output};

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

/// Waits for a line of a gateway's log in which all of `words` occur, and shows what a filter says in it.
///
/// # Errors
/// There is none in time.
pub(super) async fn log_line(output: &Output, words: &[&str]) -> Result<String> {
    let line = output.wait_for(words).await?;
    let said = line.split_once("plugin=").map_or(&*line, |(_, said)| said);
    println!("    {said}");
    Ok(said.to_owned())
}

/// What to see in it.
pub(super) fn see(text: &str) {
    println!("\n  -> {text}");
}
