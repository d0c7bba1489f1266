//! What the services depend on, behind the egress: Ollama, and three nodes of Qdrant.

use anyhow::Result;
use portcullis_e2e::until;

use crate::stack::{BREAKERS, Broken, HEALTH, SEARCH, Stack, stack};

async fn egress_breakers(stack: &Stack) -> Result<String> {
    let health = stack.caller().get(HEALTH).await?.json()?;
    Ok(["ollama_embedding", "ollama_generation", "qdrant_search"]
        .map(|name| {
            health["circuit_breakers"][name]
                .as_str()
                .unwrap_or("?")
                .to_owned()
        })
        .join(" "))
}

#[tokio::test]
async fn a_killed_ollama_opens_its_own_breaker_at_the_egress_and_no_other() -> Result<()> {
    let stack = stack().await?;
    let killed = Broken::kill(&stack, "rag-ollama").await?;
    // What the service says of its dependency is a failure for the edge as well, but the health route goes
    // on to say which.
    until("the egress to give up Ollama", async || {
        stack.caller().get(SEARCH).await?;
        Ok(egress_breakers(&stack).await? == "open closed closed")
    })
    .await?;
    killed.mend();
    until("searches to work again", async || {
        Ok(stack.caller().get(SEARCH).await?.status == 200)
    })
    .await?;
    assert_eq!(egress_breakers(&stack).await?, "closed closed closed");
    Ok(())
}

#[tokio::test]
async fn one_lost_node_of_qdrant_is_not_noticed() -> Result<()> {
    let stack = stack().await?;
    let caller = stack.caller();
    for node in 1..=3 {
        let killed = Broken::kill(&stack, &format!("data-qdrant-node{node}")).await?;
        for _ in 0..20 {
            let answer = caller.get(SEARCH).await?;
            assert_eq!(answer.status, 200, "without node {node}: {answer:?}");
        }
        killed.mend();
        stack.well().await?;
    }
    let states = caller.get(BREAKERS).await?.json()?;
    assert_eq!(states["rag_service"], "closed", "{states}");
    Ok(())
}

#[tokio::test]
async fn a_node_of_qdrant_that_stands_still_is_not_noticed_but_for_its_time() -> Result<()> {
    let stack = stack().await?;
    let caller = stack.caller();
    let paused = Broken::pause(&stack, "data-qdrant-node2").await?;
    for _ in 0..10 {
        let answer = caller.get(SEARCH).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    paused.mend();
    Ok(())
}

#[tokio::test]
async fn an_egress_that_is_killed_is_missed_until_it_is_back() -> Result<()> {
    let stack = stack().await?;
    let killed = Broken::kill(&stack, "egress").await?;
    let answer = stack.caller().get(SEARCH).await?;
    assert!(matches!(answer.status, 502..=504), "{answer:?}");
    // What does not depend on it goes on.
    assert_eq!(stack.caller().get(HEALTH).await?.status, 200);
    killed.mend();
    stack.well().await
}
