//! `jwt_authn`: providers and rules.

use crate::import::value::set;
use serde_json::{Value, json};

use super::jwt_provider::provider;
use super::layout::cover_frame;
use super::matcher::{is_all, matched};
use crate::import::draft::Draft;
use crate::import::notes::{At, Notes, Outcome};

/// Takes one of them over.
pub(super) fn take(filter: &At, draft: &mut Draft, notes: &mut Notes) {
    cover_frame(filter, notes);
    let Some(config) = filter.get("typed_config") else {
        return;
    };
    let mut names: Vec<(String, String)> = Vec::new();
    for provider_at in config
        .get("providers")
        .map(|at| at.children())
        .unwrap_or_default()
    {
        let theirs = provider_at
            .pointer
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .replace("~1", "/");
        let name = Draft::name(&theirs, |name| draft.providers.contains_key(name));
        if let Some(provider) = provider(&provider_at, &theirs, notes) {
            let _none = draft.providers.insert(name.clone(), provider);
            names.push((theirs, name));
        }
    }
    let mut is_whole = true;
    for rule in config.list("rules") {
        let matches = match rule.get("match") {
            Some(at) => matched(&at, notes),
            None => Some(json!({})),
        };
        let asked = match (rule.get("requires"), rule.get("requirement_name")) {
            (Some(requires), _) => requirement(&requires, &names, notes),
            (None, Some(name)) => {
                let named = config.at(&["requirement_map", name.node.text().unwrap_or_default()]);
                notes.taken(
                    &name,
                    "jwt_auth.rules[].require, as `requirement_map` has it",
                );
                named.and_then(|requires| requirement(&requires, &names, notes))
            }
            (None, None) => Some(json!({ "allow": "anyone" })),
        };
        let (Some(matches), Some(mut asked)) = (matches, asked) else {
            is_whole = false;
            continue;
        };
        if !is_all(&matches) {
            set(&mut asked, "match", matches);
        }
        draft.rules.push(asked);
    }
    if is_whole && !draft.providers.is_empty() {
        draft.replaced.push(filter.pointer.clone());
    } else {
        notes.absent(
            &config,
            "the filter",
            Outcome::Left,
            "a rule or a provider could not be taken over: a file of `--for envoy` keeps `jwt_authn` behind `edge`",
        );
    }
    match is_whole {
        // Behind one that matches everything nothing else can be.
        true if draft.rules.last().is_some_and(|rule| rule.get("match").is_none()) => {}
        true => {
            draft.rules.push(json!({ "allow": "anyone" }));
            notes.absent(&config, "no rule matches", Outcome::Taken, "the last rule: allow: anyone");
        }
        false => notes.absent(&config, "no rule matches", Outcome::Differs, "a request that no rule matches is refused with 403 (`no_rule`), since a rule could not be taken over: it must not pass"),
    }
    let bypass = config.flag("bypass_cors_preflight").unwrap_or(false);
    let _none = draft.jwt.insert(
        "cors_preflight".into(),
        json!(if bypass { "pass" } else { "check" }),
    );
    match config.get("bypass_cors_preflight") {
        Some(field) => notes.taken(&field, "jwt_auth.cors_preflight"),
        None => notes.absent(
            &config,
            "bypass_cors_preflight",
            Outcome::Taken,
            "false: jwt_auth.cors_preflight: check",
        ),
    }
    notes.taken_if(
        &config,
        "strip_failure_response",
        "always so: a refusal does not say why",
    );
    if let Some(field) = config.get("stat_prefix") {
        notes.left(&field, "metrics have names of their own");
    }
    notes.left_if(
        &config,
        &["filter_state_rules"],
        "rules go by host, path and method",
    );
}

fn requirement(at: &At, names: &[(String, String)], notes: &mut Notes) -> Option<Value> {
    let named = |name: Option<&str>| {
        let theirs = name?;
        names
            .iter()
            .find(|(known, _)| known == theirs)
            .map(|(_, ours)| ours.clone())
    };
    if let Some(name) = at.text("provider_name") {
        let ours = named(Some(name));
        return told(
            at,
            ours.map(|ours| json!({ "require": { "any_of": [ours] } })),
            "jwt_auth.rules[].require.any_of",
            notes,
        );
    }
    if let Some(both) = at.get("provider_and_audiences") {
        let audiences = both.texts("audiences").unwrap_or_default();
        let ours = named(both.text("provider_name"));
        let rule = ours
            .map(|ours| json!({ "require": { "any_of": [ours], "claims": { "aud": audiences } } }));
        return told(
            at,
            rule,
            "jwt_auth.rules[].require.any_of and .claims.aud, beside the provider's own audiences",
            notes,
        );
    }
    if at.get("allow_missing").is_some() || at.get("allow_missing_or_failed").is_some() {
        let all: Vec<&String> = names.iter().map(|(_, ours)| ours).collect();
        let mut optional = json!({ "any_of": all });
        if at.get("allow_missing_or_failed").is_some() {
            set(&mut optional, "invalid", json!("anonymous"));
        }
        let rule = (!all.is_empty()).then(|| json!({ "require": { "optional": optional } }));
        return told(
            at,
            rule,
            "jwt_auth.rules[].require.optional, of all providers",
            notes,
        );
    }
    let (word, list) = match (
        at.at(&["requires_any", "requirements"]),
        at.at(&["requires_all", "requirements"]),
    ) {
        (Some(list), _) => ("any_of", list),
        (None, Some(list)) => ("all_of", list),
        (None, None) => {
            notes.left(at, "this requirement is not known here; its rule is left out, and its requests are refused");
            return None;
        }
    };
    let items = list.items();
    let providers: Vec<String> = items
        .iter()
        .filter_map(|item| named(item.text("provider_name")))
        .collect();
    let has = |name: &str| items.iter().any(|item| item.get(name).is_some());
    let (missing, failed) = (has("allow_missing"), has("allow_missing_or_failed"));
    let extra = items
        .iter()
        .filter(|item| item.get("provider_name").is_none())
        .count();
    let is_plain = !providers.is_empty()
        && providers.len().saturating_add(extra) == items.len()
        && extra == usize::from(missing || failed);
    if !is_plain || (word == "all_of" && extra > 0) {
        notes.left(at, "requirements in one another, or of a provider that was not taken over; its rule is left out, and its requests are refused");
        return None;
    }
    let mut asked = json!({ word: providers });
    if failed {
        set(&mut asked, "invalid", json!("anonymous"));
        notes.differs(at, "require.optional, invalid: anonymous: a token that does not hold is taken out, on Envoy it goes on");
    } else {
        notes.differs(
            at,
            "jwt_auth.rules[].require; two tokens get 400 under `any_of`, where Envoy tries each",
        );
    }
    Some(match missing || failed {
        true => json!({ "require": { "optional": asked } }),
        false => json!({ "require": asked }),
    })
}

fn told(at: &At, rule: Option<Value>, what: &str, notes: &mut Notes) -> Option<Value> {
    match rule {
        Some(_) => notes.taken(at, what),
        None => notes.left(
            at,
            "its provider was not taken over; the rule is left out, and its requests are refused",
        ),
    }
    rule
}
