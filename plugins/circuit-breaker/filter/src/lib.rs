//! The filter `circuit_breaker.wasm`.
portcullis_adapter::filter!(portcullis_circuit_breaker::CircuitBreaker);
