//! The proxy-wasm host calls, linked as the gateway in question offers them.
//!
//! Envoy has all of ABI 0.2.1; those that no filter here uses return `Unimplemented`. Kong names many that it does not
//! implement: they link, and trap when called. `proxy_get_log_level` is not among them with the parameters that the
//! SDKs declare, so that a module which imports it does not load.

mod basic;
mod callouts;
mod data;
mod maps;
mod requests;

use wasmtime::{Caller, Engine, FuncType, Linker, Val, ValType};

use crate::Dialect;
use crate::guest::enter;
use crate::state::{Refusal, State, UNIMPLEMENTED};

/// Calls that trap on Kong and that this Envoy does not implement, with the number of their parameters.
const UNSUPPORTED: &[(&str, usize)] = &[
    ("proxy_call_foreign_function", 6),
    ("proxy_close_stream", 1),
    ("proxy_done", 0),
    ("proxy_get_status", 3),
    ("proxy_grpc_call", 12),
    ("proxy_grpc_cancel", 1),
    ("proxy_grpc_close", 1),
    ("proxy_grpc_send", 4),
    ("proxy_grpc_stream", 9),
    ("proxy_resolve_shared_queue", 5),
];

/// Links every host call of the dialect.
pub(crate) fn link(
    engine: &Engine,
    linker: &mut Linker<State>,
    dialect: Dialect,
) -> wasmtime::Result<()> {
    link_logic(linker)?;
    link_maps(linker)?;
    link_data(linker)?;
    for (name, parameters) in UNSUPPORTED {
        unsupported(engine, linker, name, *parameters)?;
    }
    if dialect == Dialect::Envoy {
        let env = "env";
        linker.func_wrap(
            env,
            "proxy_get_log_level",
            |c: Caller<'_, State>, at: u32| {
                enter(c, "proxy_get_log_level", |g| basic::get_log_level(g, at))
            },
        )?;
    }
    Ok(())
}

