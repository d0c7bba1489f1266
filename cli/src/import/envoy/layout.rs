//! Where filters and routes stand in a file.

use crate::document::Content;
use crate::import::notes::{At, Notes};

const TAKEN: [&str; 5] = [
    "JwtAuthentication",
    "LocalRateLimit",
    "RateLimit",
    "CredentialInjector",
    "HeaderMutation",
];

/// A file.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    root: At<'a>,
    /// The HTTP filters of the first connection manager.
    pub filters: Vec<At<'a>>,
    /// Those of all others.
    others: Vec<At<'a>>,
    /// The routes of virtual hosts.
    pub routes: Vec<At<'a>>,
    /// The virtual hosts.
    pub hosts: Vec<At<'a>>,
    /// The clusters.
    pub clusters: Vec<At<'a>>,
}

impl<'a> Layout<'a> {
    /// Looks for them.
    #[must_use]
    pub(super) fn read(root: &At<'a>) -> Self {
        let mut layout = Self {
            root: root.clone(),
            filters: Vec::new(),
            others: Vec::new(),
            routes: Vec::new(),
            hosts: Vec::new(),
            clusters: Vec::new(),
        };
        if root.get("typed_config").is_some() {
            layout.filters.push(root.clone());
        }
        layout.look(root);
        layout
    }

    fn look(&mut self, at: &At<'a>) {
        match self.filters.is_empty() {
            true => self.filters.extend(at.list("http_filters")),
            false => self.others.extend(at.list("http_filters")),
        }
        for host in at.list("virtual_hosts") {
            self.routes.extend(host.list("routes"));
            self.hosts.push(host);
        }
        self.clusters.extend(at.list("clusters"));
        for child in at.children() {
            self.look(&child);
        }
    }

    /// The filters whose configuration is of a type.
    #[must_use]
    pub(super) fn of_kind(&self, kind: &str) -> Vec<At<'a>> {
        let mut filters = self.filters.clone();
        filters.retain(|filter| kind_of(filter) == kind);
        filters
    }

    /// Whether a filter of that type comes after this one.
    #[must_use]
    pub(super) fn stands_before(&self, filter: &At, kind: &str) -> bool {
        let mut behind = self
            .filters
            .iter()
            .skip_while(|other| other.pointer != filter.pointer);
        behind.any(|other| kind_of(other) == kind)
    }

    /// Says what stays with Envoy.
    pub(super) fn tell(&self, notes: &mut Notes) {
        for filter in &self.filters {
            let kind = kind_of(filter);
            if !TAKEN.contains(&kind) {
                let why = match kind {
                    "Cors" => "`cors` stays with Envoy, before the filter",
                    "Router" => "the router stays as it is",
                    _ => "this filter stays with Envoy; nothing here does what it does",
                };
                notes.left(filter, why);
            }
        }
        for filter in &self.others {
            notes.left(
                filter,
                "of several connection managers the first is taken over: give each a file",
            );
        }
        self.stays(&self.root, notes);
    }

    /// Listeners, routes and clusters stay: each field is told once, and those that hold a filter are looked into.
    fn stays(&self, at: &At<'a>, notes: &mut Notes) {
        let is_around = |held: &At| {
            held.pointer.starts_with(&format!("{}/", at.pointer)) || held.pointer == at.pointer
        };
        let own = self
            .clusters
            .iter()
            .filter(|cluster| cluster.get("outlier_detection").is_some());
        let per_route = self.routes.iter().chain(&self.hosts).filter(|route| {
            ["typed_per_filter_config", "rate_limits"]
                .iter()
                .any(|name| route.get(name).is_some())
                || route.at(&["route", "rate_limits"]).is_some()
        });
        let mut filters = self.filters.iter().chain(&self.others);
        if filters.any(|filter| filter.pointer == at.pointer) {
            return;
        }
        let name = at.path.rsplit('.').next().unwrap_or_default();
        if [
            "typed_per_filter_config",
            "rate_limits",
            "outlier_detection",
        ]
        .contains(&name)
        {
            return;
        }
        let mut held = self
            .filters
            .iter()
            .chain(&self.others)
            .chain(own)
            .chain(per_route);
        let holds =
            matches!(at.node.content, Content::Map(_) | Content::List(_)) && held.any(is_around);
        let holds_own = at.path.ends_with(".route") && at.get("rate_limits").is_some();
        let is_own = self
            .routes
            .iter()
            .chain(&self.hosts)
            .chain(&self.clusters)
            .any(|own| own.pointer == at.pointer);
        if at.path.is_empty()
            || holds
            || holds_own
            || is_own
                && at.children().iter().any(|child| {
                    let name = child.path.rsplit('.').next().unwrap_or_default();
                    [
                        "typed_per_filter_config",
                        "rate_limits",
                        "outlier_detection",
                        "routes",
                    ]
                    .contains(&name)
                })
        {
            for child in at.children() {
                self.stays(&child, notes);
            }
        } else {
            notes.left(at, "it stays with Envoy");
        }
    }
}

/// The last word of the type of a filter's configuration.
#[must_use]
pub(super) fn kind_of<'a>(filter: &At<'a>) -> &'a str {
    let of_type = filter
        .at(&["typed_config"])
        .and_then(|config| config.text("@type"));
    of_type
        .and_then(|name| name.rsplit('.').next())
        .unwrap_or_default()
}

/// Of a filter what says nothing of what it does.
pub(super) fn cover_frame(filter: &At, notes: &mut Notes) {
    if let Some(name) = filter.get("name") {
        notes.cover(&name);
    }
    if let Some(of_type) = filter.at(&["typed_config", "@type"]) {
        notes.cover(&of_type);
    }
}
