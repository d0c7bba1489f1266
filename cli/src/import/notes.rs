//! What became of each field of a file.

use std::collections::BTreeSet;

use crate::document::{Content, Node, Place};

/// A value of a file, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    /// The value.
    pub node: &'a Node,
    /// What to show of it: the field's name, or the item.
    pub place: Place,
    /// How people write the way to it: `services[0].plugins[1].config`.
    pub path: String,
    /// The same as a JSON pointer.
    pub pointer: String,
}

impl<'a> At<'a> {
    /// A document.
    #[must_use]
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            node,
            place: node.place(),
            path: String::new(),
            pointer: String::new(),
        }
    }

    /// A field.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let field = self.node.field(name)?;
        let dot = if self.path.is_empty() { "" } else { "." };
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Some(Self {
            node: &field.value,
            place: field.place,
            path: format!("{}{dot}{name}", self.path),
            pointer: format!("{}/{escaped}", self.pointer),
        })
    }

    /// What one name after another leads to.
    #[must_use]
    pub(super) fn at(&self, names: &[&str]) -> Option<Self> {
        let step = |at: Self, name: &&str| at.get(name);
        names.iter().try_fold(self.clone(), step)
    }

    /// The items of a list; none where it is no list.
    #[must_use]
    pub(super) fn items(&self) -> Vec<Self> {
        let items = self.node.items().iter().enumerate();
        let item = |(index, node): (usize, &'a Node)| Self {
            node,
            place: node.place(),
            path: format!("{}[{index}]", self.path),
            pointer: format!("{}/{index}", self.pointer),
        };
        items.map(item).collect()
    }

    /// The items of a field that is a list.
    #[must_use]
    pub(super) fn list(&self, name: &str) -> Vec<Self> {
        self.get(name).map(|list| list.items()).unwrap_or_default()
    }

    /// All that is in it.
    #[must_use]
    pub(super) fn children(&self) -> Vec<Self> {
        let fields = self.node.fields().iter();
        let fields = fields.filter_map(|field| self.get(&field.name));
        fields.chain(self.items()).collect()
    }

    /// The text of a field.
    #[must_use]
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.node.get(name)?.text()
    }

    /// The whole number of a field, also one that is written as text.
    #[must_use]
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match &self.node.get(name)?.content {
            Content::Number(number) => number.as_u64(),
            Content::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The flag of a field.
    #[must_use]
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.node.get(name)?.content {
            Content::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// The texts of a field that is a list of them.
    #[must_use]
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let items = self.node.get(name)?.items().iter();
        Some(items.filter_map(Node::text).map(str::to_owned).collect())
    }
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The result says the same.
    Taken,
    /// The result says nearly the same.
    Differs,
    /// The result says nothing of it.
    Left,
}

impl Outcome {
    /// As the report says it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Taken => "taken over",
            Self::Differs => "taken over with a difference",
            Self::Left => "not taken over",
        }
    }
}

/// A line of the report.
#[derive(Clone, Debug)]
pub struct Note {
    /// Where the field stands; for a default, where its plugin stands.
    pub place: Place,
    /// The way to it.
    pub path: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What it is now, what differs, or why it was left.
    pub message: String,
}

/// A variable that the result names.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value stands.
    pub place: Place,
    /// What to set it to, without showing it.
    pub set_to: String,
}

/// All lines of a report.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// The lines.
    pub list: Vec<Note>,
    /// The variables that are to be set.
    pub variables: Vec<Variable>,
    covered: BTreeSet<usize>,
}

impl Notes {
    fn add(&mut self, at: &At, outcome: Outcome, message: impl Into<String>) {
        self.cover(at);
        self.list.push(Note {
            place: at.place,
            path: at.path.clone(),
            outcome,
            message: message.into(),
        });
    }

    /// The result says the same.
    pub(super) fn taken(&mut self, at: &At, message: impl Into<String>) {
        self.add(at, Outcome::Taken, message);
    }

    /// The result says nearly the same.
    pub(super) fn differs(&mut self, at: &At, message: impl Into<String>) {
        self.add(at, Outcome::Differs, message);
    }

    /// The result says nothing of it, or of anything in it.
    pub(super) fn left(&mut self, at: &At, message: impl Into<String>) {
        self.add(at, Outcome::Left, message);
    }

    /// Something is said of a field of `at` that has its default there.
    pub(super) fn absent(
        &mut self,
        at: &At,
        name: &str,
        outcome: Outcome,
        message: impl Into<String>,
    ) {
        self.list.push(Note {
            place: at.place,
            path: format!("{}.{name} (its default)", at.path),
            outcome,
            message: message.into(),
        });
    }

    /// Takes a field over if it is there.
    pub(super) fn taken_if(&mut self, at: &At, name: &str, message: &str) {
        if let Some(field) = at.get(name) {
            self.taken(&field, message);
        }
    }

    /// Leaves fields that are there, for one reason.
    pub(super) fn left_if(&mut self, at: &At, names: &[&str], message: &str) {
        for field in names.iter().filter_map(|name| at.get(name)) {
            self.left(&field, message);
        }
    }

    /// Nothing in it is unknown.
    pub(super) fn cover(&mut self, at: &At) {
        let children = at.children();
        if children.is_empty() {
            let _was_new = self.covered.insert(at.place.start);
        }
        children.iter().for_each(|child| self.cover(child));
    }

    /// Says of all that nobody spoke of that it is left.
    pub(super) fn leave_the_rest(&mut self, at: &At) {
        if !self.has_covered(at) {
            self.left(at, "this field is not known here");
            return;
        }
        for child in at.children() {
            self.leave_the_rest(&child);
        }
    }

    fn has_covered(&self, at: &At) -> bool {
        let children = at.children();
        match children.is_empty() {
            true => self.covered.contains(&at.place.start),
            false => children.iter().any(|child| self.has_covered(child)),
        }
    }
}
