//! The built modules: what they import, what they export, what they weigh, what they hold.

use std::collections::BTreeSet;

use portcullis_conformance::{filters, module};
use portcullis_testhost::Module;

const FILTERS: [&str; 5] = [
    "jwt_auth",
    "rate_limit",
    "circuit_breaker",
    "service_token",
    "edge",
];

/// What both hosts have. Kong's data plane knows 15 WASI functions; linking one that a host does
/// not have, or `proxy_get_log_level`, is a filter that does not load.
///
/// Those of the second part are the SDK's: its traits hold on to them although no filter calls them
/// (on Kong some of them trap, and the test host's Kong does so too).
const IMPORTS: [(&str, &str); 45] = [
    ("env", "proxy_continue_stream"),
    ("env", "proxy_define_metric"),
    ("env", "proxy_get_buffer_bytes"),
    ("env", "proxy_get_current_time_nanoseconds"),
    ("env", "proxy_get_header_map_pairs"),
    ("env", "proxy_get_header_map_value"),
    ("env", "proxy_get_property"),
    ("env", "proxy_get_shared_data"),
    ("env", "proxy_http_call"),
    ("env", "proxy_increment_metric"),
    ("env", "proxy_log"),
    ("env", "proxy_record_metric"),
    ("env", "proxy_remove_header_map_value"),
    ("env", "proxy_replace_header_map_value"),
    ("env", "proxy_send_local_response"),
    ("env", "proxy_set_effective_context"),
    ("env", "proxy_set_header_map_pairs"),
    ("env", "proxy_set_shared_data"),
    ("env", "proxy_set_tick_period_milliseconds"),
    ("wasi_snapshot_preview1", "clock_time_get"),
    ("wasi_snapshot_preview1", "environ_get"),
    ("wasi_snapshot_preview1", "environ_sizes_get"),
    ("wasi_snapshot_preview1", "fd_close"),
    ("wasi_snapshot_preview1", "fd_fdstat_get"),
    ("wasi_snapshot_preview1", "fd_prestat_get"),
    ("wasi_snapshot_preview1", "fd_seek"),
    ("wasi_snapshot_preview1", "fd_write"),
    ("wasi_snapshot_preview1", "proc_exit"),
    ("wasi_snapshot_preview1", "random_get"),
    // The SDK's.
    ("env", "proxy_add_header_map_value"),
    ("env", "proxy_call_foreign_function"),
    ("env", "proxy_close_stream"),
    ("env", "proxy_dequeue_shared_queue"),
    ("env", "proxy_done"),
    ("env", "proxy_enqueue_shared_queue"),
    ("env", "proxy_get_status"),
    ("env", "proxy_grpc_call"),
    ("env", "proxy_grpc_cancel"),
    ("env", "proxy_grpc_close"),
    ("env", "proxy_grpc_send"),
    ("env", "proxy_grpc_stream"),
    ("env", "proxy_register_shared_queue"),
    ("env", "proxy_resolve_shared_queue"),
    ("env", "proxy_set_buffer_bytes"),
    ("env", "proxy_set_property"),
];

const EXPORTS: [&str; 18] = [
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_done",
    "proxy_on_http_call_response",
    "proxy_on_log",
    "proxy_on_memory_allocate",
    "proxy_on_request_body",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_response_body",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

#[test]
fn every_import_is_one_that_both_hosts_have() {
    let known: BTreeSet<_> = IMPORTS
        .iter()
        .map(|(module, name)| (module.to_string(), name.to_string()))
        .collect();
    for name in FILTERS {
        let unknown: Vec<_> = module(name)
            .imports()
            .into_iter()
            .filter(|import| !known.contains(import))
            .collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}

#[test]
fn a_filter_exports_what_a_gateway_calls_and_nothing_else() {
    for name in FILTERS {
        let exports: BTreeSet<_> = module(name).exports().into_iter().collect();
        assert_eq!(
            exports,
            EXPORTS.iter().map(ToString::to_string).collect(),
            "{name}"
        );
    }
}

/// What a build for Envoy alone lacks of [`EXPORTS`].
const FOR_KONG: [&str; 3] = [
    "proxy_on_done",
    "proxy_on_response_body",
    "proxy_on_response_trailers",
];

#[test]
fn a_build_for_envoy_has_no_callback_for_each_chunk_of_an_answer() {
    for name in FILTERS {
        let path = filters().join("envoy").join(format!("{name}.wasm"));
        let exports: BTreeSet<_> = Module::from_file(&path)
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()))
            .exports()
            .into_iter()
            .collect();
        let expected = EXPORTS.iter().filter(|name| !FOR_KONG.contains(name));
        assert_eq!(
            exports,
            expected.map(ToString::to_string).collect(),
            "{name}"
        );
    }
}

#[test]
fn a_filter_weighs_no_more_than_it_did() {
    // A dependency that drags in a megabyte shows here.
    for (name, most) in [
        ("jwt_auth", 1_680),
        ("rate_limit", 1_380),
        ("circuit_breaker", 820),
        ("service_token", 680),
        ("edge", 2_930),
    ] {
        let size = std::fs::metadata(filters().join(format!("{name}.wasm")))
            .expect("a built filter")
            .len()
            / 1024;
        assert!(size <= most, "{name}.wasm: {size} KB");
    }
}
