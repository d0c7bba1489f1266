//! The filter `jwt_auth.wasm`.
portcullis_adapter::filter!(portcullis_jwt_auth::JwtAuth);
