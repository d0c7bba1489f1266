//! Scenarios on a real Envoy, with the configurations of `envoy/`.

/// Defines scenarios as two tests each: with one worker, and with four that share all state.
macro_rules! with_one_and_four_workers {
    ($($(#[$doc:meta])* async fn $name:ident($workers:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every scenario uses all that its file imports")]
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_one_worker() -> anyhow::Result<()> {
                scenario(1).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_four_workers() -> anyhow::Result<()> {
                scenario(4).await
            }

            async fn scenario($workers: u32) -> anyhow::Result<()> {
                $body
                Ok(())
            }
        }
    )*};
}

/// Defines scenarios as two tests each: for the filter `jwt_auth`, and for `edge`, which has it in it.
macro_rules! alone_and_in_edge {
    ($($(#[$doc:meta])* async fn $name:ident($filter:ident) $body:block)*) => {$(
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports, reason = "not every scenario uses all that its file imports")]
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn alone() -> anyhow::Result<()> {
                scenario("jwt_auth").await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_edge() -> anyhow::Result<()> {
                scenario("edge").await
            }

            async fn scenario($filter: &str) -> anyhow::Result<()> {
                $body
                Ok(())
            }
        }
    )*};
}

mod access_log;
mod chain;
mod circuit_breaker;
mod circuit_breaker_beside;
mod circuit_breaker_failures;
mod circuit_breaker_grpc;
mod circuit_breaker_load;
mod circuit_breaker_scenarios;
mod circuit_breaker_scene;
mod circuit_breaker_upgrades;
mod common;
mod configuration;
mod edge;
mod edge_seen;
mod edge_yours;
mod egress;
mod jwks;
mod jwks_discovery;
mod jwks_faults;
mod jwks_places;
mod jwks_scene;
mod jwks_verify_budget;
mod jwt_auth;
mod jwt_auth_migration;
mod migration;
mod on_call;
mod rate_limit;
mod rate_limit_address;
mod rate_limit_hot_key;
mod rate_limit_migration;
mod rate_limit_route;
mod reload;
mod service_token;
mod service_token_backends;
mod service_token_rotation;
