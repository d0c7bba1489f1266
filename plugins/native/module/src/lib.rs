//! The module that Envoy loads, `libportcullis.so`: all filters, by the names of Envoy's events.

extern crate portcullis_native as _;
