//! The `log` crate's lines, on Envoy's log.

use crate::abi::{self, Level};

struct EnvoyLogger;

impl log::Log for EnvoyLogger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Error => Level::Error,
            log::Level::Warn => Level::Warn,
            log::Level::Info | log::Level::Debug | log::Level::Trace => Level::Info,
        };
        match record.args().as_str() {
            Some(line) => abi::log(level, line),
            None => abi::log(level, &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}

/// Sends the `log` crate's lines to Envoy.
pub(crate) fn install() {
    static LOGGER: EnvoyLogger = EnvoyLogger;
    // Fails only where there is one already: this one.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
    }
}
