//! The filter `rate_limit.wasm`.
portcullis_adapter::filter!(portcullis_rate_limit::RateLimit);
