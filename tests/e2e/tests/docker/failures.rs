//! A service behind the edge that is killed, stands still, or can't be reached.

use std::time::Duration;

use anyhow::Result;
use portcullis_e2e::until;

use crate::stack::{BREAKERS, Broken, COLLECTIONS, SEARCH, Stack, stack};

/// A refusal by a breaker asks nobody. On a machine that is busy with ten containers.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Asks until the breaker has opened: five failures, each with one of `statuses`, then a refusal.
async fn fails_then_is_refused(stack: &Stack, statuses: &[u16]) -> Result<()> {
    let caller = stack.caller();
    for attempt in 1..=5 {
        let answer = caller.get(SEARCH).await?;
        assert!(statuses.contains(&answer.status), "{attempt}: {answer:?}");
        assert_eq!(answer.header("retry-after"), None, "{attempt}: {answer:?}");
    }
    let answer = caller.get(SEARCH).await?;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.contains("circuit-open"), "{answer:?}");
    assert!(
        matches!(answer.number("retry-after"), Some(1..=2)),
        "{answer:?}"
    );
    assert!(answer.took < AT_ONCE, "{answer:?}");
    let states = caller.get(BREAKERS).await?.json()?;
    assert_eq!(states["rag_service"], "open", "{states}");
    // The other service is behind a breaker of its own.
    assert_eq!(caller.get(COLLECTIONS).await?.status, 200);
    assert_eq!(states["rag_collections_service"], "closed", "{states}");
    Ok(())
}

async fn recovers(stack: &Stack) -> Result<()> {
    until("the service to be asked again", async || {
        Ok(stack.caller().get(SEARCH).await?.status == 200)
    })
    .await?;
    let states = stack.caller().get(BREAKERS).await?.json()?;
    assert_eq!(states["rag_service"], "closed", "{states}");
    Ok(())
}

#[tokio::test]
async fn a_killed_service_opens_its_breaker_and_closes_it_when_it_is_back() -> Result<()> {
    let stack = stack().await?;
    let killed = Broken::kill(&stack, "rag-service").await?;
    // Envoy's answer, and Kong's.
    fails_then_is_refused(&stack, &[503, 502]).await?;
    killed.mend();
    recovers(&stack).await
}

#[tokio::test]
async fn a_service_that_stands_still_times_out_and_opens_its_breaker() -> Result<()> {
    let stack = stack().await?;
    let paused = Broken::pause(&stack, "rag-service").await?;
    fails_then_is_refused(&stack, &[504]).await?;
    paused.mend();
    recovers(&stack).await
}

#[tokio::test]
async fn a_service_that_is_cut_off_from_the_network_opens_its_breaker() -> Result<()> {
    let stack = stack().await?;
    let cut = Broken::cut_off(&stack, "rag-service").await?;
    // Over a connection that was open nothing comes, and another one can't be made.
    fails_then_is_refused(&stack, &[503, 504, 502]).await?;
    cut.mend();
    recovers(&stack).await
}
