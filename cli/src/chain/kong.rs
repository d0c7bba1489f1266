//! Chains and routes in Kong's declarative files.

use super::{Chain, Cors, Kind, Link, Routes};
use crate::document::{Content, Node, Place};
use crate::paths::Paths;
use crate::routes::{Requests, Route};
use crate::waits::{Bound, Waits};

/// What an entity stands in.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    /// The file.
    pub(crate) root: Option<&'a Node>,
    /// The service.
    pub(crate) service: Option<&'a Node>,
    /// The route.
    pub(crate) route: Option<&'a Node>,
}

/// The chain of an item of `filter_chains`.
pub(crate) fn chain<'a>(item: &'a Node, scope: Scope<'a>) -> Chain {
    let scope = scope.of(item);
    let off = [Some(item), scope.service].into_iter().flatten();
    let off = off.filter_map(switched_off).next();
    let filters = item.get("filters").map_or(&[][..], Node::items).iter();
    let links = filters.map(|filter| link(filter, off));
    around(links.collect(), scope)
}

/// A filter that is a plugin, which from 3.9 on it may be.
pub(crate) fn plugin<'a>(item: &'a Node, scope: Scope<'a>) -> Chain {
    let scope = scope.of(item);
    let off = scope.service.and_then(switched_off);
    around(vec![link(item, off)], scope)
}

fn around(links: Vec<Link>, scope: Scope<'_>) -> Chain {
    let routes = scope.routes();
    // It is so unless something else is said.
    let strips = |route: &&Node| !is_false(route.get("strip_path"));
    Chain {
        links,
        cors: scope.cors(),
        strips_paths: routes.iter().any(|(_, route)| strips(route)),
        routes: match routes
            .iter()
            .any(|(_, route)| route.get("expression").is_some())
        {
            true => Routes::Unknown,
            false => Routes::Known(routes.into_iter().map(route).collect()),
        },
    }
}

fn link(filter: &Node, off: Option<Place>) -> Link {
    Link {
        place: filter
            .get("name")
            .map_or_else(|| filter.place(), Node::place),
        kind: Kind::Any,
        off: switched_off(filter).or(off),
    }
}

fn switched_off(node: &Node) -> Option<Place> {
    let flag = node.get("enabled")?;
    is_false(Some(flag)).then_some(flag.written)
}

fn is_false(node: Option<&Node>) -> bool {
    node.is_some_and(|node| matches!(node.content, Content::Bool(false)))
}

/// The name that an entity is referred to by: `service: rag`, `service: { name: rag }`.
fn reference<'a>(item: &'a Node, kind: &str) -> Option<&'a str> {
    let to = item.get(kind)?;
    to.text()
        .or_else(|| to.get("name")?.text())
        .or_else(|| to.get("id")?.text())
}

fn is_called(node: &Node, name: &str) -> bool {
    let names = ["name", "id"].iter();
    names
        .filter_map(|field| node.get(field)?.text())
        .any(|known| known == name)
}

impl<'a> Scope<'a> {
    /// The scope of something that may say itself what it is for.
    fn of(self, item: &'a Node) -> Self {
        let service = reference(item, "service").and_then(|name| {
            self.services()
                .iter()
                .find(|service| is_called(service, name))
        });
        let named = reference(item, "route");
        let route = named.and_then(|name| {
            let mut all = self.all_routes().into_iter();
            all.find(|(_, route)| is_called(route, name))
        });
        Self {
            service: service
                .or(route.and_then(|(service, _)| service))
                .or(self.service),
            route: route.map(|(_, route)| route).or(self.route),
            ..self
        }
    }

