//! A provider's keys, from its configuration.

use std::rc::Rc;

use portcullis_policy::Environment;
use portcullis_policy::config::{
    ConfigError, NonEmpty, ObjectOnly, Secret, SecretConfig, SecretUse,
};

use crate::config::{Algorithm, JwkConfig, JwksConfig, KeyConfig, PublicKeyConfig};
use crate::issuer::Issuer;
use crate::jwks::{self, SkippedKey, Unfit};
use crate::key::{Key, Material};
use crate::pem;
use crate::remote::RemoteKeys;

/// A provider's keys.
pub(crate) struct Keys {
    /// Those that the configuration holds.
    pub(crate) fixed: Rc<[Key]>,
    pub(crate) remote: Vec<RemoteKeys>,
    /// Those of the configuration that are left out.
    pub(crate) skipped: Vec<SkippedKey>,
}

impl Keys {
    /// Reads all keys of the provider that issues as `issuer`, with `algorithms`.
    pub(crate) fn from_config(
        config: NonEmpty<ObjectOnly<KeyConfig>>,
        algorithms: &[Algorithm],
        issuer: &Issuer,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let mut fixed: Vec<Key> = Vec::new();
        let mut secrets: Vec<Secret> = Vec::new();
        let mut remote = Vec::new();
        let mut skipped = Vec::new();
        let mut useless = None;
        for (at, ObjectOnly(config)) in config.into_vec().into_iter().enumerate() {
            let at = format!("keys[{at}]");
            let entry = Entry::from_config(config, algorithms, issuer, environment)
                .map_err(|error| error.within(&at))?;
            match entry {
                Entry::Remote(keys) => remote.push(*keys),
                Entry::Fixed {
                    keys,
                    skipped: left_out,
                    secret,
                } => {
                    skipped.extend(left_out.into_iter().map(|key| SkippedKey {
                        path: format!("{at}.jwks.{}", key.path),
                        ..key
                    }));
                    let serves = |key: &Key| algorithms.iter().any(|a| key.serves(*a));
                    if !keys.iter().any(serves) {
                        useless.get_or_insert(at.clone());
                    }
                    for key in keys {
                        // A set's keys were checked against one another.
                        check_kid(&key, &fixed).map_err(|error| error.within(&at))?;
                        fixed.push(key);
                    }
                    let Some(secret) = secret else { continue };
                    if secrets.iter().any(|other| other.matches(secret.as_bytes())) {
                        let rule = "the same secret as another key; expected another one (a running gateway does not see a \
                                    variable change)";
                        return Err(ConfigError::at(at, rule));
                    }
                    secrets.push(secret);
                }
            }
        }
        let keys = Self {
            fixed: fixed.into(),
            remote,
            skipped,
        };
        keys.check_algorithms(algorithms)?;
        match useless {
            None => Ok(keys),
            Some(at) => {
                let rule = "it serves none of the provider's algorithms";
                Err(ConfigError::at(at, rule))
            }
        }
    }

    /// An algorithm that no key serves is a mistake: of two that were meant to fit, one is missing.
    fn check_algorithms(&self, algorithms: &[Algorithm]) -> Result<(), ConfigError> {
        for (at, algorithm) in algorithms.iter().enumerate() {
            let fixed = self.fixed.iter().any(|key| key.serves(*algorithm));
            if !fixed && (self.remote.is_empty() || algorithm.is_symmetric()) {
                let rule = format!("{:?} is one that none of the keys serves", algorithm.name());
                return Err(ConfigError::at(format!("algorithms[{at}]"), rule));
            }
        }
        Ok(())
    }
}

/// What one entry of `keys` holds.
enum Entry {
    Fixed {
        keys: Vec<Key>,
        skipped: Vec<SkippedKey>,
        /// What the key was made of, where it is a secret.
        secret: Option<Secret>,
    },
    Remote(Box<RemoteKeys>),
}

