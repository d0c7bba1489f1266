//! What a route or a rule matches.

use crate::import::value::set;
use serde_json::{Value, json};

use crate::import::notes::{At, Notes};

/// The same as a `match` here: `{}` is everything. `None` where there is no word for it; then a note says so.
pub(super) fn matched(at: &At, notes: &mut Notes) -> Option<Value> {
    let mut parts = json!({});
    let mut is_known = true;
    for field in at.children() {
        match field.path.rsplit('.').next().unwrap_or_default() {
            name @ ("prefix" | "path_separated_prefix") => {
                let path = field.node.text().unwrap_or_default().trim_end_matches('/');
                if !path.is_empty() {
                    set(&mut parts, "paths", json!([{ "prefix": path }]));
                }
                match name == "prefix" && !path.is_empty() {
                    true => notes.differs(&field, "match.paths: whole segments, where Envoy's prefix is text (`/api` is that of `/apis`, too)"),
                    false => notes.taken(&field, "match.paths"),
                }
            }
            "path" => {
                set(
                    &mut parts,
                    "paths",
                    json!([{ "exact": field.node.text().unwrap_or_default() }]),
                );
                notes.differs(
                    &field,
                    "match.paths; a slash at the end is the same path here (`trailing_slash`)",
                );
            }
            "headers" => {
                for header in field.items() {
                    let exact = header.at(&["string_match", "exact"]);
                    match (header.text("name"), exact.and_then(|at| at.node.text())) {
                        (Some(":method"), Some(method)) => {
                            set(&mut parts, "methods", json!([method]));
                            notes.taken(&header, "match.methods");
                        }
                        (Some(":authority" | "host"), Some(host)) => {
                            set(&mut parts, "hosts", json!([host]));
                            notes.taken(&header, "match.hosts");
                        }
                        _ => {
                            is_known = false;
                            notes.left(
                                &header,
                                "`match` knows hosts, paths and methods, and no other headers",
                            );
                        }
                    }
                }
            }
            "case_sensitive" => {
                if field.node.is_true() {
                    notes.taken(&field, "match.case: sensitive, the default");
                } else {
                    set(&mut parts, "case", json!("ignore"));
                    notes.taken(&field, "match.case: ignore");
                }
            }
            _ => {
                is_known = false;
                notes.left(&field, "`match` has no word for this");
            }
        }
    }
    is_known.then_some(parts)
}

/// Whether it matches every request.
#[must_use]
pub(super) fn is_all(matched: &Value) -> bool {
    matched.as_object().is_none_or(serde_json::Map::is_empty)
}
