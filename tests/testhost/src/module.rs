//! A compiled filter.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wasmtime::{Config, Engine, Linker};

use crate::Dialect;
use crate::state::State;

/// A compiled filter. Compiling takes far longer than starting: compile once, share it between hosts and threads; a
/// clone is a handle.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    module: wasmtime::Module,
    is_metered: bool,
}

impl Module {
    /// Compiles the `.wasm` file at this path.
    pub fn from_file(path: &Path) -> Result<Module> {
        Module::compile_file(path, false)
    }

    /// The same, so that [executed instructions](crate::Calls::instructions) are counted: it runs at half the speed.
    pub fn metered(path: &Path) -> Result<Module> {
        Module::compile_file(path, true)
    }

    /// Compiles a module in the binary format, or in the text format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Module> {
        Module::compile(bytes, false)
    }

    fn compile_file(path: &Path, is_metered: bool) -> Result<Module> {
        let bytes =
            std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        Module::compile(&bytes, is_metered)
            .with_context(|| format!("can't compile {}", path.display()))
    }

    pub(crate) fn compile(bytes: &[u8], is_metered: bool) -> Result<Module> {
        let made = || {
            let engine = Engine::new(Config::new().consume_fuel(is_metered))?;
            let module = wasmtime::Module::new(&engine, bytes)?;
            Ok(Module {
                engine,
                module,
                is_metered,
            })
        };
        made().map_err(|error: wasmtime::Error| anyhow!("{error:#}"))
    }

    /// The names it exports.
    pub fn exports(&self) -> Vec<String> {
        self.module
            .exports()
            .map(|export| export.name().to_owned())
            .collect()
    }

    /// What it imports: module and name.
    pub fn imports(&self) -> Vec<(String, String)> {
        let imports = self.module.imports();
        imports
            .map(|import| (import.module().to_owned(), import.name().to_owned()))
            .collect()
    }

    pub(crate) fn is_metered(&self) -> bool {
        self.is_metered
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn wasm(&self) -> &wasmtime::Module {
        &self.module
    }

    /// Everything the gateway offers to a module.
    pub(crate) fn linker(&self, dialect: Dialect) -> wasmtime::Result<Linker<State>> {
        let mut linker = Linker::new(&self.engine);
        crate::hostcalls::link(&self.engine, &mut linker, dialect)?;
        crate::wasi::link(&self.engine, &mut linker, dialect)?;
        Ok(linker)
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").finish_non_exhaustive()
    }
}
