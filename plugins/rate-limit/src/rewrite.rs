//! Changes of a request's body, where it says what it says in one way alone.

use std::collections::BTreeMap;

use portcullis_policy::{Headers, Splice};
use portcullis_usage::{Document, Value};
use serde_json::json;

use crate::body::{Place, Places, at};

/// A name in bodies that may be set.
#[derive(Debug)]
pub(crate) struct Target {
    names: Vec<String>,
    /// Where the objects stand that it lies in, from outside on, and it itself.
    places: Vec<Place>,
}

/// Where something is to be set.
enum Spot<'t> {
    /// In place of these bytes: the names of the objects that it lies in there.
    Value(u64, u64, &'t [String]),
    /// In the object that begins there, which may be empty.
    Member(u64, bool, &'t [String]),
}

/// Changes of one body.
#[derive(Debug)]
pub(crate) struct Rewrite<'d> {
    document: &'d Document,
    /// Where values go, up to which byte, and what comes there.
    values: BTreeMap<u64, (u64, serde_json::Value)>,
    /// What comes first in the objects that begin there, and whether they were empty.
    members: BTreeMap<u64, (bool, serde_json::Value)>,
}

impl Target {
    /// The name at that path.
    pub(crate) fn new(path: &str, places: &mut Places) -> Self {
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        let ends = 1..=names.len();
        let paths = ends.filter_map(|end| names.get(..end).map(|names| names.join(".")));
        Self {
            places: paths.map(|path| places.at(&path)).collect(),
            names,
        }
    }

    /// What stands there.
    pub(crate) fn value(&self, document: &Document) -> Value {
        let place = self.places.last();
        place.map_or_else(Value::default, |place| at(document, *place))
    }

    /// Whether it can be set so that no parser reads anything else.
    pub(crate) fn is_settable(&self, document: &Document) -> bool {
        self.spot(document).is_some()
    }

    fn spot(&self, document: &Document) -> Option<Spot<'_>> {
        let object = document.object?;
        // What is left of the path where the body has no more of it.
        let mut spot = Spot::Member(object.0, object.1 == 0, &self.names);
        for (depth, place) in self.places.iter().enumerate() {
            let value = at(document, *place);
            if value.times == 0 {
                return Some(spot);
            }
            let rest = self.names.get(depth.saturating_add(1)..)?;
            let is_object = value.members.is_some();
            spot = match value.is_plain() {
                true if rest.is_empty() || value.null => {
                    return Some(Spot::Value(value.start, value.end, rest));
                }
                true if is_object => Spot::Member(value.start, value.members == Some(0), rest),
                true | false => return None,
            };
        }
        None
    }
}

