//! The warm path by HTTP/2, and before an answer that is a stream.

use super::{Inputs, Part, Subject};
use crate::config::envoys::{self, Tokens};
use crate::config::nothing::Callbacks;
use crate::config::ours::{self, ENDLESS};
use crate::traffic::{Ask, STREAM_PATH};

pub(super) fn http2(inputs: &Inputs<'_>) -> Part {
    let part = Part::new("http2", "HTTP/2 from the client", "the bare gateway");
    chains(part, inputs, &inputs.ask().by_http2())
}

pub(super) fn streams(inputs: &Inputs<'_>) -> Part {
    let part = Part::new(
        "streams",
        "A streamed answer of 1,000 chunks",
        "the bare gateway",
    );
    let token = inputs.scene.token("RS256");
    chains(
        part,
        inputs,
        &Ask::get(STREAM_PATH).bearer(&token).streamed(),
    )
}

fn chains(mut part: Part, inputs: &Inputs<'_>, ask: &Ask) -> Part {
    let prefix = part.name;
    let subject =
        |name: &str, shown: &str| Subject::new(&format!("{prefix}_{name}"), shown, ask.clone());
    let (bare, native) = (format!("{prefix}_bare"), format!("{prefix}_native"));
    part.chain(inputs, subject("bare", "a bare gateway"), &[]);
    let filters = [
        envoys::local_ratelimit(ENDLESS, false),
        envoys::jwt_authn(Tokens::Cached),
        envoys::header_mutation(),
    ];
    part.chain(
        inputs,
        subject("native", "Envoy's native chain").over(&bare),
        &filters,
    );
    let nothing = subject("nothing", "a Wasm filter that does nothing").over(&bare);
    part.chain(inputs, nothing, &[inputs.nothing(Callbacks::All)]);
    let edge = subject("edge", "**`edge`**")
        .over(&bare)
        .against(&[&native]);
    part.chain(inputs, edge, &[inputs.edge()]);
    let shown = "**`edge`**, built for Envoy alone";
    let edge = subject("edge_envoy", shown).over(&bare).against(&[&native]);
    part.chain(inputs, edge, &[inputs.edge_for_envoy()]);
    let module = subject("module", "**`edge`** as native code").over(&bare);
    let filter = Inputs::native("edge", &ours::edge(ENDLESS));
    part.chain(inputs, module.against(&[&native]), &[filter]);
    let four = subject("four", "the four filters in a row")
        .over(&bare)
        .against(&[&native]);
    part.chain(inputs, four, &inputs.four());
    part
}
