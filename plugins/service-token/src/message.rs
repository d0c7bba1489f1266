//! A request as it goes on to the upstream: what a signature covers.

use portcullis_message_signature::{Message, canonical_authority};
use portcullis_policy::{HeaderEdit, Request, RequestEdits};

/// A request with the changes that are already decided.
pub(crate) struct Outgoing<'a, 'r, 'c> {
    request: &'a Request<'r>,
    changes: &'a RequestEdits<'c>,
}

impl<'a, 'r, 'c> Outgoing<'a, 'r, 'c> {
    pub(crate) const fn new(request: &'a Request<'r>, changes: &'a RequestEdits<'c>) -> Self {
        Self { request, changes }
    }
}

impl Message for Outgoing<'_, '_, '_> {
    fn method(&self) -> &str {
        self.request.method()
    }

    /// As the upstream receives it under `host`, if the gateway leaves that alone.
    fn authority(&self) -> Option<String> {
        let headers = self.request.headers();
        let host = match headers.single("host") {
            Ok(Some(host)) => host,
            Ok(None) => headers.single(":authority").ok().flatten()?,
            Err(_) => return None,
        };
        Some(canonical_authority(std::str::from_utf8(host).ok()?))
    }

    fn target(&self) -> &[u8] {
        self.changes.target().unwrap_or(self.request.target())
    }

    fn lines(&self, name: &str) -> Vec<&[u8]> {
        for edit in self.changes.headers().iter().rev() {
            match edit {
                HeaderEdit::Set { name: set, value } if set.eq_ignore_ascii_case(name) => {
                    return vec![value];
                }
                // On Kong it passes empty: better not covered than differently on each.
                HeaderEdit::Clear { name: cleared } if cleared.eq_ignore_ascii_case(name) => {
                    return Vec::new();
                }
                HeaderEdit::Set { .. } | HeaderEdit::Clear { .. } => {}
            }
        }
        self.request.headers().values(name).collect()
    }
}
