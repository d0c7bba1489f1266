//! An issuer of tokens, and what it takes to believe one of them.

use std::rc::Rc;

use portcullis_policy::config::{
    ClaimPath, ConfigError, Duration, NonEmpty, ObjectOnly, Secret, SecretUse, UniqueMap,
};
use portcullis_policy::{Environment, Timestamp};

use crate::claims::{Caller, RegisteredClaims};
use crate::config::{Algorithm, Identifier, KeyConfig, ProviderConfig, TokenForward};
use crate::extractor::Source;
use crate::identity::Identities;
use crate::refusal::{Reason, Refusal};
use crate::verifier::{Key, KeySet, UntrustedToken};

/// An issuer of tokens.
pub(crate) struct Provider {
    pub(crate) name: Rc<str>,
    pub(crate) sources: Vec<Source>,
    pub(crate) token_forward: TokenForward,
    issuer: String,
    keys: KeySet,
    registered: RegisteredClaims,
    forwards: Vec<(ClaimPath, usize)>,
}

/// All issuers, each at its place, and the headers that they have between them.
pub(crate) struct Providers {
    entries: Vec<Provider>,
    identities: Identities,
}

impl Providers {
    pub(crate) fn from_config(
        config: UniqueMap<ProviderConfig>,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let mut providers = Self {
            entries: Vec::new(),
            identities: Identities::default(),
        };
        for (name, config) in config.into_vec() {
            let provider = providers
                .lower(name.as_str(), config, environment)
                .map_err(|error| error.within(name.as_str()).within("providers"))?;
            providers.entries.push(provider);
        }
        providers.check_headers()?;
        Ok(providers)
    }

    fn lower(
        &mut self,
        name: &str,
        config: ProviderConfig,
        environment: &dyn Environment,
    ) -> Result<Provider, ConfigError> {
        let issuer = config.issuer.as_str().to_owned();
        if let Some(other) = self.entries.iter().find(|other| other.issuer == issuer) {
            let rule = format!(
                "{issuer:?} is the issuer of {:?} too; a token's issuer chooses its provider",
                other.name
            );
            return Err(ConfigError::at("issuer", rule));
        }
        let algorithms = algorithms(config.algorithms)?;
        let keys = keys(config.keys, &algorithms, environment)?;
        let mut forwards = Vec::new();
        for (path, header) in config.forward.claims.into_vec() {
            let at = format!("forward.claims.{}", path.as_str());
            let place = self.identities.place(header).map_err(|e| e.within(&at))?;
            if forwards.iter().any(|(_, known)| *known == place) {
                let rule = "another claim goes to the same header; expected one of its own";
                return Err(ConfigError::at(at, rule));
            }
            forwards.push((path, place));
        }
        let sources = config.token_from.map_or_else(
            || vec![Source::bearer()],
            |sources| sources.into_vec().into_iter().map(Source::from).collect(),
        );
        Ok(Provider {
            name: name.into(),
            sources,
            token_forward: config.forward.token,
            issuer,
            keys: KeySet::new(algorithms, keys),
            registered: RegisteredClaims {
                audiences: texts(config.audiences),
                leeway: config.leeway.span(),
                max_lifetime: config.max_lifetime.map(Duration::span),
            },
            forwards,
        })
    }

    /// A header can't both bring the token in and carry a claim out.
    fn check_headers(&self) -> Result<(), ConfigError> {
        for provider in &self.entries {
            for (at, source) in provider.sources.iter().enumerate() {
                if let Some(written) = self.identities.alike(&source.header) {
                    let path = format!("providers.{}.token_from[{at}].header", provider.name);
                    let rule = format!("{:?}: claims are forwarded as {written:?}", source.header);
                    return Err(ConfigError::at(path, rule));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn entries(&self) -> &[Provider] {
        &self.entries
    }

    pub(crate) const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Finds out who holds a token; it must be of one of the `accepted` providers.
    pub(crate) fn verify<'a>(
        &'a self,
        token: &[u8],
        accepted: &[usize],
        now: Timestamp,
    ) -> Result<Caller, Refusal<'a>> {
        let token = UntrustedToken::parse(token)?;
        let issuer = token.issuer().ok_or(Reason::UnknownIssuer)?;
        let named = accepted
            .iter()
            .filter_map(|place| Some((*place, self.entries.get(*place)?)))
            .find(|(_, provider)| provider.issuer == issuer);
        let Some((place, provider)) = named else {
            return Err(Refusal::from(Reason::UnknownIssuer).with_detail("iss", issuer));
        };
        provider
            .verify(place, token, now, &self.identities)
            .map_err(|refusal| refusal.by_provider(&provider.name))
    }
}

impl Provider {
    fn verify(
        &self,
        place: usize,
        token: UntrustedToken<'_>,
        now: Timestamp,
        identities: &Identities,
    ) -> Result<Caller, Refusal<'_>> {
        let claims = self.keys.verify(token)?;
        let expires = self.registered.check(&claims, now)?;
        let identity = identities
            .values(&self.forwards, &claims)
            .map_err(|_| Reason::ClaimUnsafe)?;
        Ok(Caller {
            provider: place,
            provider_name: Rc::clone(&self.name),
            claims,
            expires,
            identity,
        })
    }
}

fn texts(identifiers: NonEmpty<Identifier>) -> Vec<String> {
    let texts = identifiers.into_vec().into_iter();
    texts.map(|text| text.as_str().to_owned()).collect()
}

fn algorithms(config: NonEmpty<Algorithm>) -> Result<Vec<Algorithm>, ConfigError> {
    let mut algorithms = Vec::new();
    for (at, algorithm) in config.into_vec().into_iter().enumerate() {
        if algorithms.contains(&algorithm) {
            let rule = format!("{:?} is there twice", algorithm.name());
            return Err(ConfigError::at(format!("algorithms[{at}]"), rule));
        }
        algorithms.push(algorithm);
    }
    Ok(algorithms)
}

fn keys(
    config: NonEmpty<ObjectOnly<KeyConfig>>,
    algorithms: &[Algorithm],
    environment: &dyn Environment,
) -> Result<Vec<Key>, ConfigError> {
    let mut keys: Vec<Key> = Vec::new();
    for (at, ObjectOnly(config)) in config.into_vec().into_iter().enumerate() {
        let at = |field: &str| format!("keys[{at}].{field}");
        let secret = config
            .secret
            .0
            .resolve(SecretUse::Key, environment)
            .map_err(|rule| ConfigError::at(at("secret"), rule))?;
        if !config.allow_short {
            check_length(&secret, algorithms).map_err(|r| ConfigError::at(at("secret"), r))?;
        }
        let kid = config.kid.map(|kid| kid.as_str().to_owned());
        if let Some(kid) = &kid
            && keys.iter().any(|key| key.kid() == Some(kid))
        {
            return Err(ConfigError::at(
                at("kid"),
                format!("{kid:?} is there twice"),
            ));
        }
        keys.push(Key::new(kid, &secret));
    }
    Ok(keys)
}

fn check_length(secret: &Secret, algorithms: &[Algorithm]) -> Result<(), String> {
    let length = secret.as_bytes().len();
    match algorithms.iter().find(|a| length < a.shortest_key()) {
        None => Ok(()),
        Some(algorithm) => Err(format!(
            "{length} bytes are too short for {}; expected at least {}, or `allow_short: true`",
            algorithm.name(),
            algorithm.shortest_key()
        )),
    }
}
