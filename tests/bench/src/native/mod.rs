//! The policies on this machine, without a gateway: what the same code costs as native code.

pub mod credentials;
pub mod measure;
pub mod tokens;

use anyhow::Result;

use crate::scene::Scene;
use measure::Subject;

/// All subjects: tokens, and each kind of credential.
///
/// # Errors
/// A policy does not take its configuration, or jwt-compact not a key.
pub fn subjects(scene: &Scene) -> Result<Vec<Subject<'static>>> {
    let mut subjects = tokens::subjects(scene)?;
    subjects.extend(credentials::subjects(scene)?);
    Ok(subjects)
}
