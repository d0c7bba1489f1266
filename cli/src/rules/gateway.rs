//! What the gateway around a filter makes of it.

use crate::configured::Configured;
use crate::document::Node;
use crate::filter::Taken;
use crate::finding::{Code, Finding};

/// Bodies that Envoy does not go on reading.
pub(crate) fn bodies_not_shown(configured: &Configured, taken: Taken) -> Option<Finding> {
    let wasm = configured.wasm?;
    (taken.reads_requests && !wasm.goes_on_reading).then(|| Finding {
        code: Code::BodiesNotShown,
        place: configured.place,
        message: format!(
            "{} waits for requests' bodies, and Envoy stops reading where a filter waits; expected \
             `allow_on_headers_stop_iteration: true` beside `root_id`",
            configured.filter.name
        ),
        beside: None,
    })
}

/// Limits by an address that clients choose.
pub(crate) fn chosen_addresses(configured: &Configured) -> Vec<Finding> {
    let Some(manager) = configured.manager.filter(|manager| !manager.knows_the_peer) else {
        return Vec::new();
    };
    let limits = configured
        .part("rate_limit")
        .and_then(|part| part.get("limits"));
    let limits = limits.map_or(&[][..], Node::items).iter();
    let keys = limits.flat_map(|limit| limit.get("key").map_or(&[][..], Node::items));
    let by_address = keys.filter(|key| key.text() == Some("client_address"));
    let finding = |key: &Node| {
        Finding {
        code: Code::ChosenAddress,
        place: key.written,
        message: "a client chooses the address that it is counted by: without `use_remote_address: true` Envoy takes it from \
                  x-forwarded-for"
            .to_owned(),
        beside: Some((manager.place, "it is missing in this connection manager".to_owned())),
    }
    };
    by_address.map(finding).collect()
}

/// Routes without the `jwt_auth` that their listener has.
pub(crate) fn open_routes(all: &[Configured]) -> Vec<Finding> {
    let place = |configured: &Configured| configured.manager.map(|manager| manager.place);
    let checks = |configured: &&Configured| configured.part("jwt_auth").is_some();
    let open = |route: &Configured| {
        let mut beside = all.iter().filter(|other| {
            let is_near = place(other).is_some() && place(other) == place(route);
            !other.is_of_route && is_near && other.name == route.name
        });
        let listener = beside.find(checks)?;
        Some(Finding {
            code: Code::OpenRoute,
            place: route.place,
            message: "no token is looked at here: a route's configuration takes the place of all of its listener's, and this one \
                      has no `jwt_auth`"
                .to_owned(),
            beside: Some((listener.place, "the listener's has one".to_owned())),
        })
    };
    let routes = all
        .iter()
        .filter(|route| route.is_of_route && !checks(route));
    routes.filter_map(open).collect()
}
