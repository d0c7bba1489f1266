//! `# portcullis: allow P012, because …`

use granit_parser::{Event, Parser};

use crate::document::{Content, Node, Place, block_of};
use crate::finding::{Code, Finding};
use crate::settings::is_conf;
use crate::source::Source;

/// A comment that allows something.
#[derive(Clone, Debug)]
struct Allowance {
    place: Place,
    /// The line that it is about.
    line: usize,
    codes: Result<Vec<Code>, String>,
}

/// Takes away what comments allow, and adds what is wrong with the comments.
pub(crate) fn apply(source: &Source, documents: &[Node], findings: Vec<Finding>) -> Vec<Finding> {
    let mut texts = vec![source.text.clone()];
    for document in documents {
        gather_texts(source, document, &mut texts);
    }
    let allowances: Vec<Allowance> = texts.iter().flat_map(|text| read(source, text)).collect();
    let mut used = vec![Vec::new(); allowances.len()];
    let mut left = Vec::new();
    for finding in findings {
        let beside = finding.beside.as_ref().map(|(place, _)| *place);
        let lines = [Some(finding.place), beside].map(|place| place.map(|it| source.line_of(it)));
        let mut is_allowed = false;
        for (allowance, used) in allowances.iter().zip(&mut used) {
            let codes = allowance.codes.as_deref().unwrap_or_default();
            if lines.contains(&Some(allowance.line)) && codes.contains(&finding.code) {
                used.push(finding.code);
                is_allowed = true;
            }
        }
        if !is_allowed {
            left.push(finding);
        }
    }
    for (allowance, used) in allowances.into_iter().zip(used) {
        let message = match allowance.codes {
            Err(message) => message,
            Ok(codes) => match codes.into_iter().find(|code| !used.contains(code)) {
                Some(code) => format!(
                    "{} is allowed, and not found in line {}",
                    code.id(),
                    allowance.line
                ),
                None => continue,
            },
        };
        left.push(Finding {
            code: Code::AllowsNothing,
            place: allowance.place,
            message,
            beside: None,
        });
    }
    left
}

/// Files in a file have comments of their own.
fn gather_texts(source: &Source, node: &Node, texts: &mut Vec<String>) {
    if let Content::Text(text) = &node.content
        && text.contains(MARK)
        && node.used == node.written
    {
        texts.extend(block_of(&source.text, node));
    }
    for field in node.fields() {
        gather_texts(source, &field.value, texts);
    }
    for item in node.items() {
        gather_texts(source, item, texts);
    }
}

const MARK: &str = "portcullis: allow";

fn read(source: &Source, text: &str) -> Vec<Allowance> {
    if is_conf(source) {
        return in_lines(source);
    }
    let mut parser = Parser::new_from_str(text);
    let mut allowances = Vec::new();
    while let Some(Ok((event, span))) = parser.next_event() {
        let Event::Comment(comment, _) = event else {
            continue;
        };
        let start = span.start.byte_offset().unwrap_or_default();
        let end = span.end.byte_offset().unwrap_or(start);
        allowances.extend(allowance(source, &comment, Place { start, end }));
    }
    allowances
}

/// What a comment allows, if it is one that does.
fn allowance(source: &Source, comment: &str, place: Place) -> Option<Allowance> {
    let said = comment.trim().strip_prefix(MARK)?;
    Some(Allowance {
        place,
        line: line_meant(source, place),
        codes: codes(said),
    })
}

/// In a file of settings a comment begins with the first `#`.
fn in_lines(source: &Source) -> Vec<Allowance> {
    let mut start = 0_usize;
    let mut allowances = Vec::new();
    for line in source.text.split_inclusive('\n') {
        let end = start.saturating_add(line.trim_end().len());
        if let Some((before, comment)) = line.split_once('#') {
            let start = start.saturating_add(before.len());
            allowances.extend(allowance(source, comment, Place { start, end }));
        }
        start = start.saturating_add(line.len());
    }
    allowances
}

fn codes(said: &str) -> Result<Vec<Code>, String> {
    let Some((named, reason)) = said.split_once("because") else {
        return Err(
            "it says no reason, and allows nothing; expected `allow P012, because …`".to_owned(),
        );
    };
    if reason.trim().trim_matches('…').is_empty() {
        return Err("it says no reason behind `because`, and allows nothing".to_owned());
    }
    let named = named.split([',', ' ']).filter(|word| !word.is_empty());
    let read = |word: &str| match Code::named(word) {
        Some(code) if code.can_be_allowed() => Ok(code),
        Some(code) => Err(format!("{} can't be allowed", code.id())),
        None => Err(format!("{word:?} is no code")),
    };
    let codes: Vec<Code> = named.map(read).collect::<Result<_, _>>()?;
    match codes.is_empty() {
        true => Err("it names no code; expected `allow P012, because …`".to_owned()),
        false => Ok(codes),
    }
}

/// The line that it stands behind, or, of one that has a line for itself, the next one that holds anything else.
fn line_meant(source: &Source, place: Place) -> usize {
    let line = source.line_of(place);
    let is_other = |text: &str| !text.trim().is_empty() && !text.trim_start().starts_with('#');
    let from = source.text.lines().enumerate().skip(line.saturating_sub(1));
    let mut others = from.filter(|(_, text)| is_other(text));
    others
        .next()
        .map_or(line, |(index, _)| index.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_allowed_for_a_reason() {
        let both = vec![Code::NeverRefuses, Code::ChosenAddress];
        assert_eq!(codes(" P010, p012, because it is a demo"), Ok(both));
        for said in [
            "",
            " P010",
            " P010 because",
            " P010, because …",
            " because it is",
            " P1, because x",
            " P005, because x",
        ] {
            assert!(codes(said).is_err(), "{said}");
        }
    }
}
