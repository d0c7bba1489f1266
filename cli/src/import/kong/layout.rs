//! Which plugin of a declarative file is in force on which route.

use crate::import::value::{get, set};
use serde_json::{Value, json};

use crate::import::notes::{At, Notes};

/// A route, and the service that it leads to.
#[derive(Clone, Debug)]
pub(super) struct Route<'a> {
    at: Option<At<'a>>,
    service: Option<At<'a>>,
    /// What it matches; `None` where this has no word for it.
    pub matches: Option<Value>,
}

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    /// All of it.
    pub root: At<'a>,
    /// Its routes; one that matches everything where there are none.
    pub routes: Vec<Route<'a>>,
}

/// Where a plugin is in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// What requests have to match: `{}` is all of them.
    pub matches: Vec<Value>,
    /// Routes on which it is not in force, whose paths lie below those of `matches`.
    pub others: Vec<String>,
    /// Whether each of its routes is in `matches`.
    pub is_whole: bool,
}

impl Scope {
    /// One `match` for all routes, and whether it matches no other request.
    #[must_use]
    pub(super) fn merged(&self) -> (Option<Value>, bool) {
        let everything = || (None, self.is_whole);
        let Some((first, rest)) = self.matches.split_first() else {
            return everything();
        };
        let mut is_exact = self.is_whole;
        let mut merged = first.clone();
        for other in rest {
            for part in ["hosts", "methods"] {
                if merged.get(part) != other.get(part) {
                    is_exact = false;
                    if let Some(fields) = merged.as_object_mut() {
                        let _other = fields.remove(part);
                    }
                }
            }
            match (
                merged.get_mut("paths").and_then(Value::as_array_mut),
                get(other, "paths").as_array(),
            ) {
                (Some(paths), Some(more)) => {
                    let new: Vec<Value> = more
                        .iter()
                        .filter(|path| !paths.contains(path))
                        .cloned()
                        .collect();
                    paths.extend(new);
                }
                (Some(_), None) => {
                    if let Some(fields) = merged.as_object_mut() {
                        let _all = fields.remove("paths");
                    }
                }
                _ => {}
            }
        }
        match merged.as_object().is_some_and(serde_json::Map::is_empty) {
            true => (None, is_exact),
            false => (Some(merged), is_exact),
        }
    }
}

impl<'a> Layout<'a> {
    /// What a file says, with notes of what stays with Kong.
    pub(super) fn read(root: At<'a>, notes: &mut Notes) -> Self {
        let mut routes = Vec::new();
        for service in root.list("services") {
            for route in service.list("routes") {
                routes.push((route, Some(service.clone())));
            }
            for field in service.children() {
                stays(
                    &field,
                    &["routes", "plugins", "name", "id", "tags"],
                    "the service stays with Kong",
                    notes,
                );
            }
        }
        for route in root.list("routes") {
            let service = root
                .list("services")
                .into_iter()
                .find(|service| refers(&route, "service", service));
            routes.push((route, service));
        }
        let mut read: Vec<Route> = Vec::new();
        for (at, service) in routes {
            read.push(Route {
                matches: matches(&at, notes),
                at: Some(at),
                service,
            });
        }
        if read.is_empty() {
            read.push(Route {
                at: None,
                service: None,
                matches: Some(json!({})),
            });
        }
        Self { root, routes: read }
    }

