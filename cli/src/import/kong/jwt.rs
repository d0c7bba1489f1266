//! `jwt`: consumers' credentials become providers, and routes rules.

use crate::import::value::{get, set};
use serde_json::{Map, Value, json};

use super::acl;
use super::consumers::consumers;
use super::credential::provider;
use super::layout::{Layout, cover_frame};
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

/// Takes all of them over.
pub(super) fn take(layout: &Layout, draft: &mut Draft, notes: &mut Notes) {
    let plugins = layout.plugins("jwt");
    let consumers = consumers(&layout.root, notes);
    let Some(first) = plugins.first() else {
        for consumer in &consumers {
            for credential in &consumer.jwt_secrets {
                notes.left(credential, "no plugin `jwt` is in this file");
            }
        }
        return;
    };
    let common = settings(first, draft, notes);
    for plugin in plugins.iter().skip(1) {
        let same = plugin.get("config").map(|at| at.node.to_json())
            == first.get("config").map(|at| at.node.to_json());
        cover_frame(plugin, notes);
        if let Some(config) = plugin.get("config") {
            match same {
                true => notes.taken(&config, "jwt_auth, as the first plugin `jwt`"),
                false => notes.differs(&config, "providers are common to all routes here: this plugin's routes take what the first one says"),
            }
        }
        draft.replaced.push(plugin.pointer.clone());
    }
    draft.replaced.push(first.pointer.clone());
    let by_iss = first
        .at(&["config"])
        .and_then(|config| config.text("key_claim_name"))
        .unwrap_or("iss")
        == "iss";
    let mut names: Vec<(String, Vec<String>)> = Vec::new();
    for consumer in &consumers {
        let mut own = Vec::new();
        for credential in &consumer.jwt_secrets {
            if !by_iss {
                notes.left(credential, "`key_claim_name` is another claim than `iss`, and providers are chosen by `iss`: set the issuer by hand");
                continue;
            }
            if let Some(provider) = provider(consumer, credential, &common, notes) {
                let name = Draft::name(&consumer.name, |name| draft.providers.contains_key(name));
                let _none = draft.providers.insert(name.clone(), provider);
                own.push(name);
            }
            draft.replaced.push(credential.pointer.clone());
        }
        names.push((consumer.name.clone(), own));
    }
    let mut rules: Vec<(usize, Value)> = Vec::new();
    for route in &layout.routes {
        let plugin = layout.in_force("jwt", route);
        let acl = layout.in_force("acl", route);
        let Some(matches) = &route.matches else {
            continue;
        };
        let mut rule = match &plugin {
            None => json!({ "allow": "anyone" }),
            Some(plugin) => {
                let allowed = acl::allowed(acl.as_ref(), &consumers);
                let of = |name: &String| {
                    allowed
                        .as_ref()
                        .is_none_or(|allowed| allowed.contains(name))
                };
                let any: Vec<String> = names
                    .iter()
                    .filter(|(name, _)| of(name))
                    .flat_map(|(_, own)| own.clone())
                    .collect();
                if any.is_empty() {
                    continue;
                }
                match plugin
                    .at(&["config", "anonymous"])
                    .and_then(|at| at.node.text().map(drop))
                {
                    Some(()) => {
                        json!({ "require": { "optional": { "any_of": any, "invalid": "anonymous" } } })
                    }
                    None => json!({ "require": { "any_of": any } }),
                }
            }
        };
        if matches.as_object().is_some_and(|parts| !parts.is_empty()) {
            set(&mut rule, "match", matches.clone());
        }
        if !rules
            .iter()
            .any(|(_, other)| get(other, "match") == get(&rule, "match"))
        {
            rules.push((rank(matches), rule));
        }
    }
    // As Kong's router does it: the longest path goes first, then hosts and methods before none.
    rules.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    draft.rules = rules.into_iter().map(|(_, rule)| rule).collect();
    notes.absent(
        first,
        "unmatched",
        Outcome::Differs,
        "a request that no route matches is refused with 403 (`no_rule`); Kong answers 404",
    );
    if draft.providers.is_empty() || draft.rules.is_empty() {
        // Kong goes on checking them.
        let plugins: Vec<&String> = plugins.iter().map(|plugin| &plugin.pointer).collect();
        draft.replaced.retain(|pointer| !plugins.contains(&pointer));
        notes.absent(first, "consumers", Outcome::Left, "no credential of this file, or none of its routes, could be taken over: nothing checks tokens in the result, keep Kong's plugin");
    }
}

fn rank(matches: &Value) -> usize {
    let paths = get(matches, "paths").as_array().into_iter().flatten();
    let longest = paths
        .filter_map(|path| get(path, "prefix").as_str())
        .map(str::len)
        .max()
        .unwrap_or_default();
    let more = ["hosts", "methods"]
        .iter()
        .filter(|part| matches.get(part).is_some())
        .count();
    longest.saturating_mul(4).saturating_add(more)
}

