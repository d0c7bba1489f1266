//! What the gateways show of themselves: `observability/` and the access log of `envoy/edge.yaml`.

mod access_log;
mod dashboard;
mod files;
mod kong;
mod live;
mod programs;
mod prometheus;
mod scene;
