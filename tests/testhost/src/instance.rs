//! One instance of the filter: a worker's, until a trap or a reload replaces it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use wasmtime::{Instance as WasmInstance, Store, Val};

use crate::Dialect;
use crate::guest::{Halt, describe};
use crate::log::LogLevel;
use crate::module::Module;
use crate::state::{Phase, Shared, State};
use crate::trap::Trap;

/// What a module must export to be taken for a proxy-wasm filter: one of these.
const ABI_VERSIONS: [&str; 3] = [
    "proxy_abi_version_0_1_0",
    "proxy_abi_version_0_2_0",
    "proxy_abi_version_0_2_1",
];
/// Kong does not load a filter without these, though it need not call them.
const KONG_NEEDS: [&str; 3] = [
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
];

/// Kong calls these for every request without looking whether the module exports them: where one is
/// missing, it follows a null pointer.
const KONG_CALLS_BLINDLY: [&str; 7] = [
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_response_headers",
    "proxy_on_response_body",
    "proxy_on_done",
    "proxy_on_log",
    "proxy_on_delete",
];

pub(crate) struct Instance {
    store: Store<State>,
    wasm: WasmInstance,
    next_context: u32,
    /// A trap ended it: nothing runs in it any more.
    pub(crate) dead: bool,
    /// It took the worker process with it: nginx starts a new one from the beginning.
    pub(crate) crashed: bool,
    /// A reload replaced it: it serves the requests it has and then ends.
    pub(crate) retired: bool,
}

/// Why an instance did not start.
pub(crate) enum Failure {
    NotLoaded(String),
    Rejected,
    Trapped(Trap),
}

/// Where an instance belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) index: usize,
}

impl Instance {
    /// Instantiates the module and runs its callbacks up to and including configuration.
    ///
    /// `restart`: the instance replaces one that a trap ended; Kong then leaves `proxy_on_vm_start` out.
    pub(crate) fn start(
        module: &Module,
        shared: &mut Shared,
        place: Place,
        configuration: Arc<[u8]>,
        restart: bool,
    ) -> Result<Instance, Failure> {
        let dialect = shared.dialect;
        check_exports(module, dialect)?;
        let root = root_id(dialect, &configuration);
        let size = u32::try_from(configuration.len()).unwrap_or(u32::MAX);
        let mut instance = Instance::load(module, shared, place, configuration, root)?;
        let initialize = ["_initialize", "_start"]
            .into_iter()
            .find(|name| instance.exports(name));
        if let Some(initialize) = initialize {
            instance.begin(shared, initialize, Phase::Create, &[])?;
        }
        instance.begin(shared, "proxy_on_context_create", Phase::Create, &[root, 0])?;
        // Kong configures first and starts the VM afterwards.
        let vm_start = |instance: &mut Instance, shared: &mut Shared| {
            instance.begin(shared, "proxy_on_vm_start", Phase::VmStart, &[root, 0])
        };
        if dialect == Dialect::Envoy {
            vm_start(&mut instance, shared)?;
        }
        instance.begin(
            shared,
            "proxy_on_configure",
            Phase::Configure,
            &[root, size],
        )?;
        if dialect == Dialect::Kong && !restart {
            vm_start(&mut instance, shared)?;
        }
        Ok(instance)
    }