impl Entry {
    fn from_config(
        config: KeyConfig,
        algorithms: &[Algorithm],
        issuer: &Issuer,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let kid = config.kid.map(|kid| kid.as_str().to_owned());
        let allow_short = config.allow_short;
        let entry = match (
            config.secret,
            config.public_key,
            config.jwks,
            config.remote_jwks,
        ) {
            (Some(ObjectOnly(secret)), None, None, None) => {
                let secret = read_secret(&secret, allow_short, algorithms, environment)
                    .map_err(|rule| ConfigError::at("secret", rule))?;
                let key = Key {
                    kid,
                    only: None,
                    material: Material::secret(secret.as_bytes()),
                };
                return Ok(Self::Fixed {
                    keys: vec![key],
                    skipped: Vec::new(),
                    secret: Some(secret),
                });
            }
            (None, Some(ObjectOnly(key)), None, None) => {
                let material = read_public_key(&key, environment)
                    .map_err(|rule| ConfigError::at("public_key", rule))?;
                let key = Key {
                    kid,
                    only: None,
                    material,
                };
                Self::Fixed {
                    keys: vec![key],
                    skipped: Vec::new(),
                    secret: None,
                }
            }
            (None, None, Some(_), None) | (None, None, None, Some(_)) if kid.is_some() => {
                return Err(ConfigError::at("kid", "the keys of a set have their own"));
            }
            (None, None, Some(ObjectOnly(set)), None) => {
                let (keys, skipped) = read_set(set).map_err(|error| error.within("jwks"))?;
                Self::Fixed {
                    keys,
                    skipped,
                    secret: None,
                }
            }
            (None, None, None, Some(ObjectOnly(remote))) => {
                let keys = RemoteKeys::from_config(remote, issuer)
                    .map_err(|error| error.within("remote_jwks"))?;
                Self::Remote(Box::new(keys))
            }
            (None, None, None, None) => {
                let rule = "expected one of `secret`, `public_key`, `jwks` and `remote_jwks`";
                return Err(ConfigError::at("", rule));
            }
            (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => {
                let rule = "expected only one of `secret`, `public_key`, `jwks` and `remote_jwks`";
                return Err(ConfigError::at("", rule));
            }
        };
        if allow_short {
            return Err(ConfigError::at("allow_short", "it is for a secret"));
        }
        Ok(entry)
    }
}

/// A name may be that of several keys, as long as a token's algorithm tells which of them it means.
fn check_kid(key: &Key, known: &[Key]) -> Result<(), ConfigError> {
    let both = |other: &Key| {
        let mut algorithms = Algorithm::ALL.iter();
        algorithms.any(|algorithm| key.serves(*algorithm) && other.serves(*algorithm))
    };
    match &key.kid {
        Some(kid)
            if known
                .iter()
                .any(|other| other.kid == key.kid && both(other)) =>
        {
            Err(ConfigError::at("kid", format!("{kid:?} is there twice")))
        }
        Some(_) | None => Ok(()),
    }
}

fn read_secret(
    config: &SecretConfig,
    allow_short: bool,
    algorithms: &[Algorithm],
    environment: &dyn Environment,
) -> Result<Secret, String> {
    let secret = config.resolve(SecretUse::Key, environment)?;
    // Whoever knows a public key could sign with it.
    if pem::looks_like_pem(secret.as_bytes()) {
        return Err("PEM, which is no secret; expected `public_key`".to_owned());
    }
    let length = secret.as_bytes().len();
    let short = algorithms.iter().find(|a| length < a.shortest_secret());
    match short {
        Some(algorithm) if !allow_short => Err(format!(
            "{length} bytes are too short for {}; expected at least {}, or `allow_short: true`",
            algorithm.name(),
            algorithm.shortest_secret()
        )),
        Some(_) | None => Ok(secret),
    }
}

fn read_public_key(
    config: &PublicKeyConfig,
    environment: &dyn Environment,
) -> Result<Material, String> {
    let parse = |text: &str| pem::parse(text).map_err(str::to_owned);
    match (&config.pem, &config.env) {
        (Some(text), None) => parse(text.as_str()),
        (None, Some(name)) => {
            let name = name.as_str();
            let text = environment.var(name).ok_or_else(|| {
                format!("the environment variable {name} is not set or not shown to the filter")
            })?;
            // Where variables can't hold line breaks they are often written as `\n`.
            parse(&text.replace("\\n", "\n"))
        }
        (Some(_), Some(_)) => Err("both `pem` and `env`; expected one of them".to_owned()),
        (None, None) => Err("neither `pem` nor `env`; expected one of them".to_owned()),
    }
}

/// The keys of a set, and those of it that are left out: an issuer's set may be written down as it
/// is published. What is a mistake in any set is one here too.
fn read_set(config: JwksConfig) -> Result<(Vec<Key>, Vec<SkippedKey>), ConfigError> {
    let entries = config.keys.into_vec();
    if entries.len() > jwks::MOST_KEYS {
        let rule = format!(
            "{} keys; at most {} are read",
            entries.len(),
            jwks::MOST_KEYS
        );
        return Err(ConfigError::at("keys", rule));
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut skipped: Vec<SkippedKey> = Vec::new();
    for (at, JwkConfig(jwk)) in entries.iter().enumerate() {
        let path = format!("keys[{at}]");
        match jwks::parse_entry(jwk.as_ref()) {
            Ok(key) => {
                check_kid(&key, &keys).map_err(|error| error.within(&path))?;
                keys.push(key);
            }
            Err(Unfit::Foreign(rule)) => skipped.push(SkippedKey::new(at, jwk.as_ref(), rule)),
            Err(Unfit::Wrong(rule)) => return Err(ConfigError::at(path, rule)),
        }
    }
    match skipped.first() {
        Some(first) if keys.is_empty() => Err(ConfigError::at(first.path.as_str(), first.why)),
        Some(_) | None => Ok((keys, skipped)),
    }
}
