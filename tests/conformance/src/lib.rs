//! Tables of behaviour, each row run as policy, as single filter and as part of `edge`, in the
//! dialects of both gateways, and as native code.
//!
//! A row is a configuration and a closure that drives a [`Subject`]; [`everywhere`] runs it in all
//! eight arrangements, and a failure says in which.

mod filter;
mod module;
mod policy;
mod subject;
pub mod token;
pub mod warm;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use portcullis_policy::Policy;
use portcullis_sim::Dialect;
use portcullis_testhost::Module;

pub use filter::FilterSubject;
pub use module::ModuleSubject;
pub use policy::PolicySubject;
pub use subject::{Handle, Seen, Sent, Subject, Then};

/// The secret that tokens of these tests are signed with.
pub const JWT_SECRET: &str = "conformance-jwt-secret-of-32-bytes-or-more";
/// The secret that the backends of these tests expect.
pub const SERVICE_SECRET: &str = "conformance-service-secret-of-32-bytes-or-more";
/// What opens the control path.
pub const CONTROL_TOKEN: &str = "conformance-control-token-of-32-bytes-or-more";
/// The variables that every subject sees; those behind the first three are what the pages rotate to.
pub const ENV: [(&str, &str); 5] = [
    ("CONTROL_TOKEN", CONTROL_TOKEN),
    ("JWT_SECRET_KEY", JWT_SECRET),
    ("INTER_SERVICE_SECRET", SERVICE_SECRET),
    (
        "JWT_SECRET_KEY_2027",
        "conformance-jwt-secret-of-2027-of-32-bytes-or-more",
    ),
    (
        "INTER_SERVICE_SECRET_2026_12",
        "conformance-service-secret-of-2026-12-of-32-bytes",
    ),
];
/// The time at which every subject starts: a multiple of a day.
pub const START_UNIX_SECS: u64 = 1_767_225_600;

/// Runs a row in every arrangement.
pub fn everywhere<P: Policy + 'static>(config: &str, row: impl Fn(&mut dyn Subject)) {
    for dialect in Dialect::BOTH {
        let mut policy = PolicySubject::<P>::new(dialect, config).unwrap_or_else(|error| {
            panic!("{}: {error}", P::NAME);
        });
        run("policy", dialect, &mut policy, &row);
        if P::NAME != "edge" {
            let mut filter = FilterSubject::new(P::NAME, dialect, config, 1);
            run("filter", dialect, &mut filter, &row);
        }
        let config = match P::NAME {
            "edge" => config.to_owned(),
            name => within_edge(name, config),
        };
        let mut edge = FilterSubject::new("edge", dialect, &config, 1);
        run("edge", dialect, &mut edge, &row);
    }
    if P::NAME != "edge" {
        let mut filter = ModuleSubject::new(P::NAME, config);
        run("filter, as native code", Dialect::Envoy, &mut filter, &row);
    }
    let config = match P::NAME {
        "edge" => config.to_owned(),
        name => within_edge(name, config),
    };
    let mut edge = ModuleSubject::new("edge", &config);
    run("edge, as native code", Dialect::Envoy, &mut edge, &row);
}

/// Runs a row in every arrangement on hosts that show bodies: not on Kong, which refuses what goes by them.
pub fn where_bodies_are_shown<P: Policy + 'static>(config: &str, row: impl Fn(&mut dyn Subject)) {
    let mut policy = PolicySubject::<P>::new(Dialect::Envoy, config).unwrap_or_else(|error| {
        panic!("{}: {error}", P::NAME);
    });
    run("policy", Dialect::Envoy, &mut policy, &row);
    let within = match P::NAME {
        "edge" => config.to_owned(),
        name => within_edge(name, config),
    };
    for (name, config) in [(P::NAME, config), ("edge", within.as_str())] {
        let mut filter = FilterSubject::new(name, Dialect::Envoy, config, 1);
        run(name, Dialect::Envoy, &mut filter, &row);
        let mut native = ModuleSubject::new(name, config);
        let arrangement = format!("{name}, as native code");
        run(&arrangement, Dialect::Envoy, &mut native, &row);
    }
}

/// A plugin's configuration as `edge` has it: the control path stands beside the plugins there.
fn within_edge(name: &str, config: &str) -> String {
    let Ok(serde_json::Value::Object(mut config)) = serde_json::from_str(config) else {
        return format!("{{\"{name}\":{config}}}");
    };
    let control = config.remove("control");
    let mut edge = serde_json::Map::from_iter([(name.to_owned(), config.into())]);
    edge.extend(control.map(|control| ("control".to_owned(), control)));
    serde_json::Value::from(edge).to_string()
}

fn run(
    arrangement: &str,
    dialect: Dialect,
    subject: &mut dyn Subject,
    row: &impl Fn(&mut dyn Subject),
) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| row(subject))) {
        eprintln!("… as {arrangement}, on {dialect:?}; its log:");
        for line in subject.logs() {
            eprintln!("    {line}");
        }
        resume_unwind(panic);
    }
}

/// Where the built filters are: `PORTCULLIS_FILTERS`, or `target/filters`.
pub fn filters() -> PathBuf {
    match std::env::var_os("PORTCULLIS_FILTERS") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/filters"),
    }
}

/// A built filter, compiled once for all tests of a process.
pub fn module(name: &str) -> Module {
    static COMPILED: Mutex<BTreeMap<String, Arc<OnceLock<Module>>>> = Mutex::new(BTreeMap::new());
    let mut all = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = Arc::clone(all.entry(name.to_owned()).or_default());
    // While this one is compiled others can be.
    drop(all);
    ours.get_or_init(|| compiled(name, Module::from_file))
        .clone()
}

/// The same filter, whose executed instructions are counted.
pub fn metered(name: &str) -> Module {
    compiled(name, Module::metered)
}

fn compiled<E: std::fmt::Display>(
    name: &str,
    compile: impl FnOnce(&Path) -> Result<Module, E>,
) -> Module {
    let path = filters().join(format!("{name}.wasm"));
    compile(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error:#}; `cargo xtask build` makes it",
            path.display()
        )
    })
}
