//! One key of a limit, a thousand and a million.

use serde_json::json;

use super::{Inputs, Part, Subject};
use crate::config::bootstrap::GATEWAY;
use crate::config::ours::{self, ENDLESS, LimitHeaders};
use crate::traffic::KEY_HEADER;

const BASE: &str = "keys_bare";

/// As many keys as a limit can have.
const CAPACITY: u32 = 1_000_000;

/// A listener on which a key costs least: nothing is forwarded.
const FILL: &str = "fill";

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let mut part = Part::new("keys", "Keys of a limit", "the bare gateway");
    let bare = Subject::new(BASE, "a bare gateway", inputs.ask().of_keys(1));
    part.chain(inputs, bare, &[]);
    let mut limit = ours::limit("per_key", ENDLESS);
    limit["key"] = json!([format!("header:{KEY_HEADER}")]);
    let mut config = ours::limits(&[limit], LimitHeaders::Both);
    config["capacity"] = json!(CAPACITY);
    let filter = inputs.wasm("rate_limit", &config);
    for keys in [1, 1_000, inputs.most_keys] {
        let name = format!("keys_{keys}");
        let bootstrap = inputs.bootstrap().forwarding(std::slice::from_ref(&filter));
        // Of one `vm_id`, so that both listeners share the counts.
        let filling = bootstrap.answering(FILL, std::slice::from_ref(&filter), 200);
        part.gateway(&name, filling);
        let shown = format!(
            "`rate_limit` by header, {} key{}",
            grouped(keys),
            if keys == 1 { "" } else { "s" }
        );
        let subject = Subject::new(&name, &shown, inputs.ask().of_keys(keys)).over(BASE);
        let subject = subject
            .at(&name, GATEWAY)
            .after(FILL, inputs.ask().of_keys(keys), keys);
        let subject = if keys == 1 {
            subject
        } else {
            subject.against(&["keys_1"])
        };
        part.subjects.push(subject);
    }
    part
}

/// With commas between thousands.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let text = [1, 999, 1_000, 1_000_000].map(grouped);
        assert_eq!(text, ["1", "999", "1,000", "1,000,000"]);
    }
}
