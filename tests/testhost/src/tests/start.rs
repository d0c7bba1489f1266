//! What loads, what starts, and in which order.

use super::support::*;
use crate::{Dialect, End, Host, LogLevel, Request, Response, StartError};

fn refusal(filter: &Filter, dialect: Dialect) -> Option<String> {
    match Host::builder(dialect).build(&filter.build(), b"{}") {
        Err(StartError::NotLoaded { message }) => Some(message),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

#[test]
fn importing_the_log_level_does_not_load_on_kong() {
    let filter = Filter::new().import("env", "proxy_get_log_level", "(param i32) (result i32)");
    assert_eq!(refusal(&filter, Dialect::Envoy), None);
    assert!(
        refusal(&filter, Dialect::Kong)
            .unwrap()
            .contains("proxy_get_log_level")
    );
}

#[test]
fn kong_has_fifteen_wasi_functions() {
    let kinds = [
        ("environ_get", "(param i32 i32) (result i32)"),
        ("environ_sizes_get", "(param i32 i32) (result i32)"),
        ("args_get", "(param i32 i32) (result i32)"),
        ("args_sizes_get", "(param i32 i32) (result i32)"),
        ("clock_time_get", "(param i32 i64 i32) (result i32)"),
        ("random_get", "(param i32 i32) (result i32)"),
        ("fd_write", "(param i32 i32 i32 i32) (result i32)"),
        ("fd_read", "(param i32 i32 i32 i32) (result i32)"),
        ("fd_close", "(param i32) (result i32)"),
        ("fd_seek", "(param i32 i64 i32 i32) (result i32)"),
        ("fd_fdstat_get", "(param i32 i32) (result i32)"),
        ("fd_prestat_get", "(param i32 i32) (result i32)"),
        ("fd_prestat_dir_name", "(param i32 i32 i32) (result i32)"),
        ("proc_exit", "(param i32)"),
        (
            "path_open",
            "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)",
        ),
    ];
    let mut filter = Filter::new();
    for (name, kind) in kinds {
        filter = filter.import("wasi_snapshot_preview1", name, kind);
    }
    assert_eq!(refusal(&filter, Dialect::Kong), None);
    assert_eq!(refusal(&filter, Dialect::Envoy), None);
    for (name, kind) in [
        ("sched_yield", "(result i32)"),
        ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
        ("fd_fdstat_set_flags", "(param i32 i32) (result i32)"),
    ] {
        let filter = Filter::new().import("wasi_snapshot_preview1", name, kind);
        assert_eq!(refusal(&filter, Dialect::Envoy), None);
        assert!(refusal(&filter, Dialect::Kong).is_some(), "{name}");
    }
}

#[test]
fn kong_insists_on_three_exports() {
    for name in [
        "proxy_on_context_create",
        "proxy_on_vm_start",
        "proxy_on_configure",
    ] {
        let filter = Filter::new().without(name);
        assert_eq!(refusal(&filter, Dialect::Envoy), None);
        assert!(refusal(&filter, Dialect::Kong).unwrap().contains(name));
    }
}

#[test]
fn a_module_that_names_no_abi_does_not_load() {
    let module = crate::Module::from_bytes(b"(module (memory (export \"memory\") 1))").unwrap();
    for dialect in Dialect::BOTH {
        assert!(matches!(
            Host::builder(dialect).build(&module, b""),
            Err(StartError::NotLoaded { .. })
        ));
    }
}

#[test]
fn a_module_names_its_imports_and_exports() {
    let module = Filter::new().build();
    assert!(module.exports().contains(&"proxy_on_configure".to_owned()));
    assert!(
        module
            .imports()
            .contains(&("env".to_owned(), "proxy_log".to_owned()))
    );
    assert!(crate::Module::from_bytes(b"no module").is_err());
    assert!(crate::Module::from_file(std::path::Path::new("/no/such.wasm")).is_err());
}

#[test]
fn envoy_starts_the_vm_first_and_kong_configures_first() {
    let filter = Filter::new()
        .on_logs("proxy_on_vm_start")
        .on_logs("proxy_on_configure");
    assert_eq!(
        said(&filter.start(Dialect::Envoy)),
        ["proxy_on_vm_start", "proxy_on_configure"]
    );
    assert_eq!(
        said(&filter.start(Dialect::Kong)),
        ["proxy_on_configure", "proxy_on_vm_start"]
    );
}

#[test]
fn initialisation_runs_before_everything() {
    let mut filter = Filter::new();
    let first = filter.log("first");
    let filter = filter
        .on_logs("proxy_on_context_create")
        .function(&format!("(func (export \"_initialize\") {first})"));
    assert_eq!(
        said(&filter.start(Dialect::Envoy)),
        ["first", "proxy_on_context_create"]
    );
}

#[test]
fn a_rejected_configuration_carries_the_log() {
    let mut filter = Filter::new();
    let body = filter.log("limits[0].rate: 0 is not positive") + "(return (i32.const 0))";
    let module = filter.on("proxy_on_configure", &body).build();
    let started = |dialect| Host::builder(dialect).build(&module, b"{}");
    let kong = started(Dialect::Kong).unwrap();
    let refused = [
        started(Dialect::Envoy).unwrap_err(),
        kong.open_door(0).unwrap().clone(),
    ];
    for refused in refused {
        let StartError::Rejected { logs } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(logs.len(), 1);
        assert_eq!(logs[0].text, "limits[0].rate: 0 is not positive");
        assert_eq!(logs[0].level, LogLevel::Info);
    }
}

#[test]
fn kong_lets_everything_pass_where_a_filter_refused_its_configuration_or_trapped_in_it() {
    let refuses = Filter::new().on("proxy_on_request_headers", PAUSE);
    for body in ["(return (i32.const 0))", "unreachable"] {
        let module = refuses.clone().on("proxy_on_configure", body).build();
        let builder = Host::builder(Dialect::Kong).workers(2);
        let mut host = builder.build(&module, b"{}").unwrap();
        assert!(host.open_door(1).is_some());
        let request = Request::get("/").header("x-service-token", "forged");
        let mut exchange = host.request(1, request).unwrap();
        assert!(exchange.unfiltered);
        assert_eq!(
            exchange.upstream_header("x-service-token"),
            Some(&b"forged"[..])
        );
        host.respond(&mut exchange, Response::upstream(200))
            .unwrap();
        let finished = host.finish(exchange, End::Complete).unwrap();
        assert_eq!(finished.response.unwrap().status, 200);
        host.tick(1).unwrap();
    }
}

#[test]
fn a_kong_that_reloads_into_a_refused_configuration_opens_its_door_and_one_that_it_takes_closes_it()
{
    // Refuses a configuration of three bytes.
    let body = "(if (i32.eq (local.get 1) (i32.const 3)) (then (return (i32.const 0))))";
    let mut host = Filter::new()
        .on("proxy_on_configure", body)
        .start(Dialect::Kong);
    host.reload(b"bad").unwrap();
    assert!(get(&mut host).unfiltered);
    host.reload(b"good").unwrap();
    assert!(!get(&mut host).unfiltered);
}

#[test]
fn a_filter_can_tell_the_gateways_apart_while_it_is_configured() {
    let mut filter = Filter::new().import(
        "wasi_snapshot_preview1",
        "fd_fdstat_get",
        "(param i32 i32) (result i32)",
    );
    let known = filter.log("ok");
    let body =
        format!("(call $status (call $fd_fdstat_get (i32.const 1) (i32.const 200))) {known}");
    let filter = filter.on("proxy_on_configure", &body);
    assert_eq!(said(&filter.start(Dialect::Envoy)), ["00", "ok"]);
    assert_eq!(said(&filter.start(Dialect::Kong)), ["08", "ok"]);
}

#[test]
fn a_trap_during_the_start_is_told_with_the_log() {
    let filter = Filter::new().on("proxy_on_configure", "unreachable");
    match Host::builder(Dialect::Envoy).build(&filter.build(), b"{}") {
        Err(StartError::Trapped { message, logs, .. }) => {
            assert!(message.contains("unreachable"), "{message}");
            assert!(logs.iter().any(|line| line.from_host));
        }
        other => panic!("{other:?}"),
    }
}

/// Logs the plugin's configuration.
fn show_configuration(max: u32) -> String {
    show(&format!(
        "(call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const {max}) (i32.const {VALUE_AT}) (i32.const {LENGTH_AT}))"
    ))
}

#[test]
fn envoy_shows_the_configuration_only_while_it_configures() {
    let filter = Filter::new()
        .on("proxy_on_configure", &show_configuration(100))
        .on("proxy_on_request_headers", &show_configuration(3));
    for (dialect, later) in [(Dialect::Envoy, "01"), (Dialect::Kong, "{\"a")] {
        let mut host = Host::builder(dialect)
            .build(&filter.build(), b"{\"a\":1}")
            .unwrap();
        get(&mut host);
        assert_eq!(said(&host), ["{\"a\":1}", later]);
    }
}

#[test]
fn clock_environment_and_entropy_come_from_the_host() {
    let mut filter = Filter::new()
        .import(
            "wasi_snapshot_preview1",
            "environ_get",
            "(param i32 i32) (result i32)",
        )
        .import(
            "wasi_snapshot_preview1",
            "clock_time_get",
            "(param i32 i64 i32) (result i32)",
        )
        .import(
            "wasi_snapshot_preview1",
            "random_get",
            "(param i32 i32) (result i32)",
        );
    let same = filter.log("same clock");
    let log = |at, length| {
        format!("(drop (call $proxy_log (i32.const 2) (i32.const {at}) (i32.const {length})))")
    };
    let body = [
        "(drop (call $environ_get (i32.const 200) (i32.const 256)))".to_owned(),
        log(256, 9),
        "(drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 300)))".to_owned(),
        "(drop (call $proxy_get_current_time_nanoseconds (i32.const 308)))".to_owned(),
        "(if (i64.eq (i64.load (i32.const 300)) (i64.load (i32.const 308)))".to_owned(),
        format!("(then (if (i64.eq (i64.load (i32.const 300)) (i64.const 77)) (then {same}))))"),
        "(drop (call $random_get (i32.const 400) (i32.const 16)))".to_owned(),
        log(400, 16),
    ];
    let filter = filter.on("proxy_on_request_headers", &body.concat());
    let told = |seed| {
        let builder = Host::builder(Dialect::Kong).env("NAME", "abc").seed(seed);
        let mut host = filter.start_with(builder.now_unix_nanos(70));
        host.advance(std::time::Duration::from_nanos(7));
        get(&mut host);
        said(&host)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let one = told(1);
    assert_eq!(
        one.get(..2),
        Some(["NAME=abc\0".to_owned(), "same clock".to_owned()].as_slice())
    );
    assert_eq!(one, told(1));
    assert_ne!(one, told(2));
}

#[test]
fn what_a_filter_prints_is_logged() {
    let mut filter = Filter::new().import(
        "wasi_snapshot_preview1",
        "fd_write",
        "(param i32 i32 i32 i32) (result i32)",
    );
    let text = filter.text("panicked at src/lib.rs\n");
    let store =
        "(i32.store (i32.const 500) (i32.const 4096)) (i32.store (i32.const 504) (i32.const 23))";
    let write =
        "(drop (call $fd_write (i32.const 2) (i32.const 500) (i32.const 1) (i32.const 508)))";
    assert_eq!(text, "(i32.const 4096) (i32.const 23)");
    let mut host = filter
        .on("proxy_on_request_headers", &format!("{store}{write}"))
        .start(Dialect::Envoy);
    get(&mut host);
    assert_eq!(said(&host), ["panicked at src/lib.rs"]);
    assert_eq!(host.logs()[0].level, LogLevel::Error);
}
