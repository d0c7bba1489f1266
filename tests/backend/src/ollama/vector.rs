//! Embeddings without a model: a hashing vectoriser. Texts that share words, or parts of words, are near each other, and
//! the same text has the same vector on every machine.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// How many characters of a word are hashed together, so that "breaker" is near "breakers".
const GRAM_CHARS: usize = 4;

/// What a shared part of a word counts for, beside the whole word.
const GRAM_WEIGHT: f32 = 0.3;

/// Up to this length most words are "the" and the like.
const SHORT_WORD_CHARS: usize = 3;

/// What such a word counts for.
const SHORT_WORD_WEIGHT: f32 = 0.1;

/// A vector of length one.
pub(super) fn of(text: &str, dimension: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dimension];
    for word in text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
    {
        let chars: Vec<char> = word.chars().collect();
        let weight = if chars.len() > SHORT_WORD_CHARS {
            1.0
        } else {
            SHORT_WORD_WEIGHT
        };
        add(&mut vector, &("word", &word), weight);
        for gram in chars.windows(GRAM_CHARS) {
            add(&mut vector, &("gram", gram), GRAM_WEIGHT * weight);
        }
    }
    // What occurs ten times does not say ten times as much.
    for value in &mut vector {
        *value = value.signum() * value.abs().sqrt();
    }
    if vector.iter().all(|value| *value == 0.0) {
        add(&mut vector, &("text", text), 1.0);
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    for value in &mut vector {
        *value /= length;
    }
    vector
}

/// Adds a feature in the place and with the sign that its hash says.
fn add(vector: &mut [f32], feature: &impl std::hash::Hash, weight: f32) {
    let mut hasher = SipHasher13::new();
    feature.hash(&mut hasher);
    let hash = hasher.finish();
    let places = u64::try_from(vector.len()).unwrap_or(u64::MAX);
    let place = (hash >> 1).checked_rem(places).unwrap_or_default();
    let sign = if hash & 1 == 0 { 1.0 } else { -1.0 };
    let place = usize::try_from(place).ok();
    if let Some(value) = place.and_then(|place| vector.get_mut(place)) {
        *value += sign * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearness(a: &str, b: &str) -> f32 {
        let pairs = of(a, 1024).into_iter().zip(of(b, 1024));
        pairs.map(|(a, b)| a * b).sum()
    }

    #[test]
    fn what_shares_words_is_nearer_than_what_does_not() {
        let question = "How does a circuit breaker probe an upstream?";
        let near = nearness(
            question,
            "Circuit breakers send one probe to the upstream that failed.",
        );
        let far = nearness(
            question,
            "Browsers ask by a preflight before they post JSON.",
        );
        assert!(near > far + 0.2, "{near} {far}");
    }

    #[test]
    fn every_text_has_one_vector_of_length_one() {
        for text in ["", " ", "a", "日本語", "breaker breaker", "…"] {
            let vector = of(text, 384);
            assert_eq!(vector.len(), 384);
            assert_eq!(vector, of(text, 384));
            let length: f32 = vector.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-4, "{text:?}: {length}");
        }
    }
}
