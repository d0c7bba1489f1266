//! A provider of `jwt_authn`: whose tokens, where they stand, and their keys.

use serde_json::{Map, Value, json};

use crate::import::notes::{At, Notes, Outcome};
use crate::import::secret;
use crate::import::value::{get, set};

/// What Envoy takes.
const ALGORITHMS: [&str; 10] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

/// The same here; `None`, with a note, where it can't be taken over.
pub(super) fn provider(at: &At, name: &str, notes: &mut Notes) -> Option<Value> {
    let Some(issuer) = at.text("issuer").filter(|issuer| !issuer.is_empty()) else {
        notes.left(
            at,
            "a provider needs an `issuer` here: it is chosen by `iss`",
        );
        return None;
    };
    let (keys, algorithms) = keys(at, name, notes)?;
    let mut provider = Map::new();
    let mut put = |name: &str, value: Value| drop(provider.insert(name.to_owned(), value));
    notes.taken_if(at, "issuer", "jwt_auth.providers.*.issuer");
    put("issuer", json!(issuer));
    put("keys", keys);
    put("algorithms", algorithms);
    match at.texts("audiences").filter(|list| !list.is_empty()) {
        Some(audiences) => {
            put("audiences", json!(audiences));
            if let Some(field) = at.get("audiences") {
                notes.differs(
                    &field,
                    "jwt_auth.providers.*.audiences: another audience gets 401, on Envoy 403",
                );
            }
        }
        None => {
            put("audiences", json!("unchecked"));
            put("claims", json!({ "iss": [issuer] }));
            notes.absent(
                at,
                "audiences",
                Outcome::Taken,
                "not looked at: audiences: unchecked, with claims.iss",
            );
        }
    }
    let skew = at.number("clock_skew_seconds").unwrap_or(60);
    put("leeway", json!(format!("{skew}s")));
    match at.get("clock_skew_seconds") {
        Some(field) => notes.taken(&field, "jwt_auth.providers.*.leeway"),
        None => notes.absent(at, "clock_skew_seconds", Outcome::Taken, "60: leeway: 60s"),
    }
    match at.get("require_expiration") {
        Some(field) if field.node.is_true() => notes.taken(&field, "always so"),
        Some(field) => notes.differs(&field, "a token without `exp` is refused here"),
        None => notes.absent(
            at,
            "require_expiration",
            Outcome::Differs,
            "false; a token without `exp` is refused here",
        ),
    }
    if let Some(field) = at.get("max_lifetime") {
        put("max_lifetime", json!(field.node.text().unwrap_or_default()));
        notes.taken(&field, "jwt_auth.providers.*.max_lifetime");
    }
    put("token_from", places(at, notes));
    put("forward", forward(at, notes));
    if let Some(field) = at.get("subjects") {
        match field
            .node
            .get("exact")
            .and_then(crate::document::Node::text)
        {
            Some(subject) => {
                put("claims", json!({ "iss": [issuer], "sub": [subject] }));
                notes.taken(&field, "jwt_auth.providers.*.claims.sub");
            }
            None => notes.left(
                &field,
                "a claim's values are whole, and no patterns: any subject passes",
            ),
        }
    }
    notes.left_if(
        at,
        &[
            "payload_in_metadata",
            "header_in_metadata",
            "failed_status_in_metadata",
            "normalize_payload_in_metadata",
        ],
        "claims are headers, and keys of limits; as native code `identity_metadata` writes them",
    );
    notes.left_if(
        at,
        &["jwt_cache_config"],
        "verified tokens are remembered by default (`cache`)",
    );
    Some(provider.into())
}

fn places(at: &At, notes: &mut Notes) -> Value {
    let mut places = Vec::new();
    for header in at.list("from_headers") {
        let name = header.text("name").unwrap_or_default();
        let prefix = header.text("value_prefix").unwrap_or_default().trim();
        places.push(match prefix {
            "" => json!({ "header": name }),
            prefix => json!({ "header": name, "scheme": prefix }),
        });
        notes.taken(&header, "jwt_auth.providers.*.token_from");
    }
    for (list, kind) in [("from_params", "query"), ("from_cookies", "cookie")] {
        places.extend(
            at.texts(list)
                .unwrap_or_default()
                .iter()
                .map(|name| json!({ kind: name })),
        );
        notes.taken_if(at, list, "jwt_auth.providers.*.token_from");
    }
    if places.is_empty() {
        notes.absent(
            at,
            "from_headers, from_params",
            Outcome::Taken,
            "`authorization` and the parameter `access_token`: token_from",
        );
        places = vec![
            json!({ "header": "authorization", "scheme": "Bearer" }),
            json!({ "query": "access_token" }),
        ];
    }
    places.into()
}

