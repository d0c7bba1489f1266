//! Small filters in the text format: each callback is a list of host calls whose results it logs.

use std::fmt::Write;

use crate::{Dialect, Exchange, Host, HostBuilder, Module, Request};

/// Where host calls put the address and length of what they return, a version, and other numbers.
pub(crate) const VALUE_AT: u32 = 16;
pub(crate) const LENGTH_AT: u32 = 20;
pub(crate) const NUMBER_AT: u32 = 24;

/// Header maps of the ABI.
pub(crate) const REQUEST: u32 = 0;
pub(crate) const RESPONSE: u32 = 2;
pub(crate) const CALL_RESPONSE: u32 = 6;

const HOSTCALLS: &[(&str, &str)] = &[
    ("proxy_log", "i32 i32 i32"),
    ("proxy_get_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_get_header_map_pairs", "i32 i32 i32"),
    ("proxy_set_header_map_pairs", "i32 i32 i32"),
    ("proxy_replace_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_add_header_map_value", "i32 i32 i32 i32 i32"),
    ("proxy_remove_header_map_value", "i32 i32 i32"),
    ("proxy_get_property", "i32 i32 i32 i32"),
    ("proxy_get_shared_data", "i32 i32 i32 i32 i32"),
    ("proxy_set_shared_data", "i32 i32 i32 i32 i32"),
    ("proxy_get_buffer_bytes", "i32 i32 i32 i32 i32"),
    ("proxy_set_tick_period_milliseconds", "i32"),
    ("proxy_set_effective_context", "i32"),
    ("proxy_get_current_time_nanoseconds", "i32"),
    ("proxy_continue_stream", "i32"),
    (
        "proxy_send_local_response",
        "i32 i32 i32 i32 i32 i32 i32 i32",
    ),
    ("proxy_http_call", "i32 i32 i32 i32 i32 i32 i32 i32 i32 i32"),
    ("proxy_define_metric", "i32 i32 i32 i32"),
    ("proxy_increment_metric", "i32 i64"),
    ("proxy_grpc_cancel", "i32"),
    ("proxy_call_foreign_function", "i32 i32 i32 i32 i32 i32"),
    ("proxy_resolve_shared_queue", "i32 i32 i32 i32 i32"),
    ("proxy_done", ""),
];

/// Callbacks: name, parameters, and the result if the test says nothing.
const CALLBACKS: &[(&str, usize, Option<u32>)] = &[
    ("proxy_on_context_create", 2, None),
    ("proxy_on_vm_start", 2, Some(1)),
    ("proxy_on_configure", 2, Some(1)),
    ("proxy_on_request_headers", 3, Some(0)),
    ("proxy_on_request_body", 3, Some(0)),
    ("proxy_on_response_headers", 3, Some(0)),
    ("proxy_on_response_body", 3, Some(0)),
    ("proxy_on_http_call_response", 5, None),
    ("proxy_on_tick", 1, None),
    ("proxy_on_done", 1, Some(1)),
    ("proxy_on_log", 1, None),
    ("proxy_on_delete", 1, None),
];

/// A filter under construction. The callbacks that Kong needs are there from the start.
#[derive(Clone, Default)]
pub(crate) struct Filter {
    data: Vec<u8>,
    bodies: Vec<(String, String)>,
    imports: String,
    functions: String,
}

impl Filter {
    pub(crate) fn new() -> Filter {
        let filter = Filter::default();
        filter
            .on("proxy_on_context_create", "")
            .on("proxy_on_vm_start", "")
            .on("proxy_on_configure", "")
            .on("proxy_on_request_headers", "")
            .on("proxy_on_request_body", "")
            .on("proxy_on_response_headers", "")
            .on("proxy_on_response_body", "")
            .on("proxy_on_done", "")
            .on("proxy_on_log", "")
            .on("proxy_on_delete", "")
    }

    /// The body of a callback; `(local.get 0)` is the context.
    pub(crate) fn on(mut self, callback: &str, body: &str) -> Filter {
        self.bodies.retain(|(known, _)| known != callback);
        self.bodies.push((callback.to_owned(), body.to_owned()));
        self
    }

