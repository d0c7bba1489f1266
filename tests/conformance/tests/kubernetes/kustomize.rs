//! What `kubectl apply -k` hands to a cluster: rendered, each resource one of its kind, and each name that one of them has for another
//! one the name of one that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::process::Command;

use serde_json::{Value, json};

use super::{WITHOUT_MODEL, assert_valid, at, kind, named, root};

/// A directory with a `kustomization.yaml`, and of which stack its ConfigMap is.
const KUSTOMIZATIONS: [(&str, Option<&str>); 5] = [
    ("envoy", Some("edge")),
    ("envoy/stack", Some("egress")),
    ("kubernetes/edge", Some("edge")),
    ("kubernetes/egress", Some("egress")),
    ("kong/kubernetes", None),
];

/// The oldest kubectl 1 whose kustomize knows what the files are written with.
const OLDEST: u64 = 22;

/// Why nothing can be rendered here.
fn unable() -> Option<String> {
    let mut kubectl = Command::new("kubectl");
    let output = match kubectl
        .args(["version", "--client", "--output=json"])
        .output()
    {
        Ok(output) => output,
        Err(error) => return Some(format!("kubectl can't be run: {error}")),
    };
    let says: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let minor = says["clientVersion"]["minor"].as_str().unwrap_or_default();
    // Some add a mark of their own.
    let minor: u64 = minor.trim_end_matches('+').parse().unwrap_or(0);
    (minor < OLDEST).then(|| format!("kubectl is 1.{minor}; it takes 1.{OLDEST}"))
}

/// What comes of a directory. Nothing where there is no kubectl that could tell, and then it is said aloud.
fn rendered(directory: &str) -> Option<Vec<Value>> {
    if let Some(why) = unable() {
        // Not by a macro: what those write is shown of failed tests only.
        writeln!(io::stderr(), "{directory} was SKIPPED: {why}").expect("standard error");
        return None;
    }
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("kustomize").arg(root().join(directory));
    let output = kubectl.output().expect("kubectl");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{directory}: {errors}");
    // What is out of date in it is told there.
    assert!(errors.is_empty(), "{directory}: {errors}");
    let text = String::from_utf8(output.stdout).expect("text");
    Some(serde_saphyr::from_multiple(&text).expect("resources"))
}

fn one<'a>(resources: &'a [Value], kind: &str) -> &'a Value {
    let mut all = resources.iter().filter(|resource| resource["kind"] == kind);
    let first = all.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(all.next().is_none(), "two of {kind}");
    first
}

#[test]
fn what_kustomize_makes_of_each_directory_is_valid() {
    let mut all = Vec::new();
    for (directory, _) in KUSTOMIZATIONS {
        let Some(resources) = rendered(directory) else {
            return;
        };
        all.extend(named(directory, resources));
    }
    let without_model = assert_valid(&all);
    assert!(without_model.is_none_or(|kinds| kinds.iter().eq(WITHOUT_MODEL)));
}

#[test]
fn each_gateway_has_its_stacks_configuration_and_what_names_its_pods_means_them() {
    for (directory, stack) in KUSTOMIZATIONS {
        let Some(stack) = stack else { continue };
        let Some(resources) = rendered(directory) else {
            return;
        };
        let map = one(&resources, "ConfigMap");
        let folder = root().join("envoy/stack").join(stack);
        let files = fs::read_dir(folder).expect("the stack");
        let files: BTreeMap<String, String> = files
            .map(|entry| entry.expect("an entry").path())
            .map(|path| {
                let name = path.file_name().expect("a name").to_str().expect("text");
                (name.to_owned(), fs::read_to_string(&path).expect("text"))
            })
            .collect();
        assert_eq!(map["data"], json!(files), "{directory}");

        let deployment = one(&resources, "Deployment");
        let pod = at(deployment, "/spec/template/spec");
        // By a name that changes with its content, so that a change is rolled out.
        let name = at(map, "/metadata/name").as_str().expect("text");
        assert_eq!(at(pod, "/volumes/0/configMap/name"), name, "{directory}");
        let plain = format!("portcullis-{stack}-");
        assert!(
            name.starts_with(&plain) && name.len() > plain.len(),
            "{name}"
        );

        let labels = at(deployment, "/spec/template/metadata/labels");
        let service = one(&resources, "Service");
        let budget = one(&resources, "PodDisruptionBudget");
        let spread = "/topologySpreadConstraints/0/labelSelector/matchLabels";
        for selector in [
            at(deployment, "/spec/selector/matchLabels"),
            at(service, "/spec/selector"),
            at(budget, "/spec/selector/matchLabels"),
            at(pod, spread),
        ] {
            assert_eq!(selector, labels, "{directory}");
        }
        let ports = at(pod, "/containers/0/ports").as_array().expect("ports");
        let ports: BTreeSet<&str> = ports
            .iter()
            .filter_map(|port| port["name"].as_str())
            .collect();
        for port in at(service, "/spec/ports").as_array().expect("ports") {
            let target = port["targetPort"].as_str().expect("a name");
            assert!(ports.contains(target), "{directory}: {target}");
        }
    }
}

/// Who has the stacks' listeners at other ports must not have them here at the old ones.
#[test]
fn the_ports_of_a_service_are_those_that_envoy_listens_at() {
    for (directory, stack) in KUSTOMIZATIONS {
        let Some(stack) = stack else { continue };
        let Some(resources) = rendered(directory) else {
            return;
        };
        let listeners = one(&resources, "ConfigMap")["data"]["listeners.yaml"].clone();
        let listeners: Value =
            serde_saphyr::from_str(listeners.as_str().expect("text")).expect("YAML");
        let listeners = listeners["resources"].as_array().expect("listeners");
        let listened = listeners
            .iter()
            .map(|listener| at(listener, "/address/socket_address/port_value"));
        let listened: BTreeSet<String> = listened.map(Value::to_string).collect();
        let container = "/spec/template/spec/containers/0/ports";
        let ports = at(one(&resources, "Deployment"), container);
        let ports = ports.as_array().expect("ports").iter();
        let ports: BTreeSet<String> = ports
            .filter(|port| port["name"] != "metrics")
            .map(|port| port["containerPort"].to_string())
            .collect();
        assert_eq!(ports, listened, "{directory} of {stack}");
    }
}

#[test]
fn an_overlay_says_where_each_resource_goes() {
    for directory in ["kubernetes/edge", "kubernetes/egress"] {
        let Some(resources) = rendered(directory) else {
            return;
        };
        for resource in &resources {
            let namespace = &resource["metadata"]["namespace"];
            assert_eq!(namespace, "rag", "{directory}: {}", kind(resource));
        }
    }
}