fn link_logic(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let env = "env";
    linker.func_wrap(
        env,
        "proxy_log",
        |c: Caller<'_, State>, level: u32, at: u32, len: u32| {
            enter(c, "proxy_log", |g| basic::log(g, level, (at, len)))
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_current_time_nanoseconds",
        |c: Caller<'_, State>, at: u32| {
            enter(c, "proxy_get_current_time_nanoseconds", |g| {
                basic::get_time(g, at)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_tick_period_milliseconds",
        |c: Caller<'_, State>, period: u32| {
            enter(c, "proxy_set_tick_period_milliseconds", |g| {
                basic::set_tick_period(g, period)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_effective_context",
        |c: Caller<'_, State>, id: u32| {
            enter(c, "proxy_set_effective_context", |g| {
                basic::set_effective_context(g, id)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_buffer_bytes",
        |c: Caller<'_, State>, kind: u32, start: u32, max: u32, at: u32, len_at: u32| {
            enter(c, "proxy_get_buffer_bytes", |g| {
                basic::get_buffer(g, kind, start, max, (at, len_at))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_buffer_bytes",
        |c: Caller<'_, State>, kind: u32, start: u32, size: u32, at: u32, len: u32| {
            enter(c, "proxy_set_buffer_bytes", |g| {
                basic::set_buffer(g, kind, start, size, (at, len))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_continue_stream",
        |c: Caller<'_, State>, kind: u32| {
            enter(c, "proxy_continue_stream", |g| {
                requests::continue_stream(g, kind)
            })
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        env,
        "proxy_send_local_response",
        |c: Caller<'_, State>, status: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc: i32| {
            enter(c, "proxy_send_local_response", |g| {
                requests::send_local_response(g, status, (details, details_len), (body, body_len), (headers, headers_len), grpc)
            })
        },
    )?;
    #[rustfmt::skip]
    linker.func_wrap(
        env,
        "proxy_http_call",
        |c: Caller<'_, State>, upstream: u32, upstream_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32, _trailers: u32, _trailers_len: u32, timeout: u32, token_at: u32| {
            enter(c, "proxy_http_call", |g| {
                callouts::http_call(g, (upstream, upstream_len), (headers, headers_len), (body, body_len), timeout, token_at)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_property",
        |c: Caller<'_, State>, path: u32, path_len: u32, at: u32, len_at: u32| {
            enter(c, "proxy_get_property", |g| {
                requests::get_property(g, (path, path_len), (at, len_at))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_property",
        |c: Caller<'_, State>, path: u32, path_len: u32, at: u32, len: u32| {
            enter(c, "proxy_set_property", |g| {
                requests::set_property(g, (path, path_len), (at, len))
            })
        },
    )?;
    Ok(())
}

fn link_maps(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let env = "env";
    linker.func_wrap(
        env,
        "proxy_get_header_map_pairs",
        |c: Caller<'_, State>, map: u32, at: u32, len_at: u32| {
            enter(c, "proxy_get_header_map_pairs", |g| {
                maps::get_pairs(g, map, (at, len_at))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_header_map_pairs",
        |c: Caller<'_, State>, map: u32, at: u32, len: u32| {
            enter(c, "proxy_set_header_map_pairs", |g| {
                maps::set_pairs(g, map, (at, len))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_header_map_value",
        |c: Caller<'_, State>, map: u32, key: u32, key_len: u32, at: u32, len_at: u32| {
            enter(c, "proxy_get_header_map_value", |g| {
                maps::get_value(g, map, (key, key_len), (at, len_at))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_replace_header_map_value",
        |c: Caller<'_, State>, map: u32, key: u32, key_len: u32, at: u32, len: u32| {
            enter(c, "proxy_replace_header_map_value", |g| {
                maps::replace(g, map, (key, key_len), (at, len))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_add_header_map_value",
        |c: Caller<'_, State>, map: u32, key: u32, key_len: u32, at: u32, len: u32| {
            enter(c, "proxy_add_header_map_value", |g| {
                maps::add(g, map, (key, key_len), (at, len))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_remove_header_map_value",
        |c: Caller<'_, State>, map: u32, key: u32, key_len: u32| {
            enter(c, "proxy_remove_header_map_value", |g| {
                maps::remove(g, map, (key, key_len))
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_header_map_size",
        |c: Caller<'_, State>, map: u32, at: u32| {
            enter(c, "proxy_get_header_map_size", |g| maps::size(g, map, at))
        },
    )?;
    Ok(())
}

fn link_data(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let env = "env";
    linker.func_wrap(
        env,
        "proxy_get_shared_data",
        |c: Caller<'_, State>, key: u32, key_len: u32, at: u32, len_at: u32, cas_at: u32| {
            enter(c, "proxy_get_shared_data", |g| {
                data::get(g, (key, key_len), (at, len_at), cas_at)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_set_shared_data",
        |c: Caller<'_, State>, key: u32, key_len: u32, at: u32, len: u32, cas: u32| {
            enter(c, "proxy_set_shared_data", |g| {
                data::set(g, (key, key_len), (at, len), cas)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_define_metric",
        |c: Caller<'_, State>, kind: u32, name: u32, name_len: u32, at: u32| {
            enter(c, "proxy_define_metric", |g| {
                data::define_metric(g, kind, (name, name_len), at)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_increment_metric",
        |c: Caller<'_, State>, id: u32, by: i64| {
            enter(c, "proxy_increment_metric", |g| {
                data::increment_metric(g, id, by)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_record_metric",
        |c: Caller<'_, State>, id: u32, value: u64| {
            enter(c, "proxy_record_metric", |g| {
                data::record_metric(g, id, value)
            })
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_get_metric",
        |c: Caller<'_, State>, id: u32, at: u32| {
            enter(c, "proxy_get_metric", |g| data::get_metric(g, id, at))
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_register_shared_queue",
        |c: Caller<'_, State>, _name: u32, _name_len: u32, _at: u32| {
            enter(c, "proxy_register_shared_queue", data::no_queue)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_dequeue_shared_queue",
        |c: Caller<'_, State>, _id: u32, _at: u32, _len_at: u32| {
            enter(c, "proxy_dequeue_shared_queue", data::no_queue)
        },
    )?;
    linker.func_wrap(
        env,
        "proxy_enqueue_shared_queue",
        |c: Caller<'_, State>, _id: u32, _at: u32, _len: u32| {
            enter(c, "proxy_enqueue_shared_queue", data::no_queue)
        },
    )?;
    Ok(())
}

fn unsupported(
    engine: &Engine,
    linker: &mut Linker<State>,
    name: &'static str,
    parameters: usize,
) -> wasmtime::Result<()> {
    let kind = FuncType::new(engine, vec![ValType::I32; parameters], [ValType::I32]);
    linker.func_new("env", name, kind, move |caller, _, results| {
        let status = enter(caller, name, |guest| match guest.dialect() {
            Dialect::Envoy => Err(Refusal::Status(UNIMPLEMENTED)),
            Dialect::Kong => Err(Refusal::Trap(format!(
                "{name}: host trap (not yet implemented)"
            ))),
        })?;
        if let Some(result) = results.first_mut() {
            *result = Val::I32(status as i32);
        }
        Ok(())
    })?;
    Ok(())
}
