//! From the path that a filter names to the value that it means.

use crate::document::{Content, Field, Node, Place};

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The value, or the last on the way that is there.
    pub node: &'a Node,
    /// The field whose value it is; `None` of an item, and of all of it.
    pub field: Option<&'a Field>,
    /// Whether all of the path is there.
    pub is_whole: bool,
}

/// Follows a path such as `limits[0].cost.reserve`.
#[must_use]
pub fn follow<'a>(root: &'a Node, path: &str) -> Target<'a> {
    let mut target = Target {
        node: root,
        field: None,
        is_whole: true,
    };
    let mut rest = path;
    while !rest.is_empty() {
        let Some((next, field, behind)) = step(target.node, rest) else {
            return Target {
                is_whole: false,
                ..target
            };
        };
        target = Target {
            node: next,
            field,
            is_whole: true,
        };
        rest = behind;
    }
    target
}

fn step<'a, 'p>(node: &'a Node, path: &'p str) -> Option<(&'a Node, Option<&'a Field>, &'p str)> {
    let names = node.fields().iter().map(|field| field.name.as_str());
    let (step, behind) = next_step(path, names)?;
    match step {
        Step::Item(index) => Some((node.items().get(index)?, None, behind)),
        Step::Field(name) => {
            let field = node.field(name)?;
            Some((&field.value, Some(field), behind))
        }
    }
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// To an item of a list.
    Item(usize),
    /// To a field.
    Field(&'a str),
}

/// The first step of a path where there are fields of these names, and what is left of it.
pub fn next_step<'a, 'p>(
    path: &'p str,
    names: impl Iterator<Item = &'a str>,
) -> Option<(Step<'a>, &'p str)> {
    if let Some(index) = path.strip_prefix('[') {
        let (index, behind) = index.split_once(']')?;
        return Some((Step::Item(index.parse().ok()?), behind));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    // A name may hold dots and brackets itself: the longest that fits.
    let fitting = names.filter_map(|name| {
        let behind = path.strip_prefix(name)?;
        let is_whole = behind.is_empty() || behind.starts_with(['.', '[']);
        is_whole.then_some((name, behind))
    });
    let (name, behind) = fitting.max_by_key(|(name, _)| name.len())?;
    Some((Step::Field(name), behind))
}

impl Target<'_> {
    /// What to show of it.
    #[must_use]
    pub fn place(&self) -> Place {
        let is_shown = !matches!(
            self.node.content,
            Content::Null | Content::List(_) | Content::Map(_)
        );
        match (is_shown, self.field) {
            (true, _) => self.node.written,
            (false, Some(field)) => field.place,
            (false, None) => self.node.place(),
        }
    }

    /// Where what is shown is meant, if that is another place.
    #[must_use]
    pub fn used(&self) -> Option<Place> {
        let node = self.node;
        (node.used != node.written).then_some(node.used)
    }
}

impl Node {
    /// What to show of it: of fields the first one's name, since nothing else is theirs alone.
    #[must_use]
    pub fn place(&self) -> Place {
        match &self.content {
            Content::Map(fields) => fields.first().map_or(self.written, |field| field.place),
            Content::List(items) if self.written.start == self.written.end => {
                items.first().map_or(self.written, Self::place)
            }
            _ => self.written,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    #[test]
    fn a_path_leads_to_the_value_or_to_the_last_that_is_there() {
        let text = "l: [{ n: 1 }, { n: &n 2 }]\nclaims: { 'https://a.b/c': x, https://a: { b: z } }\nm:\n  k: *n\n";
        let root = read(text).unwrap().remove(0);
        for (path, shown, is_whole) in [
            ("l[1].n", "2", true),
            ("l[1].other", "n", false),
            ("l[7].n", "l", false),
            ("claims.https://a.b/c", "x", true),
            ("claims.https://a.b", "z", true),
            ("m", "m", true),
            ("m.k", "2", true),
            ("m.k.deeper", "2", false),
            ("", "l", true),
        ] {
            let target = follow(&root, path);
            let place = target.place();
            assert_eq!(
                (&text[place.start..place.end], target.is_whole),
                (shown, is_whole),
                "{path}"
            );
        }
        assert_eq!(
            follow(&root, "m.k")
                .used()
                .map(|at| &text[at.start..at.end]),
            Some("*n")
        );
    }
}
