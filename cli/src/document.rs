//! YAML, and JSON with it, of which is known where each value stands.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Where it is meant: of an alias, the alias.
    pub used: Place,
    /// Where it is written: of an alias, what it stands for.
    pub written: Place,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Fields, in their order.
    Map(Vec<Field>),
}

/// A field.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

/// A place in a file: bytes of its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The first.
    pub start: usize,
    /// The first behind it.
    pub end: usize,
}

/// Why a text is no YAML.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Where it stops being any.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
}

/// All documents of a text.
///
/// # Errors
/// It is no YAML.
pub fn read(text: &str) -> Result<Vec<Node>, Unreadable> {
    let documents: Result<Vec<Spanned<Content>>, _> = serde_saphyr::from_multiple(text);
    match documents {
        Ok(documents) => Ok(documents.into_iter().map(Node::from).collect()),
        Err(error) => Err(Unreadable {
            place: error
                .location()
                .map_or_else(Place::default, |at| place_in(text, at)),
            reason: reason(&error),
        }),
    }
}

/// The documents that stand in a block of text (`|`) of `source`, with their places there. `None` where the text is written in
/// another way: of its places nothing is known then.
///
/// # Errors
/// It is no YAML.
pub fn read_block(source: &str, block: &Node) -> Option<Result<Vec<Node>, Unreadable>> {
    read(&block_of(source, block)?).into()
}

/// What a block of text holds, with as much white space before it as there is text before it in `source`.
pub fn block_of(source: &str, block: &Node) -> Option<String> {
    let Content::Text(text) = &block.content else {
        return None;
    };
    // The line with the mark is the last one before it that holds anything.
    let before = source.get(..block.written.start)?.trim_end();
    let line = before.lines().next_back()?;
    let line = line.split(" #").next()?;
    if !line.split_whitespace().next_back()?.starts_with('|') {
        return None;
    }
    let mark_ends = source.get(before.len()..)?.find('\n')?;
    let starts = before.len().checked_add(mark_ends)?.checked_add(1)?;
    let (before, lines) = source.split_at_checked(starts)?;
    let lines = lines.split_inclusive('\n').take(text.lines().count());
    let blank = |c: char| std::iter::repeat_n(if c == '\n' { '\n' } else { ' ' }, c.len_utf8());
    let mut padded: String = before.chars().flat_map(blank).collect();
    padded.extend(lines);
    Some(padded)
}

impl Node {
    /// A field's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.field(name).map(|field| &field.value)
    }

    /// What is found by one name after another.
    #[must_use]
    pub fn at(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// A field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.name == name)
    }

    /// Its fields, if it has any.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match &self.content {
            Content::Map(fields) => fields,
            _ => &[],
        }
    }

    /// Its items, if it is a list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// Its text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is true.
    #[must_use]
    pub const fn is_true(&self) -> bool {
        matches!(self.content, Content::Bool(true))
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(flag) => Value::Bool(*flag),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(fields) => {
                let pair = |field: &Field| (field.name.clone(), field.value.to_json());
                Value::Object(fields.iter().map(pair).collect::<Map<_, _>>())
            }
        }
    }

    /// The same, all of it at one place.
    #[must_use]
    pub fn all_at(mut self, place: Place) -> Self {
        self.used = place;
        self.written = place;
        self.content = match self.content {
            Content::List(items) => {
                Content::List(items.into_iter().map(|item| item.all_at(place)).collect())
            }
            Content::Map(fields) => {
                let moved = |field: Field| Field {
                    place,
                    value: field.value.all_at(place),
                    ..field
                };
                Content::Map(fields.into_iter().map(moved).collect())
            }
            scalar => scalar,
        };
        self
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Self {
            content: spanned.value,
            used: place(spanned.referenced),
            written: place(spanned.defined),
        }
    }
}

fn place(location: Location) -> Place {
    let span = location.span();
    let start = span.byte_offset().unwrap_or_default();
    let start = usize::try_from(start).unwrap_or_default();
    let length = usize::try_from(span.byte_len().unwrap_or_default()).unwrap_or_default();
    Place {
        start,
        end: start.saturating_add(length),
    }
}

