//! Gateways that are replaced while requests pass: two behind one address, and one by hot restart.

mod front;
mod hot_restart;
mod hot_restart_scene;
mod keys;
mod node;
mod replaced;
mod traffic;
