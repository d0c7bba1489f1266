//! The `log` crate's lines, on a host's log.

use log::{Level, LevelFilter, Log, Metadata, Record};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Somebody may want to know.
    Info,
    /// Somebody should look at it.
    Warn,
    /// Somebody has to.
    Error,
}

/// Writes lines where the host wants them.
pub struct Logger(pub fn(Severity, &str));

impl Logger {
    /// Sends all lines of the process there from now on.
    pub fn install(&'static self) {
        // Fails only where there is one already: this one.
        if log::set_logger(self).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (Self(write), args) = (self, record.args());
        let severity = match record.level() {
            Level::Error => Severity::Error,
            Level::Warn => Severity::Warn,
            Level::Info | Level::Debug | Level::Trace => Severity::Info,
        };
        match args.as_str() {
            Some(line) => write(severity, line),
            None => write(severity, &args.to_string()),
        }
    }

    fn flush(&self) {}
}
