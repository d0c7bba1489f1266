//! Removes from a module the exports that no filter uses, and what only they reach.

use anyhow::{Result, bail};
use walrus::{Module, ModuleConfig, passes};

use crate::filters::{EXPORTS, REPLACED, SHOWN_RESPONSES};

/// The module of the filter `name` with [`EXPORTS`] only, and of these without some. The same bytes in give the same bytes out.
///
/// # Errors
/// The bytes are not a module, or an export that a filter needs is missing.
pub fn strip(wasm: &[u8], name: &str, without: &[&str]) -> Result<Vec<u8>> {
    // Without the producers section: it names tools and versions that the filter does not need.
    let mut module = ModuleConfig::new()
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(wasm)?;
    for (ours, theirs) in REPLACED {
        if !replace(&mut module, ours, theirs) {
            bail!("{name}.wasm does not export {ours}, which stands in for {theirs}");
        }
    }
    let missing: Vec<_> = EXPORTS
        .iter()
        .copied()
        .filter(|name| !exports(&module, name))
        .collect();
    if !missing.is_empty() {
        bail!(
            "{name}.wasm does not export {}; does its lib.rs call the adapter's macro?",
            missing.join(", ")
        );
    }
    let unused: Vec<_> = module
        .exports
        .iter()
        .filter(|export| {
            let name = export.name.as_str();
            !EXPORTS.contains(&name) || without.contains(&name)
        })
        .map(|export| export.id())
        .collect();
    for export in unused {
        module.exports.delete(export);
    }
    if without.contains(&SHOWN_RESPONSES.export) {
        say_that_responses_are_not_shown(&mut module);
    }
    passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

/// Puts the export `ours` in the place of `theirs`. Whether there was one.
fn replace(module: &mut Module, ours: &str, theirs: &str) -> bool {
    let find = |module: &Module, name: &str| {
        let mut exports = module.exports.iter();
        exports
            .find(|export| export.name == name)
            .map(walrus::Export::id)
    };
    let Some(ours) = find(module, ours) else {
        return false;
    };
    if let Some(theirs) = find(module, theirs) {
        module.exports.delete(theirs);
    }
    module.exports.get_mut(ours).name = theirs.to_owned();
    true
}

/// A filter has to know what it is not called for: a limit that goes by what answers say can't do without.
fn say_that_responses_are_not_shown(module: &mut Module) {
    let mark = SHOWN_RESPONSES.mark;
    let all: Vec<_> = module.data.iter().map(walrus::Data::id).collect();
    for id in all {
        let data = module.data.get_mut(id);
        let found = data.value.windows(mark.len()).position(|at| at == mark);
        if let Some(says) = found.and_then(|at| data.value.get_mut(at + mark.len())) {
            *says = 0;
        }
    }
}

fn exports(module: &Module, name: &str) -> bool {
    module.exports.iter().any(|export| export.name == name)
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, ValType};

    use super::*;
    use crate::filters::FOR_KONG;

    /// A module with these functions exported, each returning its own number, and a memory.
    fn module(functions: &[&str]) -> Vec<u8> {
        let mut module = Module::default();
        let memory = module.memories.add_local(false, false, 1, None, None);
        module.exports.add("memory", memory);
        for (number, name) in (0..).zip(functions) {
            let mut function = FunctionBuilder::new(&mut module.types, &[], &[ValType::I32]);
            function.func_body().i32_const(number);
            let id = function.finish(Vec::new(), &mut module.funcs);
            module.exports.add(name, id);
        }
        module.emit_wasm()
    }

    /// What a filter exports before it is stripped: what is kept, each under its first name.
    fn functions() -> Vec<&'static str> {
        let first_name = |name: &'static str| {
            let replaced = REPLACED.iter().find(|(_, theirs)| *theirs == name);
            replaced.map_or(name, |(ours, _)| *ours)
        };
        let kept = EXPORTS.iter().copied().filter(|name| *name != "memory");
        kept.map(first_name).collect()
    }

    #[test]
    fn what_is_not_used_goes_with_all_that_only_it_reached() {
        let mut exported = functions();
        exported.extend(["proxy_on_grpc_receive", "proxy_on_queue_ready"]);
        let stripped = strip(&module(&exported), "edge", &[]).unwrap();
        let left = Module::from_buffer(&stripped).unwrap();
        let mut names: Vec<_> = left.exports.iter().map(|e| e.name.as_str()).collect();
        let mut expected = EXPORTS.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(left.funcs.iter().count(), expected.len() - 1);
    }

    #[test]
    fn what_another_gateway_needs_can_be_left_out() {
        let stripped = strip(&module(&functions()), "edge", FOR_KONG).unwrap();
        let left = Module::from_buffer(&stripped).unwrap();
        let has = |name: &str| left.exports.iter().any(|export| export.name == name);
        assert!(
            EXPORTS
                .iter()
                .all(|name| has(name) != FOR_KONG.contains(name))
        );
    }

    #[test]
    fn an_export_of_ours_takes_the_place_of_the_sdks() {
        let (ours, theirs) = REPLACED[0];
        let mut exported = functions();
        exported.push(theirs);
        let number = exported.iter().position(|name| *name == ours).unwrap();
        let number = i32::try_from(number).unwrap();
        let stripped = strip(&module(&exported), "edge", &[]).unwrap();
        let left = Module::from_buffer(&stripped).unwrap();
        assert!(left.exports.iter().all(|export| export.name != ours));
        let function = left.exports.get_func(theirs).unwrap();
        let walrus::FunctionKind::Local(body) = &left.funcs.get(function).kind else {
            panic!("an import")
        };
        let block = body.block(body.entry_block());
        let instructions: Vec<_> = block.instrs.iter().map(|(instr, _)| instr).collect();
        let [walrus::ir::Instr::Const(constant)] = instructions[..] else {
            panic!("{instructions:?}")
        };
        assert!(matches!(constant.value, walrus::ir::Value::I32(n) if n == number));
    }

    #[test]
    fn a_missing_callback_is_named() {
        let mut exported = functions();
        exported.retain(|name| *name != "proxy_on_log");
        let error = strip(&module(&exported), "edge", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("edge.wasm does not export proxy_on_log;"),
            "{error}"
        );
    }

    #[test]
    fn the_same_bytes_in_give_the_same_bytes_out() {
        let wasm = module(&functions());
        let once = strip(&wasm, "edge", &[]).unwrap();
        assert_eq!(once, strip(&wasm, "edge", &[]).unwrap());
        let error = strip(&once, "edge", &[]).unwrap_err().to_string();
        assert!(error.contains(REPLACED[0].0), "{error}");
    }
}
