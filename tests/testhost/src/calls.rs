//! What a filter costs: host calls, the bytes they move, and callbacks.

use std::collections::BTreeMap;

/// How often one host call was made and what it moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// Number of calls, failed ones included.
    pub count: u64,
    /// Those that re-entered the module to allocate a returned value: on Envoy the expensive kind.
    pub with_value: u64,
    /// Bytes the host read from the module: keys, values, maps, log text.
    pub bytes_in: u64,
    /// Bytes the host put into memory allocated in the module.
    pub bytes_out: u64,
}

/// Counters of host calls and callbacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    hostcalls: BTreeMap<&'static str, CallCount>,
    callbacks: BTreeMap<&'static str, u64>,
    instructions: BTreeMap<&'static str, u64>,
}

impl Calls {
    /// Every host call made, by name; WASI functions are listed with their own names.
    pub fn hostcalls(&self) -> &BTreeMap<&'static str, CallCount> {
        &self.hostcalls
    }

    /// One host call, such as `proxy_get_shared_data`.
    pub fn hostcall(&self, name: &str) -> CallCount {
        self.hostcalls.get(name).copied().unwrap_or_default()
    }

    /// Every callback that ran, by name, such as `proxy_on_request_headers`.
    pub fn callbacks(&self) -> &BTreeMap<&'static str, u64> {
        &self.callbacks
    }

    /// How often one callback ran. One that the module does not export never does.
    pub fn callback(&self, name: &str) -> u64 {
        self.callbacks.get(name).copied().unwrap_or(0)
    }

    /// Instructions that the module executed in each callback, by Wasmtime's fuel. There are none unless the module is
    /// [metered](crate::Module::metered).
    pub fn instructions(&self) -> &BTreeMap<&'static str, u64> {
        &self.instructions
    }

    /// proxy-wasm calls that returned bytes allocated in the module.
    pub fn value_calls(&self) -> u64 {
        self.proxy().map(|call| call.with_value).sum()
    }

    /// All other proxy-wasm calls.
    pub fn other_calls(&self) -> u64 {
        self.total_calls().saturating_sub(self.value_calls())
    }

    /// All proxy-wasm calls. WASI functions are not in it.
    pub fn total_calls(&self) -> u64 {
        self.proxy().map(|call| call.count).sum()
    }

    /// Bytes read from the module by proxy-wasm calls.
    pub fn bytes_in(&self) -> u64 {
        self.proxy().map(|call| call.bytes_in).sum()
    }

    /// Bytes given to the module by proxy-wasm calls.
    pub fn bytes_out(&self) -> u64 {
        self.proxy().map(|call| call.bytes_out).sum()
    }

    pub(crate) fn merge(&mut self, other: &Calls) {
        for (name, more) in &other.hostcalls {
            let call = self.hostcalls.entry(name).or_default();
            call.count += more.count;
            call.with_value += more.with_value;
            call.bytes_in += more.bytes_in;
            call.bytes_out += more.bytes_out;
        }
        for (name, more) in &other.callbacks {
            *self.callbacks.entry(name).or_default() += more;
        }
        for (name, more) in &other.instructions {
            self.on_instructions(name, *more);
        }
    }

    pub(crate) fn on_hostcall(&mut self, name: &'static str, cost: CallCount) {
        let call = self.hostcalls.entry(name).or_default();
        call.count += cost.count;
        call.with_value += cost.with_value;
        call.bytes_in += cost.bytes_in;
        call.bytes_out += cost.bytes_out;
    }

    pub(crate) fn on_callback(&mut self, name: &'static str) {
        *self.callbacks.entry(name).or_default() += 1;
    }

    pub(crate) fn on_instructions(&mut self, callback: &'static str, count: u64) {
        *self.instructions.entry(callback).or_default() += count;
    }

    fn proxy(&self) -> impl Iterator<Item = &CallCount> {
        self.hostcalls
            .iter()
            .filter(|(name, _)| name.starts_with("proxy_"))
            .map(|(_, call)| call)
    }
}
