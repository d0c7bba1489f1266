//! Envoy's bootstraps, listeners, and filters by themselves.

mod credential_injector;
mod header_mutation;
mod jwt_authn;
mod jwt_provider;
mod layout;
mod local_ratelimit;
mod matcher;
mod outlier_detection;
mod ratelimit;

use super::draft::Draft;
use super::notes::{At, Notes, Outcome};
use crate::document::Node;
use layout::Layout;

/// Whether a document is one.
#[must_use]
pub(super) fn is_one(document: &Node) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| document.get(name).is_some());
    has(&[
        "static_resources",
        "resources",
        "filter_chains",
        "http_filters",
        "typed_config",
        "dynamic_resources",
    ])
}

/// Takes over what can be.
pub(super) fn take(root: At, descriptors: Option<&Node>, draft: &mut Draft, notes: &mut Notes) {
    let layout = Layout::read(&root);
    for filter in layout.of_kind("JwtAuthentication") {
        jwt_authn::take(&filter, draft, notes);
    }
    for filter in layout.of_kind("LocalRateLimit") {
        let before = draft.limits.len();
        local_ratelimit::take(&layout, &filter, draft, notes);
        if layout.stands_before(&filter, "JwtAuthentication") {
            let new = draft.limits.iter().skip(before);
            let new = new.filter_map(|limit| limit.get("name")?.as_str().map(str::to_owned));
            draft.before_auth.extend(new);
            notes.absent(
                &filter,
                "its place",
                Outcome::Taken,
                "before `jwt_authn`: rate_limit.before_auth",
            );
        }
    }
    for filter in layout.of_kind("RateLimit") {
        ratelimit::take(&layout, &filter, descriptors, draft, notes);
    }
    for filter in layout.of_kind("CredentialInjector") {
        credential_injector::take(&filter, draft, notes);
    }
    for filter in layout.of_kind("HeaderMutation") {
        header_mutation::take(&filter, draft, notes);
    }
    outlier_detection::take(&layout, draft, notes);
    layout.tell(notes);
}
