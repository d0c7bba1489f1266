//! What is not to be there.

/// Inside of an `impl Visitor`: refuses kinds of values without repeating them, as `serde` would. What stands there may be
/// a secret in the wrong place.
#[macro_export]
macro_rules! refuse {
    ($($kind:ident),+) => {
        $($crate::refuse!(@$kind);)+
    };
    (@text) => {
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err($crate::config::expected(&self, "a string"))
        }
    };
    (@boolean) => {
        fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Err($crate::config::expected(&self, "a boolean"))
        }
    };
    (@number) => {
        fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Err($crate::config::expected(&self, "a number"))
        }
        fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Err($crate::config::expected(&self, "a number"))
        }
        fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Err($crate::config::expected(&self, "a number"))
        }
    };
}
pub use refuse;

use serde::de::{Error, Expected};

/// The error of whoever wants something else than `found`.
pub fn expected<E: Error>(wanted: &dyn Expected, found: &str) -> E {
    E::custom(format_args!("expected {wanted}, found {found}"))
}
