//! Protobuf messages as Envoy's files write them.

use crate::document::Node;

/// What an `Any` is said to hold.
pub(crate) fn type_of(node: &Node) -> Option<&str> {
    node.get("@type")?.text()
}

/// A field of a protobuf message, by either of its names.
pub(crate) fn either<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.get(name).or_else(|| {
        let mut words = name.split('_');
        let mut camel = words.next().unwrap_or_default().to_owned();
        for word in words {
            let mut letters = word.chars();
            camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
            camel.extend(letters);
        }
        node.get(&camel)
    })
}
