//! Secrets, and the variables that hold them.

use std::collections::BTreeSet;

use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::filter::Host;
use crate::finding::{Code, Finding};

/// Secrets that stand in the file, as such or as the value of a variable that is asked for one.
pub(crate) fn secrets_in_clear(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Finding> {
    let mut secrets = Vec::new();
    gather_secrets(&configured.config, &mut secrets);
    secrets.extend(values(configured, asked));
    let finding = |place: &Place| {
        Finding {
        code: Code::SecretInClear,
        place: *place,
        message: "whoever reads the file has this secret; expected `env`, with the name of a variable of the gateway's"
            .to_owned(),
        beside: None,
    }
    };
    secrets.iter().map(finding).collect()
}

/// Where the values of variables stand that are asked for.
fn values(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Place> {
    let variables = configured.variables.iter().flatten();
    let variables = variables.filter(|variable| asked.contains(&variable.name));
    let values = variables.filter_map(|variable| variable.value.as_ref());
    values.map(|value| value.written).collect()
}

/// Where secrets stand.
pub(crate) fn gather_secrets(node: &Node, secrets: &mut Vec<Place>) {
    for field in node.fields() {
        let values = match field.name.as_str() {
            "secret" | "token" => vec![&field.value],
            "secrets" => field.value.items().iter().collect(),
            _ => Vec::new(),
        };
        let values = values.into_iter().filter_map(|secret| secret.get("value"));
        secrets.extend(
            values
                .filter(|value| value.text().is_some())
                .map(|value| value.written),
        );
        gather_secrets(&field.value, secrets);
    }
    for item in node.items() {
        gather_secrets(item, secrets);
    }
}

/// Variables that the gateway does not show to the filter.
pub(crate) fn hidden_variables(configured: &Configured, asked: &BTreeSet<String>) -> Vec<Finding> {
    let Some(shown) = &configured.variables else {
        return Vec::new();
    };
    let how = match configured.host {
        Host::Kong => {
            "expected `env NAME;` in what nginx includes, or `nginx_main_env` in kong.conf"
        }
        _ => HOW_SHOWN,
    };
    let mut named = Vec::new();
    gather_variables(&configured.config, &mut named);
    let is_hidden =
        |name: &str| asked.contains(name) && shown.iter().all(|shown| shown.name != name);
    let hidden = named
        .into_iter()
        .filter_map(|node| Some((node, node.text()?)));
    let finding = |(node, name): (&Node, &str)| Finding {
        code: Code::HiddenVariable,
        place: node.written,
        message: format!("the gateway does not show the variable {name} to the filter; {how}"),
        beside: None,
    };
    hidden
        .filter(|(_, name)| is_hidden(name))
        .map(finding)
        .collect()
}

const HOW_SHOWN: &str = "expected it in `host_env_keys` (Envoy), `env.hostKeys` (Envoy Gateway) or `vmConfig.env` (Istio)";

fn gather_variables<'a>(node: &'a Node, named: &mut Vec<&'a Node>) {
    for field in node.fields() {
        match field.name.as_str() {
            "env" => named.push(&field.value),
            _ => gather_variables(&field.value, named),
        }
    }
    for item in node.items() {
        gather_variables(item, named);
    }
}
