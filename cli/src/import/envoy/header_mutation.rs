//! `header_mutation`: a credential that it writes into requests becomes `service_token`.

use crate::import::value::{get, set};
use serde_json::json;

use super::layout::cover_frame;
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes};
use crate::import::secret;

/// Takes one of them over; all but the credential stays with Envoy.
pub(super) fn take(filter: &At, draft: &mut Draft, notes: &mut Notes) {
    cover_frame(filter, notes);
    let Some(mutations) = filter.at(&["typed_config", "mutations"]) else {
        return;
    };
    for mutation in mutations.list("request_mutations") {
        if !credential(&mutation, draft, notes) {
            continue;
        }
        draft.replaced.push(mutation.pointer.clone());
    }
    for field in mutations.children() {
        if !field.path.ends_with("request_mutations") {
            notes.left(
                &field,
                "it stays with Envoy: nothing here changes headers in this way",
            );
        }
    }
}

fn credential(mutation: &At, draft: &mut Draft, notes: &mut Notes) -> bool {
    let header = mutation.at(&["append", "header"]);
    let name = header
        .as_ref()
        .and_then(|header| header.text("key"))
        .unwrap_or_default();
    if !secret::is_credential(name) {
        notes.left(
            mutation,
            "it stays with Envoy: a header that is no credential",
        );
        return false;
    }
    let Some(value) = header.and_then(|header| header.get("value")) else {
        notes.left(mutation, "it stays with Envoy: a header without a value");
        return false;
    };
    let text = value.node.text().unwrap_or_default().to_owned();
    let environment = text
        .strip_prefix("%ENVIRONMENT(")
        .and_then(|rest| rest.strip_suffix(")%"));
    if draft.credential.is_some()
        || text.contains(' ')
        || (text.contains('%') && environment.is_none())
    {
        notes.left(mutation, "it stays with Envoy: `service_token` writes one credential, without white space or commands in it. It is not shown here");
        return false;
    }
    let mut credential = json!({ "kind": "static", "header": name.to_ascii_lowercase() });
    let written = environment.map_or_else(|| text.clone(), |name| format!("${{{{ \"{name}\" }}}}"));
    let ours = secret::text_to_variable(notes, &value, &written, name);
    if secret::length(&written).is_some_and(|length| length < 32) {
        set(&mut credential, "allow_short", json!(true));
    }
    let variable = get(&ours, "env").as_str().unwrap_or_default().to_owned();
    set(
        &mut credential,
        "secrets",
        json!([{ "id": "imported", "env": variable }]),
    );
    notes.taken(&value, format!("service_token: env: {variable}"));
    if let Some(key) = mutation.at(&["append", "header", "key"]) {
        notes.taken(&key, "service_token.credential.header");
    }
    let action = mutation.at(&["append", "append_action"]);
    const ALWAYS: &str =
        "whatever a client sends under that name is discarded; Envoy adds to it, or keeps it";
    match action {
        Some(action) if action.node.text() == Some("OVERWRITE_IF_EXISTS_OR_ADD") => {
            notes.taken(&action, "always so")
        }
        Some(action) => notes.differs(&action, ALWAYS),
        None => notes.absent(
            mutation,
            "append_action",
            crate::import::notes::Outcome::Differs,
            ALWAYS,
        ),
    }
    draft.credential = Some(credential);
    true
}
