//! `envoy/edge.yaml`

use anyhow::Result;

#[tokio::test]
async fn placeholder() -> Result<()> {
    Ok(())
}