impl<'d> Rewrite<'d> {
    pub(crate) const fn of(document: &'d Document) -> Self {
        Self {
            document,
            values: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// What the body says.
    pub(crate) const fn document(&self) -> &'d Document {
        self.document
    }

    /// Has a request ask for no more than that, wherever it says so; where it does not, it does so now.
    pub(crate) fn lower(&mut self, targets: &[Target], most: u32) {
        let most_said = json!(most);
        let mut is_said = false;
        for target in targets {
            let value = target.value(self.document);
            if value.times == 0 {
                continue;
            }
            let is_low = |said| said > 0.0 && said <= f64::from(most);
            let is_low = value.number.is_some_and(is_low);
            is_said |= is_low || self.set(target, &most_said);
        }
        if let (false, Some(first)) = (is_said, targets.first()) {
            self.set(first, &most_said);
        }
    }

    /// Sets a name to this value. Whether that can be done.
    pub(crate) fn set(&mut self, target: &Target, value: &serde_json::Value) -> bool {
        let (there, names) = match target.spot(self.document) {
            None => return false,
            Some(Spot::Value(start, end, names)) => {
                let (_, there) = self.values.entry(start).or_insert((end, json!(null)));
                (there, names)
            }
            Some(Spot::Member(start, is_empty, names)) => {
                let (_, there) = self.members.entry(start).or_insert((is_empty, json!({})));
                (there, names)
            }
        };
        put(there, names, value)
    }

    /// The changes, in order.
    pub(crate) fn splices(self) -> Vec<Splice> {
        let values = self.values.into_iter();
        let values = values.map(|(start, (end, value))| Splice {
            start,
            end,
            with: value.to_string().into_bytes(),
        });
        let members = self.members.into_iter();
        let members = members.map(|(object, (is_empty, members))| {
            let members = members.to_string();
            let members = members.strip_prefix('{').unwrap_or(&members);
            let members = members.strip_suffix('}').unwrap_or(members);
            let comma = if is_empty { "" } else { "," };
            let behind = object.saturating_add(1);
            Splice {
                start: behind,
                end: behind,
                with: format!("{members}{comma}").into_bytes(),
            }
        });
        let mut splices: Vec<Splice> = values.chain(members).collect();
        splices.sort_by_key(|splice| splice.start);
        splices
    }
}

/// Puts a value into an object, within objects of these names but for the last. Whether that can be done: there may be something else.
fn put(there: &mut serde_json::Value, names: &[String], value: &serde_json::Value) -> bool {
    let Some((name, within)) = names.split_first() else {
        *there = value.clone();
        return true;
    };
    if there.is_null() {
        *there = json!({});
    }
    let Some(members) = there.as_object_mut() else {
        return false;
    };
    put(
        members.entry(name.clone()).or_insert(json!(null)),
        within,
        value,
    )
}

/// How long a body of so many bytes is with these changes.
pub(crate) fn length(bytes: u64, splices: &[Splice]) -> u64 {
    splices.iter().fold(bytes, |length, splice| {
        let with = u64::try_from(splice.with.len()).unwrap_or(u64::MAX);
        let gone = splice.end.saturating_sub(splice.start);
        length.saturating_add(with).saturating_sub(gone)
    })
}

/// What says what a body is to the byte (RFC 9530; RFC 3230; RFC 1864).
pub(crate) const OF_BYTES: [&str; 4] = ["content-digest", "repr-digest", "digest", "content-md5"];

/// Whether nobody has said what the body is to the byte.
pub(crate) fn may_change(headers: &Headers) -> bool {
    OF_BYTES.iter().all(|name| headers.get(name).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Said;

    /// The body once these paths were set, all of them to the same value; `None` where one can't be.
    fn set(paths: &[&str], body: &str) -> Option<String> {
        let mut places = Places::new(4);
        let targets: Vec<Target> = paths
            .iter()
            .map(|path| Target::new(path, &mut places))
            .collect();
        places.complete().unwrap();
        let mut reading = places.begin(true).unwrap();
        places.feed(&mut reading, body.as_bytes());
        let Said::This { document, .. } = places.end(reading, true) else {
            panic!("{body}")
        };
        let mut rewrite = Rewrite::of(&document);
        for target in &targets {
            if !rewrite.set(target, &json!(7)) {
                return None;
            }
        }
        let splices = rewrite.splices();
        let (mut changed, done) = Splice::apply(&splices, body.as_bytes()).unwrap();
        changed.extend_from_slice(&body.as_bytes()[done..]);
        assert_eq!(length(document.bytes, &splices), changed.len() as u64);
        Some(String::from_utf8(changed).unwrap())
    }

    #[test]
    fn what_is_there_is_replaced_and_what_is_not_is_added_and_not_a_byte_changes_beside_it() {
        for (paths, body, expected) in [
            (&["a"][..], r#"{"a":100, "b":1}"#, r#"{"a":7, "b":1}"#),
            (&["a"], r#" { "b" : 1 } "#, r#" {"a":7, "b" : 1 } "#),
            (&["a"], "{}", r#"{"a":7}"#),
            (&["a"], r#"{"a":null}"#, r#"{"a":7}"#),
            (&["o.k"], r#"{"o":{"k":1,"j":2}}"#, r#"{"o":{"k":7,"j":2}}"#),
            (&["o.k"], r#"{"o":{"j":2}}"#, r#"{"o":{"k":7,"j":2}}"#),
            (&["o.k"], r#"{"o":{ }}"#, r#"{"o":{"k":7 }}"#),
            (&["o.k"], r#"{"o":null}"#, r#"{"o":{"k":7}}"#),
            (&["o.k"], r#"{"j":2}"#, r#"{"o":{"k":7},"j":2}"#),
            (
                &["o.p.k"],
                r#"{"o":{"j":2}}"#,
                r#"{"o":{"p":{"k":7},"j":2}}"#,
            ),
            (&["a", "b"], "{}", r#"{"a":7,"b":7}"#),
            (&["o.k", "o.j"], "{}", r#"{"o":{"j":7,"k":7}}"#),
            (&["o.k", "o.j"], r#"{"o":null}"#, r#"{"o":{"j":7,"k":7}}"#),
            (&["a", "a"], r#"{"a":1}"#, r#"{"a":7}"#),
            (
                &["a", "b"],
                r#"{"c":{"a":1},"b":200,"d":0}"#,
                r#"{"a":7,"c":{"a":1},"b":7,"d":0}"#,
            ),
            (
                &["b", "a"],
                r#"{"a":100,"x":"ä","b":200}"#,
                r#"{"a":7,"x":"ä","b":7}"#,
            ),
        ] {
            assert_eq!(
                set(paths, body).as_deref(),
                Some(expected),
                "{paths:?} {body}"
            );
        }
    }

    #[test]
    fn a_body_that_parsers_could_read_differently_is_left_as_it_is() {
        for (path, body) in [
            ("a", r#"{"a":1,"a":2}"#),
            ("a", r#"{"a":1,"A":2}"#),
            ("a", r#"{"A":2}"#),
            ("a", r#"[{"a":1}]"#),
            ("a", "7"),
            ("o.k", r#"{"o":{"k":1},"o":{}}"#),
            ("o.k", r#"{"O":{"k":1}}"#),
            ("o.k", r#"{"o":[{"k":1}]}"#),
            ("o.k", r#"{"o":"text"}"#),
            ("o.k", r#"{"o":{"K":1}}"#),
        ] {
            assert_eq!(set(&[path], body), None, "{path} {body}");
        }
    }
}
