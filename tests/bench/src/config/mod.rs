//! What gateways are configured with: our filters, Envoy's own, and one that does nothing.

pub(crate) mod bootstrap;
pub(crate) mod envoys;
pub(crate) mod nothing;
pub(crate) mod ours;
