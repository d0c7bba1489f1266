//! The filter `service_token.wasm`.
portcullis_adapter::filter!(portcullis_service_token::ServiceToken);
