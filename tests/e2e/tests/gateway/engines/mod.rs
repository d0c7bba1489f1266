//! What counts limits for several gateways.

pub(crate) mod limitador;
pub(crate) mod redis;
pub(crate) mod rls;