    fn services(self) -> &'a [Node] {
        let services = self.root.and_then(|root| root.get("services"));
        services.map_or(&[][..], Node::items)
    }

    /// All routes of the file, each with its service.
    fn all_routes(self) -> Vec<(Option<&'a Node>, &'a Node)> {
        let within = |node: &'a Node| node.get("routes").map_or(&[][..], Node::items).iter();
        let nested = self.services().iter();
        let nested = nested.flat_map(|service| within(service).map(move |it| (Some(service), it)));
        let apart = self.root.into_iter().flat_map(within).map(|route| {
            let named = reference(route, "service");
            let service = named.and_then(|name| {
                let mut services = self.services().iter();
                services.find(|service| is_called(service, name))
            });
            (service, route)
        });
        nested.chain(apart).collect()
    }

    /// Those that lead here.
    fn routes(self) -> Vec<(Option<&'a Node>, &'a Node)> {
        let same = |one: &Node, other: &Node| std::ptr::eq(one, other);
        let all = self.all_routes().into_iter();
        let here = all.filter(|(service, route)| match (self.route, self.service) {
            (Some(own), _) => same(own, route),
            (None, Some(own)) => service.is_some_and(|service| same(own, service)),
            (None, None) => true,
        });
        here.collect()
    }

    /// What the plugin `cors` says for those that come here.
    fn cors(self) -> Vec<Cors> {
        let own = |node: Option<&'a Node>| {
            let plugins = node.and_then(|node| node.get("plugins"));
            plugins.map_or(&[][..], Node::items).iter()
        };
        let is_for_all = |plugin: &&Node| {
            let kinds = ["service", "route", "consumer", "consumer_group"].iter();
            kinds.filter_map(|kind| plugin.get(kind)).next().is_none()
        };
        let named = |kind: &'static str, node: Option<&'a Node>| {
            own(self.root).filter(move |plugin| {
                let name = reference(plugin, kind);
                name.is_some_and(|name| node.is_some_and(|node| is_called(node, name)))
            })
        };
        let global = own(self.root).filter(is_for_all);
        // Of several the nearest is in force.
        let of_route = own(self.route).chain(named("route", self.route));
        let of_service = own(self.service).chain(named("service", self.service));
        let near = of_route.chain(of_service).chain(global);
        let mut cors = near.filter(|plugin| {
            plugin.get("name").and_then(Node::text) == Some("cors")
                && switched_off(plugin).is_none()
        });
        let config = cors.next().and_then(|plugin| plugin.get("config"));
        let policy = config.map(|config| {
            let exposed = config.get("exposed_headers");
            let names = exposed.map_or(&[][..], Node::items).iter();
            Cors {
                place: config
                    .field("exposed_headers")
                    .map_or_else(|| config.place(), |field| field.place),
                exposed: names
                    .filter_map(Node::text)
                    .map(str::to_ascii_lowercase)
                    .collect(),
            }
        });
        policy.into_iter().collect()
    }
}

fn route((service, node): (Option<&Node>, &Node)) -> Route {
    let texts = |name: &str| {
        let items = node.get(name).map_or(&[][..], Node::items).iter();
        items.filter_map(Node::text).map(str::to_owned)
    };
    let paths = texts("paths").map(|path| match path.strip_prefix('~') {
        Some(regex) => Paths::of_regex(regex),
        None => Paths::Begin(path.to_ascii_lowercase()),
    });
    Route {
        place: node.place(),
        name: node.get("name").and_then(Node::text).map(str::to_owned),
        goes_on: true,
        waits: service.map_or_else(
            || Waits {
                are_unknown: true,
                ..Waits::default()
            },
            waits,
        ),
        requests: Requests {
            paths: paths.collect(),
            methods: texts("methods").collect(),
            hosts: texts("hosts").collect(),
        },
    }
}

/// How long a service may say nothing: for each attempt.
fn waits(service: &Node) -> Waits {
    /// What holds where nothing is said, in milliseconds, and how often it is tried again.
    const EACH: u64 = 60_000;
    const RETRIES: u64 = 5;
    let number = |name: &str, default: u64| match service.get(name) {
        Some(said) => said.to_json().as_u64(),
        None => Some(default),
    };
    let read_timeout = service.get("read_timeout");
    let millis = || {
        let one = number("connect_timeout", EACH)?.checked_add(number("read_timeout", EACH)?)?;
        one.checked_mul(number("retries", RETRIES)?.checked_add(1)?)
    };
    let silence = millis().map(|millis| Bound {
        millis,
        place: read_timeout.map_or_else(|| service.place(), Node::place),
        name: "read_timeout",
        is_default: read_timeout.is_none(),
    });
    Waits {
        are_unknown: silence.is_none(),
        whole: None,
        silence,
    }
}
