//! Plugins that stay with Kong: `key-auth`, `cors`, and all that are not known here.

use super::layout::{Layout, cover_frame};
use crate::import::notes::Notes;

const TAKEN: [&str; 6] = [
    "jwt",
    "acl",
    "rate-limiting",
    "rate-limiting-advanced",
    "request-transformer",
    "request-transformer-advanced",
];

/// Says why.
pub(super) fn tell(layout: &Layout, notes: &mut Notes) {
    for plugin in layout.every_plugin() {
        let name = plugin.text("name").unwrap_or_default();
        if TAKEN.contains(&name) {
            continue;
        }
        let why = match name {
            "cors" => {
                "`cors` stays with Kong, before the filter; on Envoy its filter `cors` does it. Expose `Retry-After` and the limits' headers, so that pages can read refusals"
            }
            "key-auth" => {
                "`key-auth` stays with Kong, before the filter: nothing here keeps keys of clients. A limit may count by the header of the key"
            }
            _ => "this plugin stays with Kong; nothing here does what it does",
        };
        let told = plugin.get("name").unwrap_or(plugin.clone());
        notes.left(&told, format!("{name}: {why}"));
        cover_frame(&plugin, notes);
        if let Some(config) = plugin.get("config") {
            notes.cover(&config);
        }
    }
    for field in [
        "_format_version",
        "_transform",
        "_info",
        "_comment",
        "_ignore",
        "_workspace",
        "_konnect",
    ]
    .iter()
    .filter_map(|name| layout.root.get(name))
    {
        notes.cover(&field);
    }
    for field in [
        "upstreams",
        "targets",
        "certificates",
        "snis",
        "ca_certificates",
        "vaults",
        "consumer_groups",
        "keyauth_credentials",
        "basicauth_credentials",
        "hmacauth_credentials",
        "oauth2_credentials",
    ]
    .iter()
    .filter_map(|name| layout.root.get(name))
    {
        if field.path != "consumer_groups" {
            notes.left(&field, "it stays with Kong; it is not shown here");
        }
    }
}