fn forward(at: &At, notes: &mut Notes) -> Value {
    let keeps = at.flag("forward").unwrap_or(false);
    let mut forward = json!({ "token": if keeps { "keep" } else { "strip" } });
    match at.get("forward") {
        Some(field) => notes.taken(&field, "jwt_auth.providers.*.forward.token"),
        None => notes.absent(at, "forward", Outcome::Taken, "false: forward.token: strip"),
    }
    if let Some(field) = at.get("forward_payload_header") {
        set(
            &mut forward,
            "payload_header",
            json!(field.node.text().unwrap_or_default()),
        );
        notes.taken(&field, "jwt_auth.providers.*.forward.payload_header");
    }
    if let Some(field) = at.get("pad_forward_payload_header") {
        match field.node.is_true() {
            true => notes.left(&field, "the payload is never padded"),
            false => notes.taken(&field, "never padded"),
        }
    }
    let mut claims = Map::new();
    for pair in at.list("claim_to_headers") {
        if let (Some(header), Some(claim)) = (pair.text("header_name"), pair.text("claim_name")) {
            let _none = claims.insert(claim.to_owned(), json!(header));
        }
        notes.differs(&pair, "jwt_auth.providers.*.forward.claims: a list is text here (`forward.lists`), on Envoy base64url");
    }
    if !claims.is_empty() {
        set(&mut forward, "claims", claims.into());
    }
    forward
}

/// The keys, and the algorithms that they serve.
fn keys(at: &At, name: &str, notes: &mut Notes) -> Option<(Value, Value)> {
    if let Some(remote) = at.get("remote_jwks") {
        let http = remote.get("http_uri")?;
        let uri = http.text("uri").unwrap_or_default();
        let (scheme, rest) = uri.split_once("://").unwrap_or(("https", uri));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let mut key = json!({ "upstream": http.text("cluster"), "authority": authority, "path": format!("/{path}"), "scheme": scheme });
        notes.taken(
            &http,
            "remote_jwks.upstream, .authority, .path and .timeout",
        );
        if let Some(timeout) = http.text("timeout") {
            set(&mut key, "timeout", json!(timeout));
        }
        if let Some(field) = remote.get("cache_duration") {
            set(
                &mut key,
                "refresh",
                json!(field.node.text().unwrap_or_default()),
            );
            notes.differs(&field, "remote_jwks.refresh: sets are fetched between requests, and no request waits for one");
        } else {
            notes.absent(
                &remote,
                "cache_duration",
                Outcome::Taken,
                "10 minutes, as `refresh`",
            );
        }
        notes.left_if(
            &remote,
            &["async_fetch"],
            "always so: once for all workers; `ready` says when the first set is there",
        );
        notes.left_if(
            &remote,
            &["retry_policy"],
            "it comes again after 1 s, 2 s, 4 s and so on",
        );
        notes.absent(
            at,
            "algorithms",
            Outcome::Taken,
            "whatever a key serves; take out what the issuer does not use",
        );
        return Some((json!([{ "remote_jwks": key }]), json!(ALGORITHMS)));
    }
    let inline = at.at(&["local_jwks", "inline_string"]);
    let read = inline
        .as_ref()
        .and_then(|at| serde_json::from_str::<Value>(at.node.text()?).ok());
    let (Some(inline), Some(key_set)) = (inline, read) else {
        notes.left(at, "a provider without `remote_jwks`, or with keys in another file: write its keys by hand");
        return None;
    };
    let (mut ours, mut public, mut algorithms) = (Vec::new(), Vec::new(), Vec::new());
    for jwk in get(&key_set, "keys").as_array().into_iter().flatten() {
        if get(jwk, "kty") == "oct" {
            let mut secret =
                secret::text_to_variable(notes, &inline, "", &format!("{name}_JWT_SECRET"));
            set(&mut secret, "encoding", json!("base64url"));
            let mut key = json!({ "secret": secret });
            if let Some(kid) = get(jwk, "kid").as_str() {
                set(&mut key, "kid", json!(kid));
            }
            ours.push(key);
        } else {
            public.push(jwk.clone());
        }
        let of: &[&str] = match (
            get(jwk, "alg").as_str(),
            get(jwk, "kty").as_str(),
            get(jwk, "crv").as_str(),
        ) {
            (Some(alg), _, _) => &[alg],
            (None, Some("oct"), _) => &["HS256", "HS384", "HS512"],
            (None, Some("EC"), Some("P-384")) => &["ES384"],
            (None, Some("EC"), Some("P-521")) => &["ES512"],
            (None, Some("EC"), _) => &["ES256"],
            (None, Some("OKP"), _) => &["EdDSA"],
            _ => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        };
        for alg in of.iter().map(|alg| json!(alg)) {
            if !algorithms.contains(&alg) {
                algorithms.push(alg);
            }
        }
    }
    if !public.is_empty() {
        ours.push(json!({ "jwks": { "keys": public } }));
    }
    notes.taken(
        &inline,
        "jwt_auth.providers.*.keys; secrets of it are variables: set each to the key's `k`",
    );
    Some((ours.into(), algorithms.into()))
}
