//! The page that explains what is found.

use crate::finding::Code;

const PAGE: &str = include_str!("../../docs/check.md");

/// What the page says of a kind of finding.
#[must_use]
pub fn explain(code: Code) -> Option<&'static str> {
    let heading = format!("\n### {}\n", code.id());
    let (_, text) = PAGE.split_once(&heading)?;
    let ends = ["\n### ", "\n## "]
        .into_iter()
        .filter_map(|next| text.find(next));
    text.get(..ends.min().unwrap_or(text.len())).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_finding_is_explained() {
        for code in Code::ALL {
            let text = explain(code).unwrap_or_default();
            assert!(text.contains(code.title()), "{code:?}: {text}");
        }
    }
}
