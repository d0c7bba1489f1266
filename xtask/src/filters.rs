//! The filters: what each is called, what it exports, how its metrics are labelled.

use schemars::{Schema, SchemaGenerator};

/// A label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A breaker's name.
    Breaker,
    /// A provider's name.
    Provider,
    /// The state that a breaker went to.
    To,
    /// A limit's name.
    Limit,
    /// Why a request was refused or a plugin failed.
    Reason,
    /// What became of a fetch.
    Result,
}

/// A filter.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// Its package, its `.wasm` file and what it is called in gateways.
    pub name: &'static str,
    /// The labels in its metrics' names, in the order in which they come there.
    pub labels: &'static [Label],
    /// Its configuration's schema, as schemars writes it.
    pub config: fn(SchemaGenerator) -> Schema,
}

/// What every filter exports, and nothing else: Envoy calls every callback that it finds, for every
/// request. Those for bodies, trailers, `done` and `log` stay in each filter all the same: Kong's
/// data plane calls them without looking whether they are there, and follows a null pointer where
/// they are not.
pub const EXPORTS: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
    "proxy_on_done",
    "proxy_on_log",
    "proxy_on_delete",
];

/// What only Kong must find: Envoy does without, and a stream of many chunks then costs a filter nothing for each of them.
pub const FOR_KONG: &[&str] = &[
    "proxy_on_done",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
];

/// How a filter knows whether responses' bodies are shown to it.
pub struct ShownResponses {
    /// What has to be exported for it.
    pub export: &'static str,
    /// What the byte that says so stands behind (`plugins/adapter/src/build.rs`).
    pub mark: &'static [u8],
}

/// How a filter knows whether responses' bodies are shown to it.
pub const SHOWN_RESPONSES: ShownResponses = ShownResponses {
    export: "proxy_on_response_body",
    mark: b"portcullis:shows-responses",
};

/// Exports of the adapter that stand in for one of the SDK's, and which: the SDK's own panics on
/// answers that it does not expect.
pub const REPLACED: &[(&str, &str)] = &[(
    "portcullis_on_http_call_response",
    "proxy_on_http_call_response",
)];

/// All filters, in the order of their requests.
pub const FILTERS: &[Filter] = &[
    Filter {
        name: "jwt_auth",
        labels: &[Label::Provider, Label::Reason, Label::Result],
        config: SchemaGenerator::into_root_schema_for::<portcullis_jwt_auth::Config>,
    },
    Filter {
        name: "rate_limit",
        labels: &[Label::Limit, Label::Reason],
        config: SchemaGenerator::into_root_schema_for::<portcullis_rate_limit::Config>,
    },
    Filter {
        name: "circuit_breaker",
        labels: &[Label::Breaker, Label::To, Label::Reason],
        config: SchemaGenerator::into_root_schema_for::<portcullis_circuit_breaker::Config>,
    },
    Filter {
        name: "service_token",
        labels: &[Label::Reason],
        config: SchemaGenerator::into_root_schema_for::<portcullis_service_token::Config>,
    },
    Filter {
        name: "edge",
        labels: &[
            Label::Breaker,
            Label::Provider,
            Label::To,
            Label::Limit,
            Label::Reason,
            Label::Result,
        ],
        config: SchemaGenerator::into_root_schema_for::<portcullis_edge::Config>,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edge_has_every_label_that_a_part_of_it_has() {
        let (edge, parts) = FILTERS.split_last().unwrap();
        assert_eq!(edge.name, "edge");
        for part in parts {
            assert!(
                part.labels.iter().all(|label| edge.labels.contains(label)),
                "{}",
                part.name
            );
        }
    }
}
