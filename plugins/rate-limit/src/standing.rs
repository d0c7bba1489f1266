//! Where a request stands with the limits that it matches, for whoever wants to see why it passes or not.

use std::cell::OnceCell;

use portcullis_policy::config::Claims;
use portcullis_policy::{Ports, Request, Span};

use crate::key::{Source, label};
use crate::limit::{Found, Limit};
use crate::policy::RateLimit;

/// Where a request stands with one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit's name.
    pub limit: String,
    /// The parts of its key, as they are configured.
    pub key: Vec<String>,
    /// What the request has of them, one after another: `…` for what may be a secret.
    pub value: String,
    /// What the log calls the key.
    pub caller: String,
    /// What a key may have in a window, or at a time.
    pub quota: u32,
    /// How long a window is; `None` where requests at a time are counted.
    pub window: Option<Span>,
    /// What is left of it.
    pub remaining: u32,
    /// When all of it is there again.
    pub reset: Span,
    /// When an ordinary request is admitted: zero where that is now.
    pub retry_after: Span,
}

impl RateLimit {
    /// Where a request stands with each limit that it matches and has a key for, in their order. It is charged nothing, and nothing
    /// is counted. `claims`: of its caller, where they are known. A limit whose record can't be read is left out.
    #[must_use]
    pub fn standings(
        &self,
        request: &Request<'_>,
        claims: Option<&dyn Claims>,
        ports: &Ports<'_>,
    ) -> Vec<Standing> {
        let source = Source {
            request,
            client_address: &self.client_address,
            claims,
            claim_headers: &self.claim_headers,
            address: &OnceCell::new(),
        };
        let limits = self.limits.iter().filter(|limit| limit.counts(request));
        limits
            .filter_map(|limit| self.standing(limit, &source, ports))
            .collect()
    }

    fn standing(
        &self,
        limit: &Limit,
        source: &Source<'_, '_>,
        ports: &Ports<'_>,
    ) -> Option<Standing> {
        let hash_key = self.hash_key(ports).ok()?;
        let (key, _) = limit.fingerprint(source, &hash_key).ok()?;
        let Found { left, .. } = limit.look_at(key, ports).ok()?;
        let rate = limit.rate();
        Some(Standing {
            limit: limit.name.clone(),
            key: limit.parts(),
            value: label(&limit.key, source),
            caller: key.caller(),
            quota: rate.quota,
            window: limit.permits.is_none().then_some(rate.window),
            remaining: left.remaining,
            reset: left.reset,
            retry_after: left.retry_after,
        })
    }
}