    pub(crate) fn without(mut self, callback: &str) -> Filter {
        self.bodies.retain(|(known, _)| known != callback);
        self
    }

    /// A callback that logs its own name.
    pub(crate) fn on_logs(mut self, callback: &str) -> Filter {
        let body = self.log(callback);
        self.on(callback, &body)
    }

    /// Another import, in the text format.
    pub(crate) fn import(mut self, module: &str, name: &str, kind: &str) -> Filter {
        let _ = writeln!(
            self.imports,
            "(import \"{module}\" \"{name}\" (func ${name} {kind}))"
        );
        self
    }

    /// Another function or export.
    pub(crate) fn function(mut self, text: &str) -> Filter {
        self.functions.push_str(text);
        self
    }

    /// `(i32.const at) (i32.const length)` of bytes in the module's memory.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> String {
        let at = 4096 + self.data.len();
        self.data.extend_from_slice(bytes);
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn log(&mut self, text: &str) -> String {
        let text = self.text(text);
        format!("(drop (call $proxy_log (i32.const 2) {text}))")
    }

    /// Logs a header's value, or the status of asking for it.
    pub(crate) fn show_header(&mut self, map: u32, name: &str) -> String {
        let name = self.text(name);
        show(&format!(
            "(call $proxy_get_header_map_value (i32.const {map}) {name} {OUT})"
        ))
    }

    pub(crate) fn show_property(&mut self, path: &str) -> String {
        let path = self.text(&path.replace('.', "\0"));
        show(&format!("(call $proxy_get_property {path} {OUT})"))
    }

    pub(crate) fn show_shared(&mut self, key: &str) -> String {
        let key = self.text(key);
        show(&format!(
            "(call $proxy_get_shared_data {key} {OUT} (i32.const {NUMBER_AT}))"
        ))
    }

    /// Writes to shared data and logs the status.
    pub(crate) fn set_shared(&mut self, key: &str, value: &str, cas: u32) -> String {
        let (key, value) = (self.text(key), self.text(value));
        let cas = cas as i32;
        status(&format!(
            "(call $proxy_set_shared_data {key} {value} (i32.const {cas}))"
        ))
    }

    /// `how` is `add` or `replace`; logs the status.
    pub(crate) fn set_header(&mut self, how: &str, map: u32, name: &str, value: &str) -> String {
        let (name, value) = (self.text(name), self.text(value));
        status(&format!(
            "(call $proxy_{how}_header_map_value (i32.const {map}) {name} {value})"
        ))
    }

    pub(crate) fn remove_header(&mut self, map: u32, name: &str) -> String {
        let name = self.text(name);
        status(&format!(
            "(call $proxy_remove_header_map_value (i32.const {map}) {name})"
        ))
    }

    /// Answers the request and logs the status of that call.
    pub(crate) fn local_reply(
        &mut self,
        code: u32,
        body: &str,
        headers: &[(&str, &str)],
        grpc: i32,
    ) -> String {
        let (body, headers) = (self.text(body), self.pairs(headers));
        status(&format!(
            "(call $proxy_send_local_response (i32.const {code}) (i32.const 0) (i32.const 0) {body} {headers} (i32.const {grpc}))"
        ))
    }

    /// Dispatches a call, logs the status, and leaves the token at `NUMBER_AT`.
    pub(crate) fn http_call(&mut self, upstream: &str, headers: &[(&str, &str)]) -> String {
        let (upstream, headers) = (self.text(upstream), self.pairs(headers));
        let none = "(i32.const 0) (i32.const 0)";
        status(&format!(
            "(call $proxy_http_call {upstream} {headers} {none} {none} (i32.const 500) (i32.const {NUMBER_AT}))"
        ))
    }

    pub(crate) fn pairs(&mut self, pairs: &[(&str, &str)]) -> String {
        let pairs: Vec<(&str, &[u8])> = pairs
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let bytes = crate::headers::encode(&pairs);
        self.bytes(&bytes)
    }

