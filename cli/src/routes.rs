//! Which requests a route is for, and whether any of them is one that a `match` means.
//!
//! Where it can't be told, two of them meet: nothing is said that may be wrong.

use crate::document::{Node, Place};
use crate::paths::Paths;
use crate::waits::Waits;

/// A route, or something else that requests have to come by.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where it is.
    pub place: Place,
    /// What the gateway calls it.
    pub name: Option<String>,
    /// Whether its requests go on to an upstream.
    pub goes_on: bool,
    /// How long its upstream may take.
    pub waits: Waits,
    /// Which requests it is for.
    pub requests: Requests,
}

/// Requests, by what they ask for. An empty list is all there are.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Their paths.
    pub paths: Vec<Paths>,
    /// Their methods.
    pub methods: Vec<String>,
    /// Their hosts: `a.test`, `*.test`, `a.*`, `*`.
    pub hosts: Vec<String>,
}

impl Requests {
    /// What a `match` of ours means.
    pub(crate) fn of_match(node: &Node) -> Self {
        let texts = |name: &str| {
            let items = node.get(name).map_or(&[][..], Node::items).iter();
            items.filter_map(Node::text).map(str::to_owned).collect()
        };
        let ends_alike = node.get("trailing_slash").and_then(Node::text) != Some("distinct");
        let paths = node.get("paths").map_or(&[][..], Node::items).iter();
        let paths = paths.flat_map(|path| {
            let text = |name: &str| Some(path.get(name)?.text()?.to_ascii_lowercase());
            let exact = text("exact").into_iter().flat_map(|path| {
                let bare = path.trim_end_matches('/').to_owned();
                let other = ends_alike.then(|| Paths::One(format!("{bare}/")));
                let bare = (ends_alike && !bare.is_empty()).then_some(Paths::One(bare));
                [Some(Paths::One(path)), bare, other].into_iter().flatten()
            });
            let prefix = text("prefix").map(|path| Paths::below(&path));
            let template = text("template").map(|path| Paths::template(&path));
            exact.chain(prefix).chain(template).collect::<Vec<_>>()
        });
        Self {
            paths: paths.collect(),
            methods: texts("methods"),
            hosts: texts("hosts"),
        }
    }

    /// Whether some request is one of both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> bool {
        let paths = any_pair(&self.paths, &other.paths, Paths::meet);
        let methods = any_pair(&self.methods, &other.methods, |one, other| {
            one.eq_ignore_ascii_case(other)
        });
        paths
            && methods
            && any_pair(&self.hosts, &other.hosts, |one, other| {
                hosts_meet(one, other)
            })
    }
}

/// Whether one of each of two lists fit together; an empty list is anything.
fn any_pair<T>(one: &[T], other: &[T], fits: impl Fn(&T, &T) -> bool) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|a| other.iter().any(|b| fits(a, b)))
}

fn hosts_meet(one: &str, other: &str) -> bool {
    let (one, other) = (host(one), host(other));
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (Some(one), Some(other)) => one.ends_with(other) || other.ends_with(one),
        (Some(end), None) => may_end(&other, end),
        (None, Some(end)) => may_end(&one, end),
        (None, None) => match (one.strip_suffix('*'), other.strip_suffix('*')) {
            (None, None) => one == other,
            (Some(begin), None) => other.starts_with(begin),
            (None, Some(begin)) => one.starts_with(begin),
            (Some(_), Some(_)) => true,
        },
    }
}

fn may_end(host: &str, end: &str) -> bool {
    host.ends_with('*') || host.ends_with(end)
}

/// A host without its port.
fn host(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    match text.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name.to_owned()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::read;

    fn ours(text: &str) -> Requests {
        Requests::of_match(&read(text).unwrap().remove(0))
    }

    fn theirs(paths: Paths) -> Requests {
        Requests {
            paths: vec![paths],
            ..Requests::default()
        }
    }

    #[test]
    fn paths_that_have_something_in_common_meet() {
        let one = |path: &str| Paths::One(path.to_owned());
        let begin = |path: &str| Paths::Begin(path.to_owned());
        for (our, their, meet) in [
            ("exact: /a", one("/a"), true),
            ("exact: /a", one("/a/"), true),
            ("exact: /a", one("/b"), false),
            ("exact: /a", begin("/"), true),
            ("exact: /a", begin("/a/"), true),
            ("exact: /a", begin("/ab"), false),
            ("exact: /A", Paths::below("/a"), true),
            ("exact: /a/b", Paths::below("/a"), true),
            ("exact: /ab", Paths::below("/a"), false),
            ("exact: /a%20b", one("/x"), true),
            ("prefix: /", one("/x"), true),
            ("prefix: /a", one("/a/b"), true),
            ("prefix: /a", one("/ab"), false),
            ("prefix: /a", begin("/a/b"), true),
            ("prefix: /a", begin("/ab"), false),
            ("prefix: /ab", begin("/a"), true),
            ("prefix: /a", Paths::below("/a/b"), true),
            ("prefix: /a", Paths::below("/b"), false),
            ("prefix: /a", Paths::of_regex("/a/(b|c)"), true),
            ("prefix: /a", Paths::of_regex("^/b/.*$"), false),
            ("prefix: /a", Paths::of_regex("/b|/a"), true),
            ("prefix: /a", Paths::of_regex("/a?b"), true),
            ("prefix: /v1.0", Paths::of_regex(r"/v1\.0/x"), true),
            ("prefix: /a", Paths::of_regex(r"\w+"), true),
            ("template: '/a/{b}'", one("/a/x/"), true),
            ("template: '/a/{b}'", one("/a/x/y"), false),
            ("template: '/a/{b}/c'", begin("/a/x"), true),
            ("template: '/a/{b}/c'", begin("/b"), false),
            ("template: '/a/{b}/c'", begin("/a/x/c/"), true),
            ("template: '/a/{b}/c'", begin("/a/x/c/d"), false),
            ("template: '/{a}/b'", Paths::below("/x"), true),
            ("template: '/{a}/b'", Paths::below("/x/c"), false),
            ("template: '/{a}/b'", Paths::template("/x/{y}"), true),
        ] {
            let ours = Requests::of_match(&read(&format!("paths: [{{ {our} }}]")).unwrap()[0]);
            let theirs = Requests {
                paths: vec![their.clone()],
                ..Requests::default()
            };
            assert_eq!(ours.meet(&theirs), meet, "{our} {their:?}");
        }
    }

    #[test]
    fn a_slash_at_the_end_may_make_another_path() {
        let ours = ours("{ paths: [{ exact: /a }], trailing_slash: distinct }");
        assert!(!ours.meet(&theirs(Paths::One("/a/".into()))));
        assert!(ours.meet(&theirs(Paths::One("/a".into()))));
    }

    #[test]
    fn hosts_and_methods_meet() {
        for (host, other, meet) in [
            ("a.test", "A.test:8080", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.test", "*", true),
            ("*.a.test", "*.test", true),
            ("*.a.test", "*.b.test", false),
            ("a.test", "a.*", true),
            ("b.test", "a.*", false),
            ("*.test", "a.*", true),
        ] {
            let ours = ours(&format!("hosts: ['{host}']"));
            let theirs = Requests {
                hosts: vec![other.to_owned()],
                ..Requests::default()
            };
            assert_eq!(ours.meet(&theirs), meet, "{host} {other}");
        }
        let get = ours("methods: [GET]");
        assert!(get.meet(&ours("{}")) && !get.meet(&ours("methods: [PUT]")));
    }
}
