//! Kong's declarative files, and what `deck dump` writes.

mod acl;
mod consumers;
mod credential;
mod jwt;
mod layout;
mod others;
mod rate_limiting;
mod rate_limiting_advanced;
mod request_transformer;

use super::draft::Draft;
use super::notes::{At, Notes};
use layout::Layout;

/// Takes over what can be.
pub(super) fn take(root: At, draft: &mut Draft, notes: &mut Notes) {
    let layout = Layout::read(root, notes);
    jwt::take(&layout, draft, notes);
    acl::tell(&layout, draft, notes);
    rate_limiting::take(&layout, draft, notes);
    rate_limiting_advanced::take(&layout, draft, notes);
    request_transformer::take(&layout, draft, notes);
    others::tell(&layout, notes);
}