    /// Runs a callback about a context, if the module exports it: its result, `None` if it does not.
    pub(crate) fn run(
        &mut self,
        shared: &mut Shared,
        callback: &'static str,
        phase: Phase,
        context: u32,
        arguments: &[u32],
    ) -> Result<Option<u32>, Trap> {
        let worker = self.state().worker;
        if self.dead {
            return Err(Trap::new(
                callback,
                "the instance has trapped before",
                false,
            ));
        }
        let Some(function) = self.wasm.get_func(&mut self.store, callback) else {
            self.must_export(shared.dialect, callback)?;
            return Ok(None);
        };
        if callback.starts_with("proxy_") {
            shared.calls.on_callback(callback);
            shared.recent.on_callback(callback);
        }
        let state = self.store.data_mut();
        state.phase = phase;
        state.context = context;
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|argument| Val::I32(*argument as i32))
            .collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        self.refuel();
        mem::swap(shared, &mut self.store.data_mut().shared);
        let ran = function.call(&mut self.store, &arguments, &mut results);
        mem::swap(shared, &mut self.store.data_mut().shared);
        if let Some(executed) = self.executed() {
            shared.calls.on_instructions(callback, executed);
            shared.recent.on_instructions(callback, executed);
        }
        if let Err(error) = ran {
            self.dead = true;
            let (instance, message) = (self.state().instance, describe(&error));
            let crash = error.downcast_ref::<Halt>().is_some_and(|halt| halt.crash);
            self.crashed = crash;
            shared.pending.retain(|call| call.instance != instance);
            shared.note(worker, LogLevel::Critical, format!("{callback}: {message}"));
            return Err(Trap::new(callback, &message, crash));
        }
        Ok(Some(
            results
                .first()
                .and_then(Val::i32)
                .map_or(0, |result| result as u32),
        ))
    }

    /// What Kong does where it is about to call what the module does not export.
    pub(crate) fn must_export(
        &mut self,
        dialect: Dialect,
        callback: &'static str,
    ) -> Result<(), Trap> {
        let blind = dialect == Dialect::Kong && KONG_CALLS_BLINDLY.contains(&callback);
        if !blind || self.exports(callback) {
            return Ok(());
        }
        self.dead = true;
        self.crashed = true;
        Err(Trap::new(
            callback,
            "Kong calls it although it is not there",
            true,
        ))
    }

    fn refuel(&mut self) {
        // An error means that this module is not metered.
        let _ = self.store.set_fuel(u64::MAX);
    }

    /// Instructions executed since [`Instance::refuel`], of a module that is metered.
    fn executed(&self) -> Option<u64> {
        let left = self.store.get_fuel().ok()?;
        Some(u64::MAX - left)
    }

    pub(crate) fn state(&self) -> &State {
        self.store.data()
    }

    pub(crate) fn state_mut(&mut self) -> &mut State {
        self.store.data_mut()
    }

    pub(crate) fn new_context(&mut self) -> u32 {
        let context = self.next_context;
        self.next_context = self.next_context.wrapping_add(1);
        context
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.state()
            .memory
            .map_or(0, |memory| memory.data_size(&self.store))
    }

    fn load(
        module: &Module,
        shared: &mut Shared,
        place: Place,
        configuration: Arc<[u8]>,
        root: u32,
    ) -> Result<Instance, Failure> {
        let refused = |error: wasmtime::Error| Failure::NotLoaded(format!("{error:#}"));
        let linker = module.linker(shared.dialect).map_err(refused)?;
        let state = State {
            shared: Shared::new(shared.dialect),
            memory: None,
            malloc: None,
            worker: place.worker,
            instance: place.index,
            root,
            context: root,
            phase: Phase::Create,
            streams: BTreeMap::new(),
            configuration,
            tick_ms: 0,
            call_reply: None,
        };
        let mut store = Store::new(module.engine(), state);
        if module.is_metered() {
            store.set_fuel(u64::MAX).map_err(refused)?;
        }
        let wasm = linker
            .instantiate(&mut store, module.wasm())
            .map_err(refused)?;
        let memory = wasm.get_memory(&mut store, "memory");
        let malloc = ["malloc", "proxy_on_memory_allocate"]
            .into_iter()
            .find_map(|name| wasm.get_typed_func(&mut store, name).ok());
        store.data_mut().memory = memory;
        store.data_mut().malloc = malloc;
        // Kong counts streams from 1 beside a root whose number is a checksum; Envoy numbers all in one sequence.
        let next_context = match shared.dialect {
            Dialect::Envoy => root.wrapping_add(1),
            Dialect::Kong => 1,
        };
        Ok(Instance {
            store,
            wasm,
            next_context,
            dead: false,
            crashed: false,
            retired: false,
        })
    }

    /// A callback of the start; one that returns false has refused.
    fn begin(
        &mut self,
        shared: &mut Shared,
        callback: &'static str,
        phase: Phase,
        arguments: &[u32],
    ) -> Result<(), Failure> {
        let root = self.state().root;
        let answer = self
            .run(shared, callback, phase, root, arguments)
            .map_err(Failure::Trapped)?;
        let judged = matches!(phase, Phase::VmStart | Phase::Configure);
        if judged && answer == Some(0) {
            Err(Failure::Rejected)
        } else {
            Ok(())
        }
    }

    fn exports(&mut self, name: &str) -> bool {
        self.wasm.get_func(&mut self.store, name).is_some()
    }
}

fn check_exports(module: &Module, dialect: Dialect) -> Result<(), Failure> {
    let exports = module.exports();
    let has = |name: &str| exports.iter().any(|export| export == name);
    if !ABI_VERSIONS.iter().any(|name| has(name)) {
        return Err(Failure::NotLoaded(
            "no export names a known proxy-wasm ABI version".to_owned(),
        ));
    }
    let allocator = ["malloc", "proxy_on_memory_allocate"];
    if dialect == Dialect::Kong && !allocator.iter().any(|name| has(name)) {
        return Err(Failure::NotLoaded(
            "the filter exports no malloc".to_owned(),
        ));
    }
    match KONG_NEEDS
        .iter()
        .find(|name| dialect == Dialect::Kong && !has(name))
    {
        Some(name) => Err(Failure::NotLoaded(format!(
            "the filter does not export {name}"
        ))),
        None => Ok(()),
    }
}

/// Envoy's first context is 1. Kong's is a checksum of filter and configuration, so a large number as a rule.
fn root_id(dialect: Dialect, configuration: &[u8]) -> u32 {
    match dialect {
        Dialect::Envoy => 1,
        Dialect::Kong => crc32fast::hash(configuration) | 1 << 31,
    }
}
