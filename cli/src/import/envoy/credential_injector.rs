//! `credential_injector`: its credential becomes `service_token`.

use crate::import::value::get;
use serde_json::json;

use super::layout::cover_frame;
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};
use crate::import::secret;

/// Takes one of them over.
pub(super) fn take(filter: &At, draft: &mut Draft, notes: &mut Notes) {
    cover_frame(filter, notes);
    let Some(config) = filter.get("typed_config") else {
        return;
    };
    let generic = config.at(&["credential", "typed_config"]);
    let named = generic
        .as_ref()
        .and_then(|generic| generic.at(&["credential", "name"]));
    let is_generic = generic
        .as_ref()
        .and_then(|generic| generic.text("@type"))
        .is_some_and(|name| name.ends_with("Generic"));
    let (Some(generic), Some(named), true) = (generic, named, is_generic) else {
        notes.left(&config, "of its credentials `generic` is taken over");
        return;
    };
    if draft.credential.is_some() {
        notes.left(
            &config,
            "`service_token` writes one credential, and it has one",
        );
        return;
    }
    let header = generic
        .text("header")
        .unwrap_or("authorization")
        .to_ascii_lowercase();
    match generic.get("header") {
        Some(field) => notes.taken(&field, "service_token.credential.header"),
        None => notes.absent(
            &generic,
            "header",
            Outcome::Taken,
            "authorization: service_token.credential.header",
        ),
    }
    if let Some(prefix) = generic
        .get("header_value_prefix")
        .filter(|prefix| prefix.node.text().is_some_and(|text| !text.is_empty()))
    {
        notes.left(
            &prefix,
            "`service_token` sends the secret alone: backends get it without this prefix",
        );
    }
    let name = named.node.text().unwrap_or_default();
    let ours = secret::text_to_variable(notes, &named, "", name);
    let variable = get(&ours, "env").as_str().unwrap_or_default().to_owned();
    notes.taken(&named, format!("service_token: env: {variable}: set it to what this secret holds; a new value comes with a new process"));
    for frame in [
        generic.get("@type"),
        config.at(&["credential", "name"]),
        generic.at(&["credential", "sds_config"]),
    ]
    .into_iter()
    .flatten()
    {
        notes.cover(&frame);
    }
    const ALWAYS: &str = "whatever a client sends under that name is discarded; Envoy keeps it unless `overwrite` is set";
    match config.get("overwrite") {
        Some(field) if field.node.is_true() => notes.taken(&field, "always so"),
        Some(field) => notes.differs(&field, ALWAYS),
        None => notes.absent(&config, "overwrite", Outcome::Differs, ALWAYS),
    }
    let open = config
        .flag("allow_request_without_credential")
        .unwrap_or(false);
    match config.get("allow_request_without_credential") {
        Some(field) if open => {
            notes.differs(&field, "a configuration without its secret is refused")
        }
        Some(field) => notes.taken(&field, "a configuration without its secret is refused"),
        None => notes.absent(
            &config,
            "allow_request_without_credential",
            Outcome::Taken,
            "false: a configuration without its secret is refused",
        ),
    }
    draft.credential = Some(
        json!({ "kind": "static", "header": header, "secrets": [{ "id": "imported", "env": variable }] }),
    );
    draft.replaced.push(filter.pointer.clone());
}
