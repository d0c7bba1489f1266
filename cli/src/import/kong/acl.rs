//! `acl`: groups of consumers become the providers of these consumers.

use super::consumers::Consumer;
use super::layout::{Layout, cover_frame};
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes};

/// The consumers that it lets pass; `None` is all.
#[must_use]
pub(super) fn allowed(plugin: Option<&At>, consumers: &[Consumer]) -> Option<Vec<String>> {
    let config = plugin?.get("config")?;
    let allow = config.texts("allow").filter(|list| !list.is_empty());
    let deny = config.texts("deny").unwrap_or_default();
    let passes = |consumer: &&Consumer| {
        let is_in = |list: &[String]| consumer.groups.iter().any(|group| list.contains(group));
        allow.as_ref().is_none_or(|allow| is_in(allow)) && !is_in(&deny)
    };
    Some(
        consumers
            .iter()
            .filter(passes)
            .map(|consumer| consumer.name.clone())
            .collect(),
    )
}

/// Says what becomes of them.
pub(super) fn tell(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    let has_jwt = !layout.plugins("jwt").is_empty();
    for plugin in layout.plugins("acl") {
        cover_frame(&plugin, notes);
        let Some(config) = plugin.get("config") else {
            continue;
        };
        if !has_jwt {
            notes.left(
                &config,
                "groups are of consumers that `jwt` tells apart; no plugin `jwt` is in this file",
            );
            continue;
        }
        draft.replaced.push(plugin.pointer.clone());
        for field in config.children() {
            match field.path.rsplit('.').next() {
                Some("allow" | "deny") => notes.differs(
                    &field,
                    "jwt_auth.rules[].require.any_of: the providers of the consumers in these groups. Others get 401, on Kong 403. \
                     Where tokens tell groups, write `require: { claims: { groups: [...] } }`",
                ),
                Some("hide_groups_header") => notes.differs(&field, "groups are not written into a header"),
                _ => notes.left(&field, "groups are those of consumers alone"),
            }
        }
    }
}
