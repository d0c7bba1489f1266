//! The quirks of both gateways as a filter meets them, shown by small filters in the text format.

mod faults;
mod life;
mod maps;
mod requests;
mod settling;
mod shared_data;
mod start;
mod support;
mod ticks_and_calls;
