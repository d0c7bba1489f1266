//! The WASI functions that the gateways offer: those Rust's standard library links, and no file system behind them.
//!
//! Kong has these fifteen and nothing else; Envoy has a few more. A module that imports another one does not load.

use rand_chacha::rand_core::Rng;
use wasmtime::{Caller, Engine, FuncType, Linker, Val, ValType};

use crate::Dialect;
use crate::guest::{Guest, enter_wasi};
use crate::log::{LogLevel, LogLine};
use crate::state::{Refusal, State};

const SUCCESS: u32 = 0;
const EBADF: u32 = 8;
const EINVAL: u32 = 28;
const ENOSYS: u32 = 52;

const MODULE: &str = "wasi_snapshot_preview1";

/// The descriptors of a process without files: standard input, output and error.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;

/// Offered by both gateways and without use to a filter.
const REFUSED: &[(&str, &str, u32)] = &[
    ("fd_read", "iiii", EBADF),
    ("fd_close", "i", SUCCESS),
    ("fd_seek", "iIii", EBADF),
    ("fd_prestat_get", "ii", EBADF),
    ("fd_prestat_dir_name", "iii", EBADF),
    ("path_open", "iiiiiIIii", EBADF),
];

/// Offered by Envoy alone.
const ENVOY_ONLY: &[(&str, &str, u32)] = &[
    ("clock_res_get", "ii", ENOSYS),
    ("fd_fdstat_set_flags", "ii", ENOSYS),
    ("path_filestat_get", "iiiii", ENOSYS),
    ("poll_oneoff", "iiii", ENOSYS),
    ("sched_yield", "", SUCCESS),
];

/// Links the WASI functions of the dialect.
pub(crate) fn link(
    engine: &Engine,
    linker: &mut Linker<State>,
    dialect: Dialect,
) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |c: Caller<'_, State>, count: u32, size: u32| {
            enter_wasi(c, "environ_sizes_get", |g| {
                let variables = variables(g);
                let bytes = variables.iter().map(|line| line.len()).sum();
                g.write_u32(count, small(variables.len())?)?;
                g.write_u32(size, small(bytes)?)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_get",
        |c: Caller<'_, State>, pointers: u32, buffer: u32| {
            enter_wasi(c, "environ_get", |g| environ_get(g, pointers, buffer))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |c: Caller<'_, State>, count: u32, size: u32| {
            enter_wasi(c, "args_sizes_get", |g| {
                g.write_u32(count, 0)?;
                g.write_u32(size, 0)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        |c: Caller<'_, State>, _: u32, _: u32| enter_wasi(c, "args_get", |_| Ok(SUCCESS)),
    )?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |c: Caller<'_, State>, id: u32, _: u64, at: u32| {
            enter_wasi(c, "clock_time_get", |g| {
                // Wall clock and monotonic clock are one: the host's.
                if id > 1 {
                    return Ok(EINVAL);
                }
                let now = g.shared().clock;
                g.write_u64(at, now)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "random_get",
        |c: Caller<'_, State>, at: u32, length: u32| {
            enter_wasi(c, "random_get", |g| {
                let mut bytes = vec![0; length as usize];
                g.shared().entropy.fill_bytes(&mut bytes);
                g.write(at, &bytes)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |c: Caller<'_, State>, fd: u32, vectors: u32, count: u32, written: u32| {
            enter_wasi(c, "fd_write", |g| fd_write(g, fd, vectors, count, written))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |c: Caller<'_, State>, fd: u32, at: u32| {
            enter_wasi(c, "fd_fdstat_get", |g| {
                // Kong knows of no descriptor at all.
                if fd > STDERR || g.dialect() == Dialect::Kong {
                    return Ok(EBADF);
                }
                // A character device with the right to write, and nothing else.
                let mut stat = [0; 24];
                stat[0] = 2;
                stat[8] = 64;
                g.write(at, &stat)?;
                Ok(SUCCESS)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |c: Caller<'_, State>, code: u32| -> wasmtime::Result<()> {
            enter_wasi(c, "proc_exit", |_| {
                Err(Refusal::Trap(format!("proc_exit({code})")))
            })
            .map(|_| ())
        },
    )?;
    for (name, parameters, errno) in REFUSED {
        refuse(engine, linker, name, parameters, *errno)?;
    }
    if dialect == Dialect::Envoy {
        for (name, parameters, errno) in ENVOY_ONLY {
            refuse(engine, linker, name, parameters, *errno)?;
        }
    }
    Ok(())
}

fn environ_get(guest: &mut Guest<'_>, pointers: u32, buffer: u32) -> Result<u32, Refusal> {
    let mut pointer_at = pointers;
    let mut at = buffer;
    for line in variables(guest) {
        guest.write_u32(pointer_at, at)?;
        guest.write(at, &line)?;
        pointer_at = pointer_at.wrapping_add(4);
        at = at.wrapping_add(small(line.len())?);
    }
    Ok(SUCCESS)
}

/// What a filter prints, such as a panic's message, ends up in the gateway's log.
fn fd_write(
    guest: &mut Guest<'_>,
    fd: u32,
    vectors: u32,
    count: u32,
    written: u32,
) -> Result<u32, Refusal> {
    let level = match fd {
        STDOUT => LogLevel::Info,
        STDERR => LogLevel::Error,
        _ => return Ok(EBADF),
    };
    let mut text = Vec::new();
    for i in 0..count {
        let vector = guest.read(vectors.wrapping_add(i.wrapping_mul(8)), 8)?;
        let (at, length) = vector.split_at(4);
        text.extend(guest.read(word(at), word(length))?);
    }
    let length = small(text.len())?;
    let worker = guest.state().worker;
    let text = String::from_utf8_lossy(&text)
        .trim_end_matches('\n')
        .to_owned();
    guest.shared().logs.push(LogLine {
        level,
        text,
        worker,
        from_host: false,
    });
    guest.write_u32(written, length)?;
    Ok(SUCCESS)
}

/// The environment, each variable as `NAME=value` with a zero byte.
fn variables(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let environment = &guest.shared().environment;
    environment
        .iter()
        .map(|(name, value)| format!("{name}={value}\0").into_bytes())
        .collect()
}

fn refuse(
    engine: &Engine,
    linker: &mut Linker<State>,
    name: &'static str,
    parameters: &str,
    errno: u32,
) -> wasmtime::Result<()> {
    let parameters = parameters.bytes().map(|kind| {
        if kind == b'I' {
            ValType::I64
        } else {
            ValType::I32
        }
    });
    let kind = FuncType::new(engine, parameters, [ValType::I32]);
    linker.func_new(MODULE, name, kind, move |caller, _, results| {
        let errno = enter_wasi(caller, name, |_| Ok(errno))?;
        if let Some(result) = results.first_mut() {
            *result = Val::I32(errno as i32);
        }
        Ok(())
    })?;
    Ok(())
}

fn word(bytes: &[u8]) -> u32 {
    bytes.try_into().map(u32::from_le_bytes).unwrap_or(0)
}

fn small(length: usize) -> Result<u32, Refusal> {
    u32::try_from(length).map_err(|_| Refusal::Trap("too long for the module's memory".to_owned()))
}
