//! A gateway's file with `edge` in the place of what was taken over.

use crate::import::value::set;
use serde_json::{Value, json};

use super::notes::Variable;

/// Kong's: what was taken over is taken out, and each service has `edge` in its filter chain.
#[must_use]
pub(super) fn kong(mut file: Value, edge: &Value, replaced: &[String]) -> Value {
    take_out(&mut file, replaced);
    // Other credentials are secrets, too: they are written by whoever has them.
    leave_credentials_out(&mut file);
    for consumer in list_of(&mut file, "consumers") {
        leave_credentials_out(consumer);
    }
    let chain = json!([{ "name": "edge", "filters": [{ "name": "edge", "config": edge }] }]);
    for service in list_of(&mut file, "services") {
        set(service, "filter_chains", chain.clone());
    }
    file
}

/// Envoy's: what was taken over is taken out, and `edge` stands where the first of it stood. `None` where there was
/// none.
#[must_use]
pub(super) fn envoy(
    mut file: Value,
    edge: &Value,
    replaced: &[String],
    variables: &[Variable],
) -> Option<Value> {
    let names: Vec<&str> = variables
        .iter()
        .map(|variable| variable.name.as_str())
        .collect();
    let mut vm = json!({
        "vm_id": "portcullis",
        "runtime": "envoy.wasm.runtime.v8",
        "code": { "local": { "filename": "target/filters/edge.wasm" } },
    });
    if !names.is_empty() {
        set(
            &mut vm,
            "environment_variables",
            json!({ "host_env_keys": names }),
        );
    }
    let filter = json!({
        "name": "edge",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "edge",
                "root_id": "edge",
                "failure_policy": "FAIL_RELOAD",
                "vm_config": vm,
                "configuration": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": edge },
            },
        },
    });
    // The filter, or what was taken out of it.
    let places = replaced.iter().filter_map(|pointer| {
        let (list, rest) = pointer.split_once("/http_filters/")?;
        let index: usize = rest.split('/').next()?.parse().ok()?;
        Some((index, format!("{list}/http_filters")))
    });
    let (index, list) = places.min()?;
    take_out(&mut file, replaced);
    let filters = file.pointer_mut(&list).and_then(Value::as_array_mut)?;
    filters.insert(index.min(filters.len()), filter);
    Some(file)
}

fn leave_credentials_out(holder: &mut Value) {
    if let Some(fields) = holder.as_object_mut() {
        fields.retain(|name, _| !name.ends_with("_credentials"));
    }
    for credential in list_of(holder, "jwt_secrets") {
        if let Some(fields) = credential.as_object_mut() {
            let _secret = fields.remove("secret");
        }
    }
}

fn list_of<'a>(file: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = file.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

/// Each step of a pointer, numbers as numbers.
fn position(pointer: &str) -> Vec<(u64, String)> {
    let step = |step: &str| (step.parse().unwrap_or(0), step.to_owned());
    pointer.split('/').map(step).collect()
}

/// Later items first, so that none has moved when its turn comes.
fn take_out(file: &mut Value, pointers: &[String]) {
    let mut pointers: Vec<&String> = pointers.iter().collect();
    pointers.sort_by_key(|pointer| std::cmp::Reverse(position(pointer)));
    pointers.dedup();
    for pointer in pointers {
        let Some((parent, last)) = pointer.rsplit_once('/') else {
            continue;
        };
        match file.pointer_mut(parent) {
            Some(Value::Array(items)) => {
                if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                    let _gone = items.remove(index);
                }
            }
            Some(Value::Object(fields)) => {
                drop(fields.remove(&last.replace("~1", "/").replace("~0", "~")))
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_stands_where_the_first_filter_stood_that_was_taken_over() {
        let file = json!({ "http_filters": [{ "name": "a" }, { "name": "b", "l": [1, 2] }, { "name": "c" }, { "name": "d" }] });
        let replaced = ["/http_filters/1/l/0", "/http_filters/2"].map(str::to_owned);
        let made = envoy(file, &json!({}), &replaced, &[]).unwrap();
        let names = made["http_filters"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .map(|filter| filter["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["a", "edge", "b", "d"]);
        assert_eq!(made["http_filters"][2]["l"], json!([2]));
    }
}
