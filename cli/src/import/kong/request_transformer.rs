//! `request-transformer`: a credential that it writes becomes `service_token`.

use crate::import::value::{get, set};
use serde_json::json;

use super::layout::Layout;
use super::rate_limiting::begin;
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};
use crate::import::secret;

/// Takes all of them over.
pub(super) fn take(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    for name in ["request-transformer", "request-transformer-advanced"] {
        for plugin in layout.plugins(name) {
            let Some((config, scope)) = begin(layout, &plugin, notes) else {
                continue;
            };
            for way in ["add", "replace", "append"] {
                let Some(headers) = config.at(&[way, "headers"]) else {
                    continue;
                };
                for header in headers.items() {
                    if one(&header, way, draft, notes) {
                        let matches = scope.matches.iter().filter(|matches| {
                            matches.as_object().is_some_and(|parts| !parts.is_empty())
                        });
                        let entries: Vec<_> =
                            matches.map(|matches| json!({ "match": matches })).collect();
                        draft.inject = (entries.len() == scope.matches.len()
                            && !entries.is_empty())
                        .then(|| entries.into());
                        if !scope.others.is_empty() {
                            let others = scope.others.join(", ");
                            notes.absent(&plugin, "route", Outcome::Differs, format!("`match` holds for the routes below it, too: the backends of {others} get the credential as well. Put `edge` into the filter chain of this service alone"));
                        }
                        draft.replaced.push(header.pointer.clone());
                    }
                }
            }
            for field in config.children() {
                leave(&field, notes);
            }
        }
    }
}

/// Whether the header is a credential that was taken over.
fn one(header: &At, way: &str, draft: &mut Draft, notes: &mut Notes) -> bool {
    let text = header.node.text().unwrap_or_default();
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    if !secret::is_credential(name)
        && !value.trim().starts_with("${")
        && !value.trim().starts_with("{vault")
    {
        notes.left(header, "a header that is no credential stays with Kong; on Envoy `request_headers_to_add` of a route does it");
        return false;
    }
    let value = value.trim();
    if draft.credential.is_some() {
        notes.left(
            header,
            "`service_token` writes one credential, and it has one; it is not shown here",
        );
        return false;
    }
    if value.contains("$(") || value.contains(' ') && !value.starts_with("${{") {
        notes.left(header, "a credential with white space or a template in it; `service_token` sends the secret alone. It is not shown here");
        return false;
    }
    let is_literal = value.starts_with("${") && !value.starts_with("${{");
    let secret = secret::text_to_variable(notes, header, value, name);
    let variable = get(&secret, "env").as_str().unwrap_or_default().to_owned();
    let is_short = secret::length(value).is_some_and(|length| length < 32);
    let mut credential = json!({ "kind": "static", "header": name.trim().to_ascii_lowercase(), "secrets": [{ "id": "imported", "env": variable }] });
    let mut message = format!("service_token: env: {variable}");
    if is_literal {
        message.push_str("; Kong expands no variables here: backends get the text in braces itself today, and will get the secret");
    }
    if is_short {
        set(&mut credential, "allow_short", json!(true));
        message.push_str(", with `allow_short`: it is shorter than 32 bytes");
    }
    message.push_str(match way {
        "add" => "; Kong adds it only where the client sent no such header, here whatever a client sends under that name is discarded",
        "replace" => "; Kong writes it only where the client sent such a header, here every request has it",
        _ => "; Kong sends it beside what the client sent, here whatever a client sends under that name is discarded",
    });
    notes.differs(header, message);
    draft.credential = Some(credential);
    true
}

fn leave(field: &At, notes: &mut Notes) {
    for part in field.children() {
        if part.path.ends_with(".headers")
            && ["add", "replace", "append"]
                .iter()
                .any(|way| field.path.ends_with(way))
        {
            continue;
        }
        notes.left(
            &part,
            "it stays with Kong: nothing here changes requests in this way",
        );
    }
    if field.children().is_empty() {
        notes.left(
            field,
            "it stays with Kong: nothing here changes requests in this way",
        );
    }
}
