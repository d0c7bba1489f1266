//! The shared secrets: the one that is used, and all that are known as ours.

use portcullis_policy::Environment;
use portcullis_policy::config::{ConfigError, NonEmpty, ObjectOnly, Secret, SecretUse};

use crate::config::{SecretEntry, SecretId};

/// A secret and what it is called.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: SecretId,
    pub(crate) secret: Secret,
}

/// A rotation takes two. What a client sends is compared with each.
pub(crate) const MOST_SECRETS: usize = 16;

/// Fetches the secrets; the first is the one that is used. `shortest` is in bytes.
///
/// # Errors
/// [`ConfigError`] names field and rule, never a secret.
pub(crate) fn resolve(
    entries: NonEmpty<ObjectOnly<SecretEntry>>,
    used_as: SecretUse,
    shortest: Option<usize>,
    environment: &dyn Environment,
) -> Result<Vec<Known>, ConfigError> {
    let mut known: Vec<Known> = Vec::new();
    let entries = entries.into_vec();
    if entries.len() > MOST_SECRETS {
        let rule = format!("{} secrets; expected at most {MOST_SECRETS}", entries.len());
        return Err(ConfigError::at("secrets", rule));
    }
    for (index, entry) in entries.into_iter().enumerate() {
        let (id, secret) = entry.0.split();
        let secret = secret
            .resolve(used_as, environment)
            .map_err(|rule| ConfigError::at(format!("secrets[{index}]"), rule))?;
        let length = secret.as_bytes().len();
        if let Some(shortest) = shortest
            && length < shortest
        {
            let rule = format!(
                "the secret has {length} bytes; expected at least {shortest}, or allow_short: true"
            );
            return Err(ConfigError::at(format!("secrets[{index}]"), rule));
        }
        if known.iter().any(|other| other.id == id) {
            let rule = format!(
                "{:?} is there twice; expected an id of its own for each secret",
                id.as_str()
            );
            return Err(ConfigError::at(format!("secrets[{index}].id"), rule));
        }
        if let Some(other) = (known.iter()).find(|other| other.secret.matches(secret.as_bytes())) {
            let rule = format!(
                "the same secret as {:?}; expected another one (a running gateway does not see a variable change)",
                other.id.as_str()
            );
            return Err(ConfigError::at(format!("secrets[{index}]"), rule));
        }
        known.push(Known { id, secret });
    }
    if known.is_empty() {
        return Err(ConfigError::at("secrets", "expected at least one secret"));
    }
    Ok(known)
}
