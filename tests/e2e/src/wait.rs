//! Waiting for something to become true.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take that takes milliseconds. A machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` has found something.
///
/// # Errors
/// It has not within [`PATIENCE`], or a look failed.
pub async fn until_some<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
        }
        sleep(PAUSE).await;
    }
}

/// Looks until `look` is true.
///
/// # Errors
/// It is not within [`PATIENCE`], or a look failed.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    until_some(what, async || Ok(look().await?.then_some(()))).await
}
