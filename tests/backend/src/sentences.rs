//! Which of a text's sentences answer a question.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Shorter words do not help to choose a sentence: most of them are "the" and the like.
const TELLING_WORD_CHARS: usize = 4;

/// The sentence with most of the asked words, and what follows it up to the end of the next one.
pub(crate) fn best_sentences<'a>(passage: &'a str, asked: &BTreeSet<String>) -> &'a str {
    let ends: Vec<usize> = passage
        .match_indices(". ")
        .map(|(at, _)| at.saturating_add(1))
        .chain([passage.len()])
        .collect();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let words_in = |start: usize, end: usize| {
        let found: BTreeSet<String> =
            telling_words(passage.get(start..end).unwrap_or_default()).collect();
        found.intersection(asked).count()
    };
    let best = starts
        .zip(&ends)
        .enumerate()
        .max_by_key(|&(n, (start, &end))| (words_in(start, end), Reverse(n)))
        .map(|(n, (start, _))| (n, start));
    let (n, start) = best.unwrap_or_default();
    let end = ends
        .get(n.saturating_add(1))
        .copied()
        .unwrap_or(passage.len());
    passage.get(start..end).unwrap_or_default().trim()
}

/// The words of a text that tell what it is about, in lower case.
pub(crate) fn telling_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= TELLING_WORD_CHARS)
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_with_the_asked_words_is_chosen_and_the_one_after_it() {
        let asked = telling_words("beta").collect();
        assert_eq!(
            best_sentences("Alpha one. Beta two. Gamma three. Delta.", &asked),
            "Beta two. Gamma three."
        );
        assert_eq!(best_sentences("Alpha one.", &asked), "Alpha one.");
        assert_eq!(best_sentences("", &asked), "");
    }
}
