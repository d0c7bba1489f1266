//! Parts of keys that no request has there.

use super::{Around, is_at_work, is_of_kong, is_off, items};
use crate::chain::Kind;
use crate::configured::Configured;
use crate::document::{Node, Place};
use crate::finding::{Code, Finding};
use crate::routes::Requests;

/// Why a part is missing, and where else to look.
type Missing = (String, Option<(Place, String)>);

/// Parts of limits' keys that are missing in every request: such a limit counts nothing, or refuses everything.
pub(crate) fn missing_parts(configured: &Configured, around: Around<'_>) -> Vec<Finding> {
    if !is_at_work(configured, "rate_limit") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let limits = items(configured, "rate_limit", "limits").iter();
    for limit in limits.filter(|limit| !is_off(limit)) {
        for part in limit.get("key").map_or(&[][..], Node::items) {
            let Some(text) = part.text() else { continue };
            let Some((why, beside)) = missing(configured, around, limit, text) else {
                continue;
            };
            let what = match limit.get("when_key_missing").and_then(Node::text) {
                Some("deny") => "all requests are refused",
                Some("share") => "all requests share one count",
                _ => "nothing is counted",
            };
            findings.push(Finding {
                beside,
                ..Finding::new(
                    Code::MissingPart,
                    part.written,
                    format!("no request has {text:?} here, and so {what}: {why}"),
                )
            });
        }
    }
    findings
}

fn missing(
    configured: &Configured,
    around: Around<'_>,
    limit: &Node,
    part: &str,
) -> Option<Missing> {
    match part.split_once(':') {
        None if part == "route" => unnamed_routes(configured, around),
        Some(("header" | "header_line", name)) => {
            let name = name.to_ascii_lowercase();
            hidden_header(configured, &name).or_else(|| taken_token(configured, around, &name))
        }
        Some(("claim", claim)) => match configured.part("jwt_auth") {
            Some(jwt_auth) => unverified(jwt_auth, limit),
            None => unwritten(configured, around, claim),
        },
        _ => None,
    }
}

fn unnamed_routes(configured: &Configured, around: Around<'_>) -> Option<Missing> {
    let routes = around.routes(configured)?;
    let first = routes.first()?;
    routes.iter().all(|route| route.name.is_none()).then(|| {
        let beside = (first.place, "this route, for one".to_owned());
        ("none of the routes has a `name`".to_owned(), Some(beside))
    })
}

/// Headers that Envoy takes out of each request before any filter, and those of its own, which it takes out of those of
/// strangers: seen on Envoy 1.40.
fn hidden_header(configured: &Configured, header: &str) -> Option<Missing> {
    const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "transfer-encoding"];
    const OWN: [&str; 16] = [
        "x-envoy-decorator-operation",
        "x-envoy-downstream-service-cluster",
        "x-envoy-downstream-service-node",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-force-trace",
        "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-internal",
        "x-envoy-ip-tags",
        "x-envoy-max-retries",
        "x-envoy-original-host",
        "x-envoy-original-path",
        "x-envoy-retry-grpc-on",
        "x-envoy-retry-on",
        "x-envoy-upstream-alt-stat-name",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-rq-timeout-ms",
    ];
    let manager = configured.manager?;
    let (why, where_it_is) = if header == "x-forwarded-client-cert" && manager.hides_certificates {
        let why = "Envoy takes this header away; expected `forward_client_cert_details` in the connection manager";
        (why, "it is missing here")
    } else if OF_CONNECTIONS.contains(&header) {
        (
            "Envoy takes this header away, which is a connection's and no request's",
            "in this connection manager",
        )
    } else if OWN.contains(&header) && manager.hides_own_headers {
        let why = "Envoy takes this header away, unless a client's address is one of `internal_address_config`";
        (why, "it is missing here")
    } else {
        return None;
    };
    Some((
        why.to_owned(),
        Some((manager.place, where_it_is.to_owned())),
    ))
}

/// The header of a token, which a `jwt_auth` before this filter takes out.
fn taken_token(configured: &Configured, around: Around<'_>, header: &str) -> Option<Missing> {
    let own = configured.link?;
    let mut before = around.in_chain(configured).filter(|other| {
        other.filter.name == "jwt_auth" && other.link < Some(own) && is_enforced(&other.config)
    });
    let jwt_auth = before.find(|other| takes(&other.config, header))?;
    let beside = (jwt_auth.place, "this filter".to_owned());
    let why = "`jwt_auth` before it takes the token out (`forward.token: strip`)";
    Some((why.to_owned(), Some(beside)))
}

