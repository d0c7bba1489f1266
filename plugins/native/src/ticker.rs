//! A thread that has ticks raised: Envoy has no timer for HTTP filters.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::abi;
use crate::common::{Common, Event};

/// Whoever's ticks are raised.
struct Ticked {
    common: Weak<Common>,
    every: Duration,
    due: Instant,
}

#[derive(Default)]
struct Ticker {
    ticked: Mutex<Vec<Ticked>>,
    more: Condvar,
}

/// How often it is looked whether metrics have changed.
const METRICS_EVERY: Duration = Duration::from_millis(100);

static TICKER: Ticker = Ticker {
    ticked: Mutex::new(Vec::new()),
    more: Condvar::new(),
};

/// Has ticks of a configuration raised, from now on.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn start(common: &Arc<Common>, every: Duration) -> Result<(), std::io::Error> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let thread = std::thread::Builder::new().name("portcullis".to_owned());
        thread.spawn(|| run(&TICKER))?;
        *started = true;
    }
    drop(started);
    let mut ticked = TICKER.ticked.lock().unwrap_or_else(PoisonError::into_inner);
    ticked.push(Ticked {
        common: Arc::downgrade(common),
        every,
        due: now().checked_add(every).unwrap_or_else(now),
    });
    TICKER.more.notify_one();
    Ok(())
}

/// Has ticks of a configuration raised so often, if they are not raised more often already.
pub(crate) fn hasten(common: &Arc<Common>, every: Duration) {
    let mut ticked = TICKER.ticked.lock().unwrap_or_else(PoisonError::into_inner);
    let mut own = ticked.iter_mut();
    if let Some(own) = own.find(|ticked| std::ptr::eq(ticked.common.as_ptr(), Arc::as_ptr(common)))
    {
        own.every = own.every.min(every);
        own.due = own.due.min(now().checked_add(every).unwrap_or_else(now));
    }
    TICKER.more.notify_one();
}

/// Has no more ticks raised, but for one that is just being raised.
pub(crate) fn stop(common: &Arc<Common>) {
    let mut ticked = TICKER.ticked.lock().unwrap_or_else(PoisonError::into_inner);
    ticked.retain(|ticked| !std::ptr::eq(ticked.common.as_ptr(), Arc::as_ptr(common)));
}

fn run(ticker: &Ticker) {
    let mut metrics_due = now();
    loop {
        let now = now();
        let metrics = now >= metrics_due;
        if metrics {
            metrics_due = now.checked_add(METRICS_EVERY).unwrap_or(now);
        }
        let mut next = metrics_due;
        let mut raised = Vec::new();
        let mut ticked = ticker.ticked.lock().unwrap_or_else(PoisonError::into_inner);
        for ticked in ticked.iter_mut() {
            let Some(common) = ticked.common.upgrade() else {
                continue;
            };
            if now >= ticked.due {
                // From now on: what could not keep up does not make up for it.
                ticked.due = now.checked_add(ticked.every).unwrap_or(now);
                next = next.min(ticked.due);
                raised.push((common, Event::Tick));
            } else {
                next = next.min(ticked.due);
                raised.push((common, Event::Metrics));
            }
        }
        drop(ticked);
        // Without the lock: Envoy keeps a configuration while an event of it is raised, so that it may be this thread that lets
        // go of it last, and is told of its end in here.
        for (common, event) in raised {
            let changed =
                || metrics && abi::configurations_take_metrics() && common.metrics.have_changed();
            if event == Event::Tick || changed() {
                common.ring(event);
            }
        }
        let ticked = ticker.ticked.lock().unwrap_or_else(PoisonError::into_inner);
        match ticked.is_empty() {
            true => drop(ticker.more.wait(ticked)),
            false => {
                let longest = next.saturating_duration_since(self::now());
                drop(ticker.more.wait_timeout(ticked, longest));
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is what ticks come from")]
fn now() -> Instant {
    Instant::now()
}
