//! Faults: what is to go wrong, where and how often.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// The longest delay. Beyond it a test means a black hole.
const MAX_DELAY_MS: u64 = 600_000;

/// What happens to the requests that a [`Fault`] applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Answered with this status at once.
    Status(StatusCode),
    /// The connection is reset before any byte of an answer.
    Drop,
    /// The answer starts, then the connection is closed: in the middle of the body if its length was announced, after
    /// the first event if it is a stream. An answer to HEAD has no body and arrives as usual.
    BreakOff,
    /// Answered as usual, after the delay.
    Delay,
    /// Never answered; the connection stays open.
    BlackHole,
    /// Answered as usual, but compressed, whatever encoding the request accepts.
    Gzip,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    path_prefix: String,
    delay: Duration,
    remaining: Option<u32>,
}

impl Fault {
    /// Answers with `status`, for all paths until the fault is cleared.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self::new(FaultKind::Status(status))
    }

    /// Resets the connection before any byte of an answer.
    #[must_use]
    pub fn drop_connection() -> Self {
        Self::new(FaultKind::Drop)
    }

    /// Closes the connection in the middle of the answer.
    #[must_use]
    pub fn break_off() -> Self {
        Self::new(FaultKind::BreakOff)
    }

    /// Answers as usual, but later.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(FaultKind::Delay).after(delay)
    }

    /// Never answers.
    #[must_use]
    pub fn black_hole() -> Self {
        Self::new(FaultKind::BlackHole)
    }

    /// Answers as usual, but compressed.
    #[must_use]
    pub fn gzip() -> Self {
        Self::new(FaultKind::Gzip)
    }

    /// Only for paths that start with `path_prefix`.
    #[must_use]
    pub fn on(mut self, path_prefix: &str) -> Self {
        self.path_prefix = path_prefix.to_owned();
        self
    }

    /// Only for the next `n` requests that it applies to.
    #[must_use]
    pub fn times(mut self, n: u32) -> Self {
        self.remaining = Some(n);
        self
    }

    /// Waits before it strikes.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn kind(&self) -> FaultKind {
        self.kind
    }

    pub(crate) fn wait(&self) -> Duration {
        self.delay
    }

    fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            path_prefix: String::new(),
            delay: Duration::ZERO,
            remaining: None,
        }
    }
}

/// The fault in force, if any. Clones share it.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Option<Fault>>>);

impl Faults {
    /// Puts a fault in force, in place of the previous one.
    pub fn set(&self, fault: Fault) {
        *self.lock() = Some(fault);
    }

    /// Ends the fault. Requests already caught in it stay caught.
    pub fn clear(&self) {
        *self.lock() = None;
    }

    /// The fault in force, with the number of requests it still applies to.
    #[must_use]
    pub fn current(&self) -> Option<Fault> {
        self.lock().clone()
    }

