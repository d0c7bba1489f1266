//! A host call at work: the module's memory, and what is counted and refused on the way.

use std::fmt;

use wasmtime::Caller;

use crate::Dialect;
use crate::calls::CallCount;
use crate::failures::Answer;
use crate::log::LogLevel;
use crate::state::{INTERNAL_FAILURE, INVALID_MEMORY_ACCESS, Refusal, Shared, State};

pub(crate) type Called = Result<(), Refusal>;

/// The module that made the call.
pub(crate) struct Guest<'a> {
    caller: Caller<'a, State>,
    cost: CallCount,
}

/// Runs a proxy-wasm host call: counts it, lets it fail on demand, and turns its refusal into a status or a trap.
pub(crate) fn enter(
    caller: Caller<'_, State>,
    name: &'static str,
    body: impl FnOnce(&mut Guest<'_>) -> Called,
) -> wasmtime::Result<u32> {
    let mut guest = Guest {
        caller,
        cost: CallCount {
            count: 1,
            ..CallCount::default()
        },
    };
    let answer = guest.shared().failures.answer(name);
    let result = match answer {
        Some(Answer::Status(status)) => Err(Refusal::Status(status)),
        Some(Answer::Trap) => Err(Refusal::Trap(format!("{name} failed on demand"))),
        None => body(&mut guest),
    };
    guest.account(name);
    match result {
        Ok(()) => Ok(crate::state::OK),
        Err(Refusal::Status(status)) => Ok(status),
        Err(Refusal::Trap(message)) => Err(wasmtime::Error::new(Halt {
            message,
            crash: false,
        })),
        Err(Refusal::Crash(message)) => Err(wasmtime::Error::new(Halt {
            message,
            crash: true,
        })),
    }
}

/// Runs a WASI function: counted, but never failed on demand, since its errors are not the filter's to handle.
pub(crate) fn enter_wasi(
    caller: Caller<'_, State>,
    name: &'static str,
    body: impl FnOnce(&mut Guest<'_>) -> Result<u32, Refusal>,
) -> wasmtime::Result<u32> {
    let mut guest = Guest {
        caller,
        cost: CallCount {
            count: 1,
            ..CallCount::default()
        },
    };
    let result = body(&mut guest);
    guest.account(name);
    match result {
        Ok(errno) => Ok(errno),
        // WASI's EFAULT, in place of the ABI's status.
        Err(Refusal::Status(_)) => Ok(21),
        Err(Refusal::Trap(message)) => Err(wasmtime::Error::new(Halt {
            message,
            crash: false,
        })),
        Err(Refusal::Crash(message)) => Err(wasmtime::Error::new(Halt {
            message,
            crash: true,
        })),
    }
}

/// A host call that ended the run.
#[derive(Debug)]
pub(crate) struct Halt {
    pub(crate) message: String,
    /// A real gateway would have lost the worker process.
    pub(crate) crash: bool,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Halt {}

impl Guest<'_> {
    pub(crate) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    pub(crate) fn shared(&mut self) -> &mut Shared {
        &mut self.caller.data_mut().shared
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.caller.data().shared.dialect
    }

    /// A line by the host itself.
    pub(crate) fn note(&mut self, level: LogLevel, text: String) {
        let worker = self.state().worker;
        self.shared().note(worker, level, text);
    }

    pub(crate) fn read(&mut self, at: u32, length: u32) -> Result<Vec<u8>, Refusal> {
        let Some(bytes) = self.slice(at, length).map(<[u8]>::to_vec) else {
            return Err(self.bad_memory());
        };
        self.cost.bytes_in = self.cost.bytes_in.saturating_add(u64::from(length));
        Ok(bytes)
    }

    pub(crate) fn read_text(&mut self, at: u32, length: u32) -> Result<String, Refusal> {
        Ok(String::from_utf8_lossy(&self.read(at, length)?).into_owned())
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Called {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Called {
        self.write(at, &value.to_le_bytes())
    }

    pub(crate) fn write(&mut self, at: u32, bytes: &[u8]) -> Called {
        let memory = self.state().memory;
        let written =
            memory.and_then(|memory| memory.write(&mut self.caller, at as usize, bytes).ok());
        written.ok_or_else(|| self.bad_memory())
    }

    /// Returns bytes in memory that the module allocates. Envoy allocates nothing for an empty value.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, length_at: u32) -> Called {
        let length = u32::try_from(bytes.len()).map_err(|_| self.bad_memory())?;
        let address = if length == 0 && self.dialect() == Dialect::Envoy {
            0
        } else {
            self.allocate(length)?
        };
        self.write(address, bytes)?;
        self.cost.bytes_out = self.cost.bytes_out.saturating_add(u64::from(length));
        self.write_u32(address_at, address)?;
        self.write_u32(length_at, length)
    }

    /// Returns bytes as a host does that has asked for less memory than it writes: what lies behind is overwritten.
    pub(crate) fn give_past_the_end(
        &mut self,
        bytes: &[u8],
        asked_for: usize,
        address_at: u32,
        length_at: u32,
    ) -> Called {
        let length = u32::try_from(asked_for).map_err(|_| self.bad_memory())?;
        let address = self.allocate(length)?;
        self.write(address, bytes)?;
        self.cost.bytes_out = self.cost.bytes_out.saturating_add(u64::from(length));
        self.write_u32(address_at, address)?;
        self.write_u32(length_at, length)
    }

    fn allocate(&mut self, length: u32) -> Result<u32, Refusal> {
        self.cost.with_value = 1;
        let Some(malloc) = self.state().malloc.clone() else {
            return Err(Refusal::Trap("the module exports no allocator".to_owned()));
        };
        let address = malloc.call(&mut self.caller, length).map_err(|error| {
            Refusal::Trap(format!("allocation in the module: {}", describe(&error)))
        })?;
        match (address, self.dialect()) {
            (0, Dialect::Envoy) => Err(Refusal::Status(INVALID_MEMORY_ACCESS)),
            (0, Dialect::Kong) => Err(Refusal::Status(INTERNAL_FAILURE)),
            _ => Ok(address),
        }
    }

    fn slice(&mut self, at: u32, length: u32) -> Option<&[u8]> {
        let memory = self.state().memory?;
        let end = (at as usize).checked_add(length as usize)?;
        memory.data(&self.caller).get(at as usize..end)
    }

    /// Envoy answers with a status; Kong traps.
    fn bad_memory(&self) -> Refusal {
        match self.dialect() {
            Dialect::Envoy => Refusal::Status(INVALID_MEMORY_ACCESS),
            Dialect::Kong => Refusal::Trap("invalid memory access".to_owned()),
        }
    }

    fn account(&mut self, name: &'static str) {
        let cost = self.cost;
        self.shared().calls.on_hostcall(name, cost);
        self.shared().recent.on_hostcall(name, cost);
    }
}

/// What went wrong, without the module's stack.
pub(crate) fn describe(error: &wasmtime::Error) -> String {
    match (
        error.downcast_ref::<Halt>(),
        error.downcast_ref::<wasmtime::Trap>(),
    ) {
        (Some(halt), _) => halt.message.clone(),
        (None, Some(trap)) => trap.to_string(),
        (None, None) => format!("{error:#}"),
    }
}
