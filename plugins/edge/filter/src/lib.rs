//! The filter `edge.wasm`.
portcullis_adapter::filter!(portcullis_edge::Edge);