    /// The fault for a request with this path, which is counted as struck.
    pub(crate) fn take(&self, path: &str) -> Option<Fault> {
        let mut slot = self.lock();
        let fault = slot
            .as_mut()
            .filter(|fault| path.starts_with(&fault.path_prefix))?;
        match &mut fault.remaining {
            None => Some(fault.clone()),
            Some(0) => None,
            Some(left) => {
                *left = left.saturating_sub(1);
                Some(fault.clone())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a description is not a fault; names field, value and rule.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidFault(String);

impl fmt::Display for InvalidFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidFault {}

/// The words of the request header: `status=503`, `drop`, `break_off`, `delay=250` (milliseconds), `black_hole` or `gzip`.
impl FromStr for Fault {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let unknown = || {
            InvalidFault(format!(
                "{text:?} is none of status=<code>, drop, break_off, delay=<ms>, black_hole, gzip"
            ))
        };
        let mut spec = Spec::default();
        match text.split_once('=') {
            Some(("status", code)) => spec.status = Some(code.parse().map_err(|_| unknown())?),
            Some(("delay", ms)) => {
                spec.mode = Mode::Delay;
                spec.delay_ms = ms.parse().map_err(|_| unknown())?;
            }
            Some(_) => return Err(unknown()),
            None => {
                spec.mode = match text {
                    "drop" => Mode::Drop,
                    "break_off" => Mode::BreakOff,
                    "black_hole" => Mode::BlackHole,
                    "gzip" => Mode::Gzip,
                    _ => return Err(unknown()),
                };
            }
        }
        Self::try_from(spec)
    }
}

/// A fault as JSON.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Spec {
    mode: Mode,
    /// For mode `status` only, where it defaults to 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Empty for all paths.
    path_prefix: String,
    delay_ms: u64,
    /// `null` for "until cleared".
    remaining: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Status,
    Drop,
    BreakOff,
    Delay,
    BlackHole,
    Gzip,
}

impl TryFrom<Spec> for Fault {
    type Error = InvalidFault;

    fn try_from(spec: Spec) -> Result<Self, InvalidFault> {
        if let Some(status) = spec.status.filter(|_| !matches!(spec.mode, Mode::Status)) {
            return Err(InvalidFault(format!(
                "status: {status} is given, which goes with mode \"status\" only"
            )));
        }
        if !spec.path_prefix.is_empty() && !spec.path_prefix.starts_with('/') {
            return Err(InvalidFault(format!(
                "path_prefix: {:?} does not start with a slash",
                spec.path_prefix
            )));
        }
        if spec.delay_ms > MAX_DELAY_MS {
            return Err(InvalidFault(format!(
                "delay_ms: {} exceeds {MAX_DELAY_MS}",
                spec.delay_ms
            )));
        }
        let kind = match spec.mode {
            Mode::Status => FaultKind::Status(final_status(spec.status.unwrap_or(503))?),
            Mode::Drop => FaultKind::Drop,
            Mode::BreakOff => FaultKind::BreakOff,
            Mode::Delay => FaultKind::Delay,
            Mode::BlackHole => FaultKind::BlackHole,
            Mode::Gzip => FaultKind::Gzip,
        };
        let delay = Duration::from_millis(spec.delay_ms);
        Ok(Self {
            kind,
            path_prefix: spec.path_prefix,
            delay,
            remaining: spec.remaining,
        })
    }
}

impl From<Fault> for Spec {
    fn from(fault: Fault) -> Self {
        let (mode, status) = match fault.kind {
            FaultKind::Status(status) => (Mode::Status, Some(status.as_u16())),
            FaultKind::Drop => (Mode::Drop, None),
            FaultKind::BreakOff => (Mode::BreakOff, None),
            FaultKind::Delay => (Mode::Delay, None),
            FaultKind::BlackHole => (Mode::BlackHole, None),
            FaultKind::Gzip => (Mode::Gzip, None),
        };
        let delay_ms = u64::try_from(fault.delay.as_millis()).unwrap_or(u64::MAX);
        Self {
            mode,
            status,
            path_prefix: fault.path_prefix,
            delay_ms,
            remaining: fault.remaining,
        }
    }
}

/// A status that ends an exchange: those below 200 only announce another.
fn final_status(code: u16) -> Result<StatusCode, InvalidFault> {
    match StatusCode::from_u16(code) {
        Ok(status) if (200..=599).contains(&code) => Ok(status),
        Ok(_) | Err(_) => Err(InvalidFault(format!("status: {code} is not in 200..=599"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_only_below_its_prefix() {
        let faults = Faults::default();
        assert_eq!(faults.take("/a"), None);
        faults.set(Fault::drop_connection().on("/a").times(2));
        assert_eq!(faults.take("/b"), None);
        assert!(faults.take("/a").is_some());
        assert!(faults.take("/a/b").is_some());
        assert_eq!(faults.take("/a"), None);
        faults.set(Fault::black_hole());
        assert!(faults.take("/b").is_some());
        faults.clear();
        assert_eq!(faults.take("/b"), None);
    }

    #[test]
    fn header_words_are_faults() {
        let ok = [
            ("status=418", Fault::status(StatusCode::IM_A_TEAPOT)),
            ("drop", Fault::drop_connection()),
            ("break_off", Fault::break_off()),
            ("delay=250", Fault::delay(Duration::from_millis(250))),
            ("black_hole", Fault::black_hole()),
            ("gzip", Fault::gzip()),
        ];
        for (text, fault) in ok {
            assert_eq!(text.parse(), Ok(fault), "{text}");
        }
        for text in [
            "",
            "status",
            "status=",
            "status=100",
            "status=9999",
            "status=-1",
            "delay=",
            "delay=700000",
            "x=1",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
