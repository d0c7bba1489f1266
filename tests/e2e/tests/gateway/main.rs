//! Scenarios on a real Envoy, with the configurations of `envoy/`.

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
#[cfg(target_os = "linux")]
mod native_code;
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
