//! What is measured in gateways: parts, each of gateways that run side by side and of what is asked of them.

mod chains;
mod keys;
mod protocols;
mod refusals;
mod scale;
mod tokens;
mod workers;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::config::bootstrap::{Bootstrap, GATEWAY};
use crate::config::nothing::{self, Callbacks};
use crate::config::ours;
use crate::scene::{SEARCH_PATH, Scene};
use crate::traffic::Ask;

pub use tokens::TOKENS;

/// All filters as native code.
const MODULE: &str = "libportcullis.so";

/// What has to be built besides.
const FILTERS: [&str; 5] = [
    "jwt_auth",
    "rate_limit",
    "circuit_breaker",
    "service_token",
    "edge",
];

/// A part of the bench.
#[derive(Debug)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What "added" is added to.
    pub added_to: &'static str,
    /// Its gateways.
    pub gateways: Vec<GatewayPlan>,
    /// What is asked of them, in the order of the table.
    pub subjects: Vec<Subject>,
}

/// A gateway that is to be started.
#[derive(Debug)]
pub struct GatewayPlan {
    /// What it is called in its part.
    pub name: String,
    /// Its configuration.
    pub bootstrap: Value,
    /// Its workers.
    pub workers: u32,
}

/// Something whose cost is measured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called, in all parts.
    pub name: String,
    /// What the table calls it. Nothing of what is only compared with.
    pub shown: Option<String>,
    /// The gateway.
    pub gateway: String,
    /// Its listener.
    pub listener: &'static str,
    /// What is asked of it.
    pub ask: Ask,
    /// What is asked before, of which listener, and how often.
    pub before: Vec<(&'static str, Ask, u32)>,
    /// The subject whose cost is taken off: what is left is what this one adds.
    pub base: Option<String>,
    /// The subjects that it is compared with.
    pub against: Vec<String>,
}

/// What the parts are made of.
#[derive(Debug)]
pub struct Inputs<'a> {
    filters: &'a Path,
    nothing: TempDir,
    scene: Scene,
    upstream: SocketAddr,
    /// Of the most keys that are tried.
    most_keys: u32,
}

impl<'a> Inputs<'a> {
    /// With the filters of this folder and this upstream; a quick run tries fewer keys.
    ///
    /// # Errors
    /// A filter is missing, or there is no place for the one that does nothing.
    pub fn new(filters: &'a Path, scene: Scene, upstream: SocketAddr, quick: bool) -> Result<Self> {
        for name in FILTERS {
            let filter = filters.join(format!("{name}.wasm"));
            if !filter.is_file() {
                bail!("{} is not there; run `cargo xtask build`", filter.display());
            }
        }
        let module = filters.join(MODULE);
        if !module.is_file() {
            bail!("{} is not there; run `cargo xtask build`", module.display());
        }
        let nothing = tempfile::tempdir()?;
        for callbacks in [Callbacks::All, Callbacks::Heads] {
            let module = nothing::module(callbacks)?;
            fs::write(nothing.path().join(file(callbacks)), module)?;
        }
        Ok(Self {
            filters,
            nothing,
            scene,
            upstream,
            most_keys: if quick { 100_000 } else { 1_000_000 },
        })
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap::new(self.upstream)
    }

    /// One of ours, built.
    fn wasm(&self, name: &str, config: &Value) -> Value {
        ours::wasm(self.filters, name, config)
    }

    /// The same as native code.
    fn native(name: &str, config: &Value) -> Value {
        ours::native(name, config)
    }

    /// All four of ours in their order, which is that of `edge`.
    fn four(&self) -> [Value; 4] {
        [
            self.wasm(
                "rate_limit",
                &ours::rate_limit(ours::ENDLESS, ours::LimitHeaders::Both),
            ),
            self.wasm("jwt_auth", &ours::jwt_auth(0)),
            self.wasm("circuit_breaker", &ours::circuit_breaker(0)),
            self.wasm("service_token", &ours::service_token()),
        ]
    }

    fn edge(&self) -> Value {
        self.wasm("edge", &ours::edge(ours::ENDLESS))
    }

    /// The same, as it is built for Envoy alone.
    fn edge_for_envoy(&self) -> Value {
        let filters = self.filters.join("envoy");
        ours::wasm(&filters, "edge", &ours::edge(ours::ENDLESS))
    }

    /// A filter that does nothing.
    fn nothing(&self, callbacks: Callbacks) -> Value {
        let path: PathBuf = self.nothing.path().join(file(callbacks));
        ours::module(&path, "nothing", &Value::Object(serde_json::Map::new()))
    }

    /// The request that is asked as a rule: with a good token, and ten ordinary headers.
    fn ask(&self) -> Ask {
        Ask::get(SEARCH_PATH).bearer(&self.scene.token("RS256"))
    }
}

const fn file(callbacks: Callbacks) -> &'static str {
    match callbacks {
        Callbacks::All => "nothing.wasm",
        Callbacks::Heads => "nothing_heads.wasm",
    }
}

/// All parts.
#[must_use]
pub fn all(inputs: &Inputs<'_>) -> Vec<Part> {
    vec![
        chains::part(inputs),
        protocols::http2(inputs),
        protocols::streams(inputs),
        refusals::part(inputs),
        scale::part(inputs),
        workers::part(inputs),
        keys::part(inputs),
        tokens::part(inputs),
    ]
}