/// The reader of errors may know lines and columns alone.
fn place_in(text: &str, location: Location) -> Place {
    if location.span().byte_offset().is_some() {
        return place(location);
    }
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or_default();
    let mut start = 0_usize;
    for (at, line) in text.split_inclusive('\n').enumerate() {
        if at == index(location.line()) {
            let before = line.chars().take(index(location.column()));
            start = before.fold(start, |start, c| start.saturating_add(c.len_utf8()));
            break;
        }
        start = start.saturating_add(line.len());
    }
    Place { start, end: start }
}

/// Without the place, which is told apart.
fn reason(error: &serde_saphyr::Error) -> String {
    let said = error.without_snippet().to_string();
    let line = said.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Null)
            }
            fn visit_none<E: de::Error>(self) -> Result<Content, E> {
                Ok(Content::Null)
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Content, E> {
                Ok(Content::Bool(flag))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Content, E> {
                Ok(Content::Number(number.into()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Content, E> {
                Ok(Content::Number(number.into()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Content, E> {
                // What JSON has no number for.
                let text = || Content::Text(number.to_string());
                Ok(Number::from_f64(number).map_or_else(text, Content::Number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element::<Spanned<Content>>()? {
                    items.push(item.into());
                }
                Ok(Content::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    fields.push(Field {
                        place: place(name.defined),
                        name: name.value,
                        value: map.next_value::<Spanned<Content>>()?.into(),
                    });
                }
                Ok(Content::Map(fields))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, place: Place) -> &str {
        &text[place.start..place.end]
    }

    #[test]
    fn a_value_is_found_where_it_is_written() {
        let text =
            "# é\na: &x [1, two]\nb: *x\nc: { 'd e': !!str 5, f: null }\n8080: 1.5\n---\n- x\n";
        let documents = read(text).unwrap();
        let [first, second] = &documents[..] else {
            panic!("{documents:?}");
        };
        assert_eq!(second.to_json(), serde_json::json!(["x"]));
        let json = serde_json::json!({"a": [1, "two"], "b": [1, "two"], "c": {"d e": "5", "f": null}, "8080": 1.5});
        assert_eq!(first.to_json(), json);
        let two = &first.get("b").unwrap().items()[1];
        assert_eq!(shown(text, two.written), "two");
        assert_eq!(shown(text, first.get("b").unwrap().used), "*x");
        assert_eq!(shown(text, first.field("b").unwrap().place), "b");
        assert_eq!(
            shown(text, first.get("c").unwrap().field("d e").unwrap().place),
            "'d e'"
        );
    }

    #[test]
    fn a_block_of_text_is_read_where_it_stands() {
        for mark in ["|", "|-", "|2", "&x | # why"] {
            let text = format!(
                "é: 1\ndata:\n  envoy.yaml: {mark}\n    a: 1\n\n    b:\n      - {{ c: deep }}\n  other: 1\n"
            );
            let outer = read(&text).unwrap().remove(0);
            let block = outer.at(&["data", "envoy.yaml"]).unwrap();
            let inner = read_block(&text, block).unwrap().unwrap().remove(0);
            assert_eq!(
                inner.to_json(),
                serde_json::json!({"a": 1, "b": [{"c": "deep"}]})
            );
            let deep = inner.get("b").unwrap().items()[0].get("c").unwrap();
            assert_eq!(shown(&text, deep.written), "deep", "{mark}");
        }
        for other in ["'{\"a\": 1}'", ">\n  a: 1\n  b"] {
            let text = format!("a: {other}\n");
            let outer = read(&text).unwrap().remove(0);
            assert!(block_of(&text, outer.get("a").unwrap()).is_none());
        }
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        let error = read("a: 1\nb: [1\nc: 2\n").unwrap_err();
        assert!(error.place.start >= 5, "{error:?}");
        let error = read("a: 1\na: 2\n").unwrap_err();
        assert_eq!(
            (error.place.start, error.reason.contains("duplicate")),
            (5, true),
            "{error:?}"
        );
    }
}
