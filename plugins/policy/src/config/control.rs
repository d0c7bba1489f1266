//! The control path, as it is written.

use serde::Deserialize;

use crate::config::{ObjectOnly, Path, SecretConfig};

/// A path at which a person on call asks a gateway what it knows, and turns what can be turned.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ControlConfig {
    /// Requests for this path are answered by the filter, before anything else, whatever their method.
    pub path: Path,
    /// What they must show after `Bearer`: a secret of at least 32 visible ASCII characters that nothing else uses.
    pub token: ObjectOnly<SecretConfig>,
}
