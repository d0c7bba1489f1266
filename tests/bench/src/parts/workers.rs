//! One worker and two.

use super::{Inputs, Part, Subject};
use crate::config::envoys::{self, Tokens};
use crate::config::ours::{self, ENDLESS};

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let title = "Workers";
    let mut part = Part::new("workers", title, "a bare gateway of as many workers");
    for workers in [1, 2] {
        let name = |chain: &str| format!("{chain}_{workers}_workers");
        let noun = if workers == 1 { "worker" } else { "workers" };
        let shown = |chain: &str| format!("{chain}, {workers} {noun}");
        let subject = |chain: &str, shown: &str| Subject::new(&name(chain), shown, inputs.ask());
        let bare = subject("bare", &shown("a bare gateway"));
        part.chain(inputs, bare, &[]);
        let filters = [
            envoys::local_ratelimit(ENDLESS, false),
            envoys::jwt_authn(Tokens::Cached),
            envoys::header_mutation(),
        ];
        let native = subject("native", &shown("Envoy's native chain")).over(&name("bare"));
        part.chain(inputs, native, &filters);
        let edge = subject("edge", &shown("**`edge`**")).over(&name("bare"));
        part.chain(inputs, edge.against(&[&name("native")]), &[inputs.edge()]);
        // All requests have one key, which both workers count at.
        let module = subject("module", &shown("**`edge`** as native code")).over(&name("bare"));
        let filter = Inputs::native("edge", &ours::edge(ENDLESS));
        part.chain(inputs, module.against(&[&name("native")]), &[filter]);
        for gateway in part.gateways.iter_mut().rev().take(4) {
            gateway.workers = workers;
        }
    }
    part
}
