//! Reads the fields of a file by hand, so that all that is wrong is told, and where.

use std::fmt::Display;

use crate::document::{Content, Node, Place};

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
}

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// Where.
    pub place: Place,
    /// The value.
    pub value: T,
}

/// The fields of an object, and which of them are known.
pub(super) struct Fields<'n, 'w> {
    node: &'n Node,
    known: Vec<&'static str>,
    wrong: &'w mut Vec<Wrong>,
}

impl<'n, 'w> Fields<'n, 'w> {
    pub(super) fn of(node: &'n Node, wrong: &'w mut Vec<Wrong>) -> Self {
        if !matches!(node.content, Content::Map(_)) {
            wrong.push(Wrong {
                place: node.place(),
                message: "expected fields".to_owned(),
            });
        }
        Self {
            node,
            known: Vec::new(),
            wrong,
        }
    }

    /// A field's value, unless it is null.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let node = self.node.get(name)?;
        (!matches!(node.content, Content::Null)).then_some(node)
    }

    /// Where the object stands.
    pub(super) fn place(&self) -> Place {
        let fields = self.node.fields();
        fields
            .first()
            .map_or(self.node.place(), |field| field.place)
    }

    /// A field that must be there.
    pub(super) fn needed(&mut self, name: &'static str) -> Option<&'n Node> {
        let found = self.get(name);
        if found.is_none() {
            let place = self.place();
            self.refuse(place, format!("missing field `{name}`"));
        }
        found
    }

    /// What `parse` makes of a field's text.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let node = self.get(name)?;
        let place = node.place();
        let parsed = match scalar(node) {
            Some(text) => parse(&text).map_err(|error| error.to_string()),
            None => Err("expected text or a number".to_owned()),
        };
        match parsed {
            Ok(value) => Some(At { place, value }),
            Err(error) => {
                self.refuse(place, format!("{name}: {error}"));
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<At<String>> {
        self.parsed(name, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A field's own fields, each as text; `None` of those that are null.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<At<(String, Option<String>)>> {
        let Some(node) = self.get(name) else {
            return Vec::new();
        };
        if !matches!(node.content, Content::Map(_)) {
            self.refuse(node.place(), format!("{name}: expected fields"));
        }
        let mut texts = Vec::new();
        for field in node.fields() {
            let text = scalar(&field.value);
            if text.is_none() && !matches!(field.value.content, Content::Null) {
                let message = format!("{name}.{}: expected text or a number", field.name);
                self.refuse(field.value.place(), message);
            }
            texts.push(At {
                place: field.place,
                value: (field.name.clone(), text),
            });
        }
        texts
    }

    pub(super) fn refuse(&mut self, place: Place, message: String) {
        self.wrong.push(Wrong { place, message });
    }

    /// What was wrong so far is told here, too.
    pub(super) fn wrong(&mut self) -> &mut Vec<Wrong> {
        self.wrong
    }

    /// A field that nobody has asked for is a mistake.
    pub(super) fn finish(self) {
        for field in self.node.fields() {
            if !self.known.contains(&field.name.as_str()) {
                let known = self.known.join(", ");
                self.wrong.push(Wrong {
                    place: field.place,
                    message: format!("unknown field `{}`; expected one of {known}", field.name),
                });
            }
        }
    }
}

/// A value that is one word or number, as text.
pub(super) fn scalar(node: &Node) -> Option<String> {
    match &node.content {
        Content::Text(text) => Some(text.clone()),
        Content::Number(number) => Some(number.to_string()),
        Content::Bool(flag) => Some(flag.to_string()),
        Content::Null | Content::List(_) | Content::Map(_) => None,
    }
}