    /// All plugins of that name.
    #[must_use]
    pub(super) fn plugins(&self, name: &str) -> Vec<At<'a>> {
        let mut all = self.every_plugin();
        all.retain(|plugin| plugin.text("name") == Some(name));
        all
    }

    /// All plugins.
    #[must_use]
    pub(super) fn every_plugin(&self) -> Vec<At<'a>> {
        let mut all = self.root.list("plugins");
        for holder in ["services", "routes", "consumers", "consumer_groups"] {
            for held in self.root.list(holder) {
                all.extend(held.list("plugins"));
                all.extend(
                    held.list("routes")
                        .iter()
                        .flat_map(|route| route.list("plugins")),
                );
            }
        }
        all
    }

    /// The plugin of that name that is in force on a route: the route's own, else its service's, else the file's.
    #[must_use]
    pub(super) fn in_force(&self, name: &str, route: &Route<'a>) -> Option<At<'a>> {
        let is_meant =
            |plugin: &At| plugin.text("name") == Some(name) && plugin.get("consumer").is_none();
        let named = |kind: &'static str, held: &Option<At<'a>>| {
            let held = held.as_ref()?;
            let own = held.list("plugins").into_iter();
            let top = self.root.list("plugins").into_iter();
            own.chain(top.filter(|plugin| refers(plugin, kind, held)))
                .find(is_meant)
        };
        let of_all = || {
            let top = self.root.list("plugins").into_iter();
            let mut of_all = top.filter(|plugin| {
                ["route", "service"]
                    .iter()
                    .all(|kind| plugin.get(kind).is_none())
            });
            of_all.find(is_meant)
        };
        let found = named("route", &route.at)
            .or_else(|| named("service", &route.service))
            .or_else(of_all);
        found.filter(is_on)
    }

    /// Where a plugin is in force; `None` where no route is under it.
    #[must_use]
    pub(super) fn scope(&self, plugin: &At<'a>) -> Option<Scope> {
        let name = plugin.text("name")?;
        let is_under = |route: &&Route<'a>| {
            let in_force = self.in_force(name, route);
            in_force.is_some_and(|found| found.pointer == plugin.pointer)
        };
        let routes: Vec<_> = self.routes.iter().filter(is_under).collect();
        let matches: Vec<Value> = routes
            .iter()
            .filter_map(|route| route.matches.clone())
            .collect();
        let is_whole = matches.len() == routes.len();
        let paths = |matches: &Value| {
            let paths = get(matches, "paths").as_array().into_iter().flatten();
            let paths = paths.filter_map(|path| get(path, "prefix").as_str());
            paths.map(str::to_owned).collect::<Vec<_>>()
        };
        let under: Vec<String> = matches.iter().flat_map(paths).collect();
        let is_everything = matches.iter().any(|matches| paths(matches).is_empty());
        let lies_below = |route: &&Route<'a>| {
            let mut own = route
                .matches
                .as_ref()
                .map(paths)
                .unwrap_or_default()
                .into_iter();
            is_everything
                || own.any(|path| {
                    under
                        .iter()
                        .any(|above| path == *above || path.starts_with(&format!("{above}/")))
                })
        };
        let others = self
            .routes
            .iter()
            .filter(|route| !is_under(route))
            .filter(lies_below);
        let others = others.filter_map(|route| {
            Some(
                route
                    .at
                    .as_ref()?
                    .text("name")
                    .unwrap_or("without a name")
                    .to_owned(),
            )
        });
        let others = others.collect();
        // A match that says nothing is every request.
        (!matches.is_empty()).then_some(Scope {
            matches,
            others,
            is_whole,
        })
    }
}

/// Whether a plugin is not switched off.
fn is_on(plugin: &At) -> bool {
    plugin.flag("enabled") != Some(false)
}

/// Whether a field names that service, route or consumer.
#[must_use]
pub(super) fn refers(at: &At, kind: &str, held: &At) -> bool {
    let Some(reference) = at.get(kind) else {
        return false;
    };
    let named = ["name", "id", "username"]
        .map(|field| reference.text(field).or_else(|| reference.node.text()));
    let names = ["name", "id", "username"].map(|field| held.text(field));
    named
        .iter()
        .flatten()
        .any(|name| names.contains(&Some(name)))
}

fn stays(field: &At, but: &[&str], why: &str, notes: &mut Notes) {
    let name = field.path.rsplit('.').next().unwrap_or_default();
    match name {
        "name" | "id" | "tags" => notes.cover(field),
        _ if but.contains(&name) => {}
        _ => notes.left(field, why),
    }
}

/// What a route matches.
fn matches(route: &At, notes: &mut Notes) -> Option<Value> {
    let mut parts = json!({});
    let mut is_known = true;
    if let Some(field) = route.get("paths") {
        let paths = route.texts("paths").unwrap_or_default();
        let whole = |path: &String| match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        if paths.iter().any(|path| path.starts_with('~')) {
            is_known = false;
            notes.left(&field, "a path that is a regular expression: write what it matches into `match.paths` by hand. Plugins that are set on this route are not in force there");
        } else {
            notes.differs(&field, "match.paths: whole segments, where Kong's prefix is text (`/api` is that of `/apis`, too)");
            if !paths.iter().any(|path| whole(path) == "/") {
                set(
                    &mut parts,
                    "paths",
                    paths
                        .iter()
                        .map(|path| json!({ "prefix": whole(path) }))
                        .collect(),
                );
            }
        }
    }
    for (name, what) in [("hosts", "match.hosts"), ("methods", "match.methods")] {
        if let Some(field) = route.get(name) {
            notes.taken(&field, what);
            set(
                &mut parts,
                name,
                json!(route.texts(name).unwrap_or_default()),
            );
        }
    }
    for field in route.children() {
        stays(
            &field,
            &["paths", "hosts", "methods", "plugins"],
            "the route stays with Kong; nothing here matches by it",
            notes,
        );
    }
    is_known.then_some(parts)
}

/// Of a plugin its `name`, `enabled` and what else says nothing of what it does.
pub(super) fn cover_frame(plugin: &At, notes: &mut Notes) {
    for field in [
        "name",
        "id",
        "tags",
        "enabled",
        "protocols",
        "route",
        "service",
        "created_at",
        "updated_at",
        "instance_name",
    ] {
        if let Some(field) = plugin.get(field) {
            notes.cover(&field);
        }
    }
}
