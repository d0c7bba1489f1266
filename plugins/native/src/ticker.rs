//! A thread that has ticks raised: Envoy has no timer for HTTP filters.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::common::{Common, Event};

/// Whoever's ticks are raised.
struct Ticked {
    common: Weak<Common>,
    due: Instant,
}

#[derive(Default)]
struct Ticker {
    ticked: Mutex<Vec<Ticked>>,
    more: Condvar,
}

/// How often it is looked whether metrics have changed.
const METRICS_EVERY: Duration = Duration::from_millis(100);

/// Once it runs.
static THREAD: Mutex<Option<ThreadId>> = Mutex::new(None);

static TICKER: Ticker = Ticker {
    ticked: Mutex::new(Vec::new()),
    more: Condvar::new(),
};

/// Has ticks of a configuration raised, from now on.
///
/// # Errors
/// The system has no thread for it.
pub(crate) fn start(common: &Arc<Common>) -> Result<(), std::io::Error> {
    let mut running = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if running.is_none() {
        let thread = thread::Builder::new().name("portcullis".to_owned());
        let thread = thread.spawn(|| run(&TICKER))?;
        *running = Some(thread.thread().id());
    }
    drop(running);
    let mut ticked = TICKER.ticked.lock().unwrap_or_else(PoisonError::into_inner);
    ticked.push(Ticked {
        common: Arc::downgrade(common),
        due: now().checked_add(common.every()).unwrap_or_else(now),
    });
    TICKER.more.notify_one();
    Ok(())
}

/// Whether this is the thread that has ticks raised.
pub(crate) fn is_this_thread() -> bool {
    let running = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    *running == Some(thread::current().id())
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
            let every = common.every();
            // Another instance may want them more often meanwhile.
            let latest = now.checked_add(every).unwrap_or(now);
            let is_due = now >= ticked.due;
            ticked.due = match is_due {
                true => latest,
                false => ticked.due.min(latest),
            };
            next = next.min(ticked.due);
            if is_due {
                raised.push((common, Event::Tick));
            } else if metrics && every > METRICS_EVERY {
                raised.push((common, Event::Metrics));
            }
        }
        drop(ticked);
        // Without the lock: Envoy keeps a configuration while an event of it is raised, so that it may be this thread that lets
        // go of it last, and is told of its end in here.
        for (common, event) in raised {
            if event == Event::Tick {
                common.raise_tick();
            } else if common.metrics.have_changed() {
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