/// Those of the parts, and of their subjects, that are named, with what they are compared with.
///
/// # Errors
/// There is nothing of a name.
pub fn only(parts: Vec<Part>, names: &[String]) -> Result<Vec<Part>> {
    let known: BTreeSet<&str> = (parts.iter())
        .flat_map(|part| {
            part.subjects
                .iter()
                .map(|subject| &*subject.name)
                .chain([part.name])
        })
        .collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&***name)) {
        let known: Vec<_> = known.into_iter().collect();
        bail!("there is no {unknown}; there are {}", known.join(", "));
    }
    let parts = parts.into_iter().map(|part| {
        if names.iter().any(|name| name == part.name) {
            part
        } else {
            part.with_only(names)
        }
    });
    Ok(parts.filter(|part| !part.subjects.is_empty()).collect())
}

impl Part {
    const fn new(name: &'static str, title: &'static str, added_to: &'static str) -> Self {
        Self {
            name,
            title,
            added_to,
            gateways: Vec::new(),
            subjects: Vec::new(),
        }
    }

    fn gateway(&mut self, name: &str, bootstrap: Bootstrap) {
        self.gateways.push(GatewayPlan {
            name: name.to_owned(),
            bootstrap: bootstrap.build(),
            workers: 1,
        });
    }

    /// A gateway that forwards what these filters let pass, and what is asked of it.
    fn chain(&mut self, inputs: &Inputs<'_>, subject: Subject, filters: &[Value]) {
        self.gateway(&subject.gateway, inputs.bootstrap().forwarding(filters));
        self.subjects.push(subject);
    }

    fn with_only(mut self, names: &[String]) -> Self {
        let mut kept: BTreeSet<String> = names.iter().cloned().collect();
        loop {
            let of_kept = self
                .subjects
                .iter()
                .filter(|subject| kept.contains(&subject.name));
            let needed: Vec<_> = of_kept
                .flat_map(|subject| subject.base.iter().chain(&subject.against))
                .filter(|name| !kept.contains(*name))
                .cloned()
                .collect();
            if needed.is_empty() {
                break;
            }
            kept.extend(needed);
        }
        self.subjects.retain(|subject| kept.contains(&subject.name));
        let subjects = &self.subjects;
        self.gateways.retain(|gateway| {
            subjects
                .iter()
                .any(|subject| subject.gateway == gateway.name)
        });
        self
    }

    /// The place of a subject's gateway.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn gateway_of(&self, subject: &Subject) -> Result<usize> {
        let at = self
            .gateways
            .iter()
            .position(|gateway| gateway.name == subject.gateway);
        at.with_context(|| format!("{} has no gateway {}", self.name, subject.gateway))
    }
}

impl Subject {
    /// Something that is asked of a gateway of the same name.
    fn new(name: &str, shown: &str, ask: Ask) -> Self {
        Self {
            name: name.to_owned(),
            shown: Some(shown.to_owned()),
            gateway: name.to_owned(),
            listener: GATEWAY,
            ask,
            before: Vec::new(),
            base: None,
            against: Vec::new(),
        }
    }

    fn over(mut self, base: &str) -> Self {
        self.base = Some(base.to_owned());
        self
    }

    fn against(mut self, others: &[&str]) -> Self {
        self.against = others.iter().map(|&other| other.to_owned()).collect();
        self
    }

    fn after(mut self, listener: &'static str, ask: Ask, times: u32) -> Self {
        self.before.push((listener, ask, times));
        self
    }

    fn at(mut self, gateway: &str, listener: &'static str) -> Self {
        self.gateway = gateway.to_owned();
        self.listener = listener;
        self
    }

    fn hidden(mut self) -> Self {
        self.shown = None;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(filters: &Path) -> Inputs<'_> {
        for name in FILTERS {
            fs::write(filters.join(format!("{name}.wasm")), "").unwrap();
        }
        fs::write(filters.join(MODULE), "").unwrap();
        Inputs::new(filters, Scene::now(), "127.0.0.1:1".parse().unwrap(), true).unwrap()
    }

    #[test]
    fn every_subject_has_its_gateway_its_own_name_and_what_it_is_compared_with() {
        let folder = tempfile::tempdir().unwrap();
        let mut names = BTreeSet::new();
        for part in all(&inputs(folder.path())) {
            for subject in &part.subjects {
                assert!(names.insert(subject.name.clone()), "{} twice", subject.name);
                part.gateway_of(subject).unwrap();
                for other in subject.base.iter().chain(&subject.against) {
                    let known = part.subjects.iter().any(|known| known.name == *other);
                    assert!(known, "{}: no {other} in {}", subject.name, part.name);
                }
            }
            let used =
                |gateway: &GatewayPlan| part.subjects.iter().any(|s| s.gateway == gateway.name);
            assert!(part.gateways.iter().all(used), "{}", part.name);
        }
    }

    #[test]
    fn what_is_named_comes_with_what_it_is_compared_with_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs(folder.path());
        let parts = only(all(&inputs), &["edge".to_owned(), "workers".to_owned()]).unwrap();
        let [chains, workers] = &parts[..] else {
            panic!("{parts:?}")
        };
        let names = |part: &Part| -> Vec<String> {
            part.gateways
                .iter()
                .map(|gateway| gateway.name.clone())
                .collect()
        };
        assert_eq!(names(chains), ["bare", "native", "native_uncached", "edge"]);
        assert_eq!(workers.gateways.len(), 8);
        let error = only(all(&inputs), &["egde".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("there is no egde; there are ") && error.contains("edge"),
            "{error}"
        );
    }

    #[test]
    fn a_filter_that_is_not_built_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = "127.0.0.1:1".parse().unwrap();
        let error = Inputs::new(folder.path(), Scene::now(), upstream, true).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("jwt_auth.wasm is not there; run"),
            "{error}"
        );
    }
}
