//! Who Kong knows.

use super::layout::refers;
use crate::import::notes::{At, Notes};

/// A consumer, with its credentials for `jwt` and its groups.
#[derive(Clone, Debug)]
pub(super) struct Consumer<'a> {
    /// What it is called.
    pub name: String,
    /// Its credentials.
    pub jwt_secrets: Vec<At<'a>>,
    /// Its groups.
    pub groups: Vec<String>,
}

/// All consumers of a file.
pub(super) fn consumers<'a>(root: &At<'a>, notes: &mut Notes) -> Vec<Consumer<'a>> {
    let mut all = Vec::new();
    for consumer in root.list("consumers") {
        let name = consumer
            .text("username")
            .or_else(|| consumer.text("custom_id"))
            .or_else(|| consumer.text("id"));
        let of = |kind: &str| {
            let top = root
                .list(kind)
                .into_iter()
                .filter(|item| refers(item, "consumer", &consumer));
            consumer
                .list(kind)
                .into_iter()
                .chain(top)
                .collect::<Vec<_>>()
        };
        let groups = of("acls");
        for group in &groups {
            notes.cover(group);
        }
        for field in ["username", "id", "tags", "custom_id"]
            .iter()
            .filter_map(|name| consumer.get(name))
        {
            notes.cover(&field);
        }
        for field in consumer.children() {
            let kind = field.path.rsplit('.').next().unwrap_or_default();
            if kind.ends_with("_credentials") {
                notes.left(&field, "credentials of another kind than `jwt` stay with Kong; they are not shown here, and a file of `--for kong` leaves them out: copy them");
            }
        }
        all.push(Consumer {
            name: name.unwrap_or("consumer").to_owned(),
            jwt_secrets: of("jwt_secrets"),
            groups: groups
                .iter()
                .filter_map(|group| group.text("group"))
                .map(str::to_owned)
                .collect(),
        });
    }
    all
}
