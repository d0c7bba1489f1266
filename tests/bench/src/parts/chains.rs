//! Chains of filters on the warm path, and each filter alone beside Envoy's own.

use super::{Inputs, Part, Subject};
use crate::config::envoys::{self, Tokens};
use crate::config::nothing::Callbacks;
use crate::config::ours::{self, ENDLESS, LimitHeaders};

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let mut part = Part::new(
        "chains",
        "Chains, and each filter alone",
        "the bare gateway",
    );
    let subject = |name: &str, shown: &str| Subject::new(name, shown, inputs.ask());
    part.chain(inputs, subject("bare", "a bare gateway"), &[]);
    let added = |name: &str, shown: &str| subject(name, shown).over("bare");
    chains(&mut part, inputs, added);
    alone(&mut part, inputs, added);
    part
}

fn chains(part: &mut Part, inputs: &Inputs<'_>, added: impl Fn(&str, &str) -> Subject) {
    let native = |tokens| {
        [
            envoys::local_ratelimit(ENDLESS, false),
            envoys::jwt_authn(tokens),
            envoys::header_mutation(),
        ]
    };
    let shown = "**Envoy's native chain**: `jwt_authn` with its token cache, `local_ratelimit` by address, `header_mutation`";
    part.chain(inputs, added("native", shown), &native(Tokens::Cached));
    let shown = "the same without the token cache";
    part.chain(
        inputs,
        added("native_uncached", shown),
        &native(Tokens::Uncached),
    );
    let edge = added("edge", "**`edge`**").against(&["native", "native_uncached"]);
    part.chain(inputs, edge, &[inputs.edge()]);
    let shown = "**`edge`**, built for Envoy alone";
    let edge = added("edge_envoy", shown).against(&["native", "native_uncached"]);
    part.chain(inputs, edge, &[inputs.edge_for_envoy()]);
    let module = added("module", "**`edge`** as native code");
    let module = module.against(&["native", "native_uncached"]);
    let filter = Inputs::native("edge", &ours::edge(ENDLESS));
    part.chain(inputs, module, &[filter]);
    let shown = "the same with what the native chain does: no headers of limits, no breaker";
    let like = added("module_like", shown).against(&["native", "native_uncached"]);
    let filter = Inputs::native("edge", &ours::edge_like_native(ENDLESS));
    part.chain(inputs, like, &[filter]);
    let four = added("four", "the four filters in a row").against(&["native", "native_uncached"]);
    part.chain(inputs, four, &inputs.four());
}

fn alone(part: &mut Part, inputs: &Inputs<'_>, added: impl Fn(&str, &str) -> Subject) {
    let nothing = added(
        "nothing",
        "a Wasm filter that does nothing, with the callbacks of ours",
    );
    part.chain(inputs, nothing, &[inputs.nothing(Callbacks::All)]);
    let heads = added(
        "nothing_heads",
        "the same with the callbacks for heads alone",
    );
    part.chain(inputs, heads, &[inputs.nothing(Callbacks::Heads)]);

    let jwt_authn = added("jwt_authn", "`jwt_authn` with its token cache");
    part.chain(inputs, jwt_authn, &[envoys::jwt_authn(Tokens::Cached)]);
    let jwt_auth = added("jwt_auth", "**`jwt_auth`**").against(&["jwt_authn", "nothing"]);
    part.chain(
        inputs,
        jwt_auth,
        &[inputs.wasm("jwt_auth", &ours::jwt_auth(0))],
    );
    let module = |name: &str| {
        added(
            &format!("module_{name}"),
            &format!("**`{name}`** as native code"),
        )
    };
    let filter = Inputs::native("jwt_auth", &ours::jwt_auth(0));
    part.chain(
        inputs,
        module("jwt_auth").against(&["jwt_authn"]),
        &[filter],
    );

    let plain = added("local_ratelimit", "`local_ratelimit` by address");
    part.chain(inputs, plain, &[envoys::local_ratelimit(ENDLESS, false)]);
    let told = added(
        "local_ratelimit_headers",
        "the same with `x-ratelimit` headers",
    );
    part.chain(inputs, told, &[envoys::local_ratelimit(ENDLESS, true)]);
    let limit = |headers| inputs.wasm("rate_limit", &ours::rate_limit(ENDLESS, headers));
    let others = ["local_ratelimit_headers", "local_ratelimit", "nothing"];
    let rate_limit =
        added("rate_limit", "**`rate_limit`**, both families of headers").against(&others);
    part.chain(inputs, rate_limit, &[limit(LimitHeaders::Both)]);
    let limited = module("rate_limit").against(&["local_ratelimit_headers", "local_ratelimit"]);
    let filter = Inputs::native("rate_limit", &ours::rate_limit(ENDLESS, LimitHeaders::Both));
    part.chain(inputs, limited, &[filter]);
    for (name, shown, headers, other) in [
        (
            "module_rate_limit_legacy",
            "the same, `headers: legacy`",
            LimitHeaders::Legacy,
            "local_ratelimit_headers",
        ),
        (
            "module_rate_limit_silent",
            "the same, `headers: none`",
            LimitHeaders::None,
            "local_ratelimit",
        ),
    ] {
        let filter = Inputs::native("rate_limit", &ours::rate_limit(ENDLESS, headers));
        part.chain(inputs, added(name, shown).against(&[other]), &[filter]);
    }
    let silent = added("rate_limit_silent", "`rate_limit`, `headers: none`");
    let silent = silent.against(&["local_ratelimit", "nothing"]);
    part.chain(inputs, silent, &[limit(LimitHeaders::None)]);

    let mutation = added("header_mutation", "`header_mutation`");
    part.chain(inputs, mutation, &[envoys::header_mutation()]);
    let injector = added("credential_injector", "`credential_injector`");
    let bootstrap = inputs
        .bootstrap()
        .forwarding(&[envoys::credential_injector()]);
    part.gateway(
        &injector.gateway,
        bootstrap.with_secret(envoys::credential()),
    );
    part.subjects.push(injector);
    let others = ["header_mutation", "credential_injector", "nothing"];
    let service_token = added("service_token", "**`service_token`**, static").against(&others);
    let filter = inputs.wasm("service_token", &ours::service_token());
    part.chain(inputs, service_token, &[filter]);

    let injecting = module("service_token").against(&["header_mutation", "credential_injector"]);
    let filter = Inputs::native("service_token", &ours::service_token());
    part.chain(inputs, injecting, &[filter]);

    let breaker = added("circuit_breaker", "**`circuit_breaker`**, closed").against(&["nothing"]);
    let filter = inputs.wasm("circuit_breaker", &ours::circuit_breaker(0));
    part.chain(inputs, breaker, &[filter]);
    let filter = Inputs::native("circuit_breaker", &ours::circuit_breaker(0));
    part.chain(inputs, module("circuit_breaker"), &[filter]);
}
