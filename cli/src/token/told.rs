//! Tells what is known of a token. Never its signature.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use portcullis_policy::{Span, Timestamp};
use serde_json::{Map, Value, json};

use super::explain::{Explained, Fails, Rule};
use super::required::{seconds, written};
use crate::loaded::{Item, Loaded};
use crate::moment::{shown, shown_span};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Claims that are points in time (RFC 7519 section 4.1, OpenID Connect Core).
const TIMES: [&str; 4] = ["exp", "nbf", "iat", "auth_time"];

/// For a person.
///
/// # Errors
/// It can't be written.
pub fn human(
    explained: &Explained,
    loaded: &Loaded,
    now: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    write_fields("header", &explained.header, now, out)?;
    write_fields("claims", &explained.claims, now, out)?;
    if let Some(provider) = &explained.provider {
        writeln!(out, "provider\n  {provider}")?;
    }
    match &explained.fails {
        Some(Fails { reason, says }) => writeln!(out, "{BAD}refused: {reason}{BAD:#}\n  {says}")?,
        None => match &explained.unsigned {
            None => writeln!(out, "{GOOD}good{GOOD:#}")?,
            Some(why) => writeln!(
                out,
                "{GOOD}good{GOOD:#}, but for its signature, which was not looked at\n  {why}"
            )?,
        },
    }
    if !explained.rules.is_empty() {
        writeln!(out, "rules")?;
    }
    let mut filters = loaded.chain.filters.iter();
    let filter = filters.position(|configured| configured.part("jwt_auth").is_some());
    for Rule {
        index,
        fails,
        is_open,
    } in &explained.rules
    {
        let line = loaded.line(
            filter.unwrap_or_default(),
            "jwt_auth",
            "rules",
            Item::At(*index),
        );
        let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
        match fails {
            _ if *is_open => writeln!(out, "  rules[{index}]{line}: anyone may")?,
            None => writeln!(out, "  rules[{index}]{line}: {GOOD}enough{GOOD:#}")?,
            Some(Fails { reason, says }) => {
                writeln!(out, "  rules[{index}]{line}: {BAD}{reason}{BAD:#}: {says}")?;
            }
        }
    }
    Ok(())
}

fn write_fields(
    title: &str,
    fields: &Map<String, Value>,
    now: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{title}")?;
    for (name, value) in fields {
        let at = seconds(value).filter(|_| TIMES.contains(&name.as_str()));
        match at.map(Timestamp::from_unix_secs) {
            None => writeln!(out, "  {name}: {}", written(Some(value)))?,
            Some(at) => {
                let (span, which) = match at > now {
                    true => (at.since(now), "ahead"),
                    false => (now.since(at), "ago"),
                };
                let span = shown_span(Span::from_secs(span.as_secs_ceil()));
                writeln!(out, "  {name}: {} ({span} {which})", shown(at))?;
            }
        }
    }
    Ok(())
}

/// For a machine.
///
/// # Errors
/// It can't be written.
pub fn json(explained: &Explained, out: &mut dyn Write) -> io::Result<()> {
    let fails = |fails: &Option<Fails>| {
        let fails = fails.as_ref();
        fails.map(|fails| json!({ "reason": fails.reason, "says": fails.says }))
    };
    let rules = explained.rules.iter();
    let rules = rules.map(
        |rule| json!({ "index": rule.index, "anyone": rule.is_open, "fails": fails(&rule.fails) }),
    );
    let all = json!({
        "header": explained.header,
        "claims": explained.claims,
        "provider": explained.provider,
        "fails": fails(&explained.fails),
        "signature_not_checked": explained.unsigned,
        "rules": rules.collect::<Vec<_>>(),
    });
    writeln!(out, "{all:#}")
}