    pub(crate) fn build(&self) -> Module {
        Module::from_bytes(self.wat().as_bytes()).expect("the filter compiles")
    }

    /// With executed instructions counted.
    pub(crate) fn build_metered(&self) -> Module {
        Module::compile(self.wat().as_bytes(), true).expect("the filter compiles")
    }

    pub(crate) fn start(&self, dialect: Dialect) -> Host {
        self.start_with(Host::builder(dialect))
    }

    pub(crate) fn start_with(&self, builder: HostBuilder) -> Host {
        let host = builder
            .build(&self.build(), b"{}")
            .expect("the filter starts");
        assert_eq!(host.open_door(0), None);
        host
    }

    fn wat(&self) -> String {
        let mut wat = String::from("(module\n");
        for (name, parameters) in HOSTCALLS {
            let _ = writeln!(
                wat,
                "(import \"env\" \"{name}\" (func ${name} (param {parameters}) (result i32)))"
            );
        }
        wat.push_str(&self.imports);
        wat.push_str(RUNTIME);
        wat.push_str(&self.functions);
        for (name, body) in &self.bodies {
            let (_, parameters, result) = CALLBACKS
                .iter()
                .find(|(known, ..)| known == name)
                .expect("a known callback");
            let parameters = "i32 ".repeat(*parameters);
            let kind = if result.is_some() { "(result i32)" } else { "" };
            let result = result
                .map(|result| format!("(i32.const {result})"))
                .unwrap_or_default();
            let _ = writeln!(
                wat,
                "(func (export \"{name}\") (param {parameters}) {kind} {body} {result})"
            );
        }
        let escaped: String = self
            .data
            .iter()
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        let _ = write!(wat, "(data (i32.const 4096) \"{escaped}\"))");
        wat
    }
}

const OUT: &str = "(i32.const 16) (i32.const 20)";

/// Allocation that never frees, and functions that log a status in two digits or a returned value.
const RUNTIME: &str = r#"
(memory (export "memory") 4)
(global $free (mut i32) (i32.const 131072))
(func (export "proxy_abi_version_0_2_1"))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (global.get $free)
  (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get $size) (i32.const 15)) (i32.const -8)))))
(func $status (param $s i32)
  (i32.store8 (i32.const 64) (i32.add (i32.const 48) (i32.div_u (local.get $s) (i32.const 10))))
  (i32.store8 (i32.const 65) (i32.add (i32.const 48) (i32.rem_u (local.get $s) (i32.const 10))))
  (drop (call $proxy_log (i32.const 2) (i32.const 64) (i32.const 2))))
(func $show (param $s i32)
  (if (local.get $s)
    (then (call $status (local.get $s)))
    (else (drop (call $proxy_log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20)))))))
"#;

/// A filter with one callback.
pub(crate) fn on(callback: &str, build: impl FnOnce(&mut Filter) -> String) -> Filter {
    let mut filter = Filter::new();
    let body = build(&mut filter);
    filter.on(callback, &body)
}

/// Logs the status of a host call in two digits.
pub(crate) fn status(call: &str) -> String {
    format!("(call $status {call})")
}

/// Logs what a host call returned, or its status.
pub(crate) fn show(call: &str) -> String {
    format!("(i64.store (i32.const 16) (i64.const 0)) (call $show {call})")
}

/// Stops the request.
pub(crate) const PAUSE: &str = "(return (i32.const 1))";

/// What the filter logged.
pub(crate) fn said(host: &Host) -> Vec<&str> {
    host.logs()
        .iter()
        .filter(|line| !line.from_host)
        .map(|line| line.text.as_str())
        .collect()
}

/// What the host logged.
pub(crate) fn noted(host: &Host) -> Vec<&str> {
    host.logs()
        .iter()
        .filter(|line| line.from_host)
        .map(|line| line.text.as_str())
        .collect()
}

pub(crate) fn get(host: &mut Host) -> Exchange {
    host.request(0, Request::get("/"))
        .expect("the request passes")
}