/// What every provider has in common.
fn settings(plugin: &At, draft: &mut Draft, notes: &mut Notes) -> Map<String, Value> {
    cover_frame(plugin, notes);
    let mut common = Map::new();
    let mut put = |name: &str, value: Value| drop(common.insert(name.to_owned(), value));
    put("leeway", json!("0s"));
    put("audiences", json!("unchecked"));
    put(
        "forward",
        json!({ "token": "keep", "claims": { "iss": "x-credential-identifier" } }),
    );
    let empty = crate::document::Node {
        content: crate::document::Content::Map(Vec::new()),
        used: plugin.place,
        written: plugin.place,
    };
    let config = plugin.get("config").unwrap_or(At {
        node: &empty,
        path: format!("{}.config", plugin.path),
        ..plugin.clone()
    });
    let verified = config.texts("claims_to_verify").unwrap_or_default();
    const CLAIMS: &str = "`exp` has to be there and is always checked, `nbf` where it is there";
    match config.get("claims_to_verify") {
        Some(field) if verified.iter().any(|claim| claim == "exp") => {
            notes.taken(&field, format!("always so: {CLAIMS}"))
        }
        Some(field) => notes.differs(
            &field,
            format!("{CLAIMS}; Kong takes tokens without `exp`, and expired ones"),
        ),
        None => notes.absent(
            &config,
            "claims_to_verify",
            Outcome::Differs,
            format!("none: Kong takes tokens without `exp`, and expired ones; here {CLAIMS}"),
        ),
    }
    let mut places: Vec<Value> = Vec::new();
    for (name, kind, default) in [
        ("header_names", "header", &["authorization"][..]),
        ("cookie_names", "cookie", &[]),
        ("uri_param_names", "query", &["jwt"]),
    ] {
        let given = config.texts(name);
        match config.get(name) {
            Some(field) => notes.taken(&field, "jwt_auth.providers.*.token_from; two tokens in one request get 400, where Kong takes the first"),
            None => notes.absent(&config, name, Outcome::Taken, "jwt_auth.providers.*.token_from; two tokens in one request get 400, where Kong takes the first"),
        }
        let names =
            given.unwrap_or_else(|| default.iter().map(|name| (*name).to_owned()).collect());
        for place in names {
            places.push(match kind {
                "header" => json!({ "header": place, "scheme": "Bearer" }),
                kind => json!({ kind: place }),
            });
        }
    }
    put("token_from", places.into());
    let check = config.flag("run_on_preflight").unwrap_or(true);
    let _none = draft.jwt.insert(
        "cors_preflight".into(),
        json!(if check { "check" } else { "pass" }),
    );
    match config.get("run_on_preflight") {
        Some(field) => notes.taken(&field, "jwt_auth.cors_preflight"),
        None => notes.absent(&config, "run_on_preflight", Outcome::Taken, "true: jwt_auth.cors_preflight: check. A preflight that Kong's `cors` answers does not come so far"),
    }
    if let Some(field) = config.get("maximum_expiration") {
        match config.number("maximum_expiration") {
            Some(seconds) if seconds > 0 => {
                put("max_lifetime", json!(format!("{seconds}s")));
                notes.differs(&field, "jwt_auth.providers.*.max_lifetime: from `iat`, which has to be there; Kong counts from now");
            }
            _ => notes.taken(&field, "0: no bound"),
        }
    }
    if let Some(field) = config.get("realm") {
        if let Some(realm) = field.node.text() {
            let _none = draft.jwt.insert("realm".into(), json!(realm));
        }
        notes.taken(&field, "jwt_auth.realm");
    }
    if let Some(field) = config.get("anonymous") {
        match field.node.text() {
            Some(_) => notes.differs(
                &field,
                "require.optional, invalid: anonymous: there is no consumer, its headers are empty",
            ),
            None => notes.taken(&field, "null: a token is needed"),
        }
    }
    if let Some(field) = config.get("key_claim_name") {
        match field.node.text() {
            Some("iss") => notes.taken(&field, "jwt_auth.providers.*.issuer"),
            _ => notes.left(&field, "a provider is chosen by `iss` alone"),
        }
    }
    if let Some(field) = config.get("secret_is_base64") {
        if field.node.is_true() {
            put("secret_is_base64", json!(true));
        }
        notes.taken(&field, "jwt_auth.providers.*.keys[].secret.encoding");
    }
    notes.absent(
        &config,
        "X-Consumer-ID, X-Consumer-Username, X-Consumer-Custom-ID",
        Outcome::Left,
        "Kong writes who the consumer is; here headers hold claims: add them to `forward.claims`",
    );
    notes.absent(
        &config,
        "X-Credential-Identifier",
        Outcome::Taken,
        "jwt_auth.providers.*.forward.claims.iss",
    );
    common
}
