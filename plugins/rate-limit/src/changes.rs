//! What is changed of a request that the limits have admitted, and of its answer.

use portcullis_policy::config::Mode;
use portcullis_policy::{Request, RequestEdits, Response, ResponseEdits};

use crate::body::Said;
use crate::limit::Charge;
use crate::policy::{Flow, RateLimit};
use crate::rewrite::{OF_BYTES, Rewrite, length};

/// Tells a client how many tokens each of its answers has at most, where that is fewer than it asked for.
const GRANTED: &str = "x-ratelimit-granted-tokens";

impl RateLimit {
    /// What is to be changed of a request that the limits have admitted. `bound`: how much of its body may pass.
    #[must_use]
    pub fn edits<'a>(
        &'a self,
        request: &Request<'_>,
        flow: &mut Flow,
        bound: Option<u64>,
    ) -> RequestEdits<'a> {
        let mut edits = RequestEdits::none();
        self.change_body(request, flow, &mut edits);
        let bodies = flow.bodies.as_ref();
        for limit in bodies.map_or(&[][..], |bodies| &bodies.elsewhere) {
            let limit = self.limits.get(*limit);
            if let Some(fallback) = limit.and_then(|limit| limit.on_exceeded.as_ref()) {
                fallback.take(&mut edits);
            }
        }
        if let Some(most) = bound {
            edits.limit_body(most);
        }
        if self
            .answers
            .as_ref()
            .is_some_and(|answers| answers.asks_for_identity)
            && self.is_settled(&flow.charges)
        {
            edits.set("accept-encoding", &b"identity"[..]);
        }
        edits
    }

    /// Whether the answer says what a request is charged by a limit that refuses anybody.
    fn is_settled(&self, charges: &[(usize, Charge)]) -> bool {
        charges.iter().any(|(index, charge)| {
            let limit = self.limits.get(*index);
            charge.is_reserved() && limit.is_some_and(|limit| limit.mode == Mode::Enforce)
        })
    }

    /// Changes the body of a request that is granted less than it asks for, or whose answer is to say what it used.
    fn change_body(&self, request: &Request<'_>, flow: &mut Flow, edits: &mut RequestEdits<'_>) {
        let Some(bodies) = &mut flow.bodies else {
            return;
        };
        // Nobody asks for it any more, and it would be kept for as long as the answer lasts.
        let Some(Said::This {
            document,
            may_change: true,
        }) = bodies.said.take()
        else {
            return;
        };
        let mut rewrite = Rewrite::of(&document);
        let granted = || {
            let charges = flow.charges.iter();
            charges.filter_map(|(index, charge)| {
                let limit = self.limits.get(*index)?;
                let granted = charge.granted()?;
                (limit.mode == Mode::Enforce).then_some((limit, granted))
            })
        };
        // The least that any of them grants, wherever it is said.
        bodies.granted = granted().map(|(_, granted)| granted).min();
        if let Some(least) = bodies.granted {
            for (limit, _) in granted() {
                rewrite.lower(limit.lowered(), least.get());
            }
        }
        if let Some(forces) = &self.forces
            && self.is_settled(&flow.charges)
        {
            bodies.is_asked_for_usage = forces.ask(request, &mut rewrite);
        }
        let splices = rewrite.splices();
        if splices.is_empty() {
            return;
        }
        if request.headers().get("content-length").is_some() {
            let length = length(document.bytes, &splices);
            edits.set("content-length", length.to_string().into_bytes());
        }
        edits.splice_body(splices);
    }

    /// What a client is told of what was changed in its request, and what is changed in its answer.
    pub(crate) fn response_changes(
        &self,
        flow: &Flow,
        response: &dyn Response,
    ) -> ResponseEdits<'static> {
        let mut edits = ResponseEdits::none();
        let Some(bodies) = &flow.bodies else {
            return edits;
        };
        if let Some(granted) = bodies.granted {
            edits.set(GRANTED, granted.to_string().into_bytes());
        }
        if bodies.extra.is_some() {
            let of_bytes = OF_BYTES.iter().chain(&["content-length", "etag"]);
            for name in of_bytes.filter(|name| response.header(name).is_some()) {
                edits.clear(*name);
            }
        }
        edits
    }
}