fn is_enforced(plugin: &Node) -> bool {
    plugin.get("mode").and_then(Node::text).unwrap_or("enforce") == "enforce"
}

/// Whether each request that it lets pass has lost this header.
fn takes(jwt_auth: &Node, header: &str) -> bool {
    let providers = jwt_auth.get("providers").map_or(&[][..], Node::fields);
    let all_take = providers.iter().all(|provider| {
        let token = provider
            .value
            .at(&["forward", "token"])
            .and_then(Node::text);
        let from = provider.value.get("token_from");
        let is_there = match from.map_or(&[][..], Node::items) {
            [] => header == "authorization",
            [one] => one
                .get("header")
                .and_then(Node::text)
                .is_some_and(|name| name.eq_ignore_ascii_case(header)),
            _ => false,
        };
        is_there && token.unwrap_or("strip") == "strip"
    });
    let asks = |rule: &Node| {
        let require = rule.get("require");
        require.is_some_and(|require| require.get("optional").is_none())
    };
    let rules = jwt_auth.get("rules").map_or(&[][..], Node::items);
    !providers.is_empty() && all_take && rules.iter().all(asks)
}

/// A claim of a token that no rule has looked at for this limit's requests.
fn unverified(jwt_auth: &Node, limit: &Node) -> Option<Missing> {
    if is_off(jwt_auth) {
        let beside = (jwt_auth.get("mode")?.written, "here".to_owned());
        return Some((
            "`jwt_auth` is switched off, and looks at no token".to_owned(),
            Some(beside),
        ));
    }
    let of_match = |node: &Node| {
        let matches = node.get("match");
        matches.map_or_else(Requests::default, Requests::of_match)
    };
    let own = of_match(limit);
    let rules = jwt_auth.get("rules").map_or(&[][..], Node::items).iter();
    let near: Vec<&Node> = rules.filter(|rule| of_match(rule).meet(&own)).collect();
    let first = near.first()?;
    near.iter()
        .all(|rule| rule.get("require").is_none())
        .then(|| {
            let beside = (first.place(), "by this rule no token is looked at".to_owned());
            (
                "where its `match` holds, `jwt_auth` lets everybody pass without a look at their token".to_owned(),
                Some(beside),
            )
        })
}

/// A claim whose header no `jwt_auth` before this filter writes.
fn unwritten(configured: &Configured, around: Around<'_>, claim: &str) -> Option<Missing> {
    let headers = configured.config.get("claim_headers")?;
    let header = headers.get(claim)?.text()?;
    let (chain, own) = (configured.chain.as_deref()?, configured.link?);
    let ours: Vec<&Configured> = around.in_chain(configured).collect();
    let mut links = chain.links.iter().enumerate();
    let is_known = links.all(|(index, link)| {
        link.kind != Kind::Any || ours.iter().any(|other| other.link == Some(index))
    });
    // On Kong its plugins, which come first, may write it.
    let is_known = is_known && !is_of_kong(configured);
    let verifies = |other: &&&Configured| other.filter.name == "jwt_auth";
    let jwt_auth = ours.iter().find(verifies).filter(|_| is_known)?;
    let mut before = ours
        .iter()
        .filter(verifies)
        .filter(|it| it.link < Some(own));
    let is_written = before.any(|other| writes(&other.config, header));
    (!is_written).then(|| {
        let why = format!(
            "no `jwt_auth` before it writes {header:?} (`forward.claims`), but for what a client may write there"
        );
        (why, Some((jwt_auth.place, "this filter".to_owned())))
    })
}

fn writes(jwt_auth: &Node, header: &str) -> bool {
    let providers = jwt_auth.get("providers").map_or(&[][..], Node::fields);
    providers.iter().any(|provider| {
        let claims = provider.value.at(&["forward", "claims"]);
        let claims = claims.map_or(&[][..], Node::fields).iter();
        let mut headers = claims.filter_map(|claim| claim.value.text());
        headers.any(|name| name.eq_ignore_ascii_case(header))
    })
}
