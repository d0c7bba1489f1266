//! A compiled filter.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use wasmtime::{Engine, Linker};

use crate::Dialect;
use crate::state::State;

/// A compiled filter. Compiling takes far longer than starting: compile once, share it between hosts and threads; a
/// clone is a handle.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    module: wasmtime::Module,
}

impl Module {
    /// Compiles the `.wasm` file at this path.
    pub fn from_file(path: &Path) -> Result<Module> {
        let bytes =
            std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        Module::from_bytes(&bytes).with_context(|| format!("can't compile {}", path.display()))
    }

    /// Compiles a module in the binary format, or in the text format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Module> {
        let engine = Engine::default();
        let module = wasmtime::Module::new(&engine, bytes).map_err(|error| anyhow!("{error:#}"))?;
        Ok(Module { engine, module })
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
