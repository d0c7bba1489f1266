//! An issuer of tokens, and what it takes to believe one of them.

use std::rc::Rc;

use portcullis_policy::config::{
    ByClaim, ClaimPath, ConfigError, Duration, Name, NonEmpty, UniqueMap, scalar_text,
};
use portcullis_policy::{Environment, Span, Timestamp};

use crate::caller::Caller;
use crate::claims::{Audience, RegisteredClaims, first_mismatch};
use crate::config::{
    Algorithm, AlgorithmName, Audiences, ClaimValue, ForwardConfig, Padding, ProviderConfig,
    SourceConfig, TokenForward,
};
use crate::extractor::Source;
use crate::form::Form;
use crate::identity::{Forward, Identities};
use crate::issuer::Issuer;
use crate::keys::Keys;
use crate::refusal::{Reason, Refusal};
use crate::remote::{NoKeys, RemoteKeys};
use crate::token::UntrustedToken;
use crate::verifier::{KeyRing, NoKey, Occasion, Verifier};

/// An issuer of tokens.
pub(crate) struct Provider {
    pub(crate) name: Rc<str>,
    pub(crate) sources: Vec<Source>,
    pub(crate) token_forward: TokenForward,
    pub(crate) forwards: Vec<Forward>,
    issuer: Issuer,
    algorithms: Vec<Algorithm>,
    form: Form,
    pub(crate) keys: Keys,
    registered: RegisteredClaims,
    /// What every token must show.
    claims: Vec<(ClaimPath, Vec<ClaimValue>)>,
}

/// All issuers, each by its index, and the headers that they have between them.
pub(crate) struct Providers {
    entries: Vec<Provider>,
    identities: Identities,
}

impl Providers {
    pub(crate) fn from_config(
        config: UniqueMap<Name, ProviderConfig>,
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
        let issuer = Issuer::from(config.issuer);
        if let Some(other) = self.entries.iter().find(|other| other.issuer == issuer) {
            let rule = format!(
                "{:?} is the issuer of {:?} too; a token's issuer chooses its provider",
                issuer.as_str(),
                other.name
            );
            return Err(ConfigError::at("issuer", rule));
        }
        let algorithms = algorithms(config.algorithms)?;
        let keys = Keys::from_config(config.keys, &algorithms, &issuer, environment)?;
        let forwards = self.forwards(config.forward.clone())?;
        Ok(Provider {
            name: name.into(),
            sources: sources(config.token_from, config.forward.token)?,
            token_forward: config.forward.token,
            forwards,
            issuer,
            algorithms,
            form: Form::new(config.types, config.bound_tokens, config.padding),
            keys,
            registered: RegisteredClaims {
                audience: audience(config.audiences, config.claims.is_empty())?,
                leeway: config.leeway.span(),
                max_lifetime: config.max_lifetime.map(Duration::span),
            },
            claims: wanted(config.claims),
        })
    }

    fn forwards(&mut self, config: ForwardConfig) -> Result<Vec<Forward>, ConfigError> {
        let mut forwards: Vec<Forward> = Vec::new();
        let lists = config.lists;
        let claims = config.claims.into_vec().into_iter().map(|(path, header)| {
            let at = format!("forward.claims.{}", path.as_str());
            (at, Some(path), header)
        });
        let payload = config.payload_header.into_iter();
        let payload = payload.map(|header| ("forward.payload_header".to_owned(), None, header));
        for (at, claim, header) in claims.chain(payload) {
            let index = self.identities.index(header).map_err(|e| e.within(&at))?;
            if forwards.iter().any(|known| known.index == index) {
                let rule = "another claim goes to the same header; expected one of its own";
                return Err(ConfigError::at(at, rule));
            }
            forwards.push(Forward {
                claim,
                index,
                lists,
            });
        }
        Ok(forwards)
    }

    /// A header can't both bring the token in and carry a claim out.
    fn check_headers(&self) -> Result<(), ConfigError> {
        for provider in &self.entries {
            for (at, source) in provider.sources.iter().enumerate() {
                let Some(header) = source.header() else {
                    continue;
                };
                if let Some(written) = self.identities.alike(header) {
                    let path = format!("providers.{}.token_from[{at}]", provider.name);
                    let rule = format!("{header:?}: claims are forwarded as {written:?}");
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

    /// The key sets that are fetched, each with its provider's index.
    pub(crate) fn remote_keys(&self) -> impl Iterator<Item = (usize, &RemoteKeys)> {
        let providers = self.entries.iter().enumerate();
        providers.flat_map(|(index, provider)| provider.keys.remote.iter().map(move |r| (index, r)))
    }

    /// The provider of that name, for this token: one that has it to the letter comes first, then
    /// the first whose template it fits.
    fn issuer_of(&self, token: &UntrustedToken<'_>, iss: &str) -> Option<(usize, &Provider)> {
        let of_kind = |template: bool| {
            let mut entries = self.entries.iter().enumerate();
            entries.find(|(_, provider)| {
                provider.issuer.is_template() == template
                    && provider.issuer.has_issued(iss, &token.claims)
            })
        };
        of_kind(false).or_else(|| of_kind(true))
    }

    /// For how long a token is worth waiting for that could hold, if its provider had the key that it names.
    pub(crate) fn wait(&self, token: &[u8], accepted: &[usize], now: Timestamp) -> Option<Span> {
        let token = UntrustedToken::parse(token, self.padding(accepted)).ok()?;
        let (index, provider) = self.issuer_of(&token, token.issuer()?)?;
        if !accepted.contains(&index) || provider.check_claims(&token, now).is_err() {
            return None;
        }
        provider.wait(&token, now)
    }

    fn padding(&self, accepted: &[usize]) -> Padding {
        let accepts = |index: &usize| {
            let provider = self.entries.get(*index);
            provider.is_some_and(|provider| provider.form.padding == Padding::Accept)
        };
        match accepted.iter().any(accepts) {
            true => Padding::Accept,
            false => Padding::Refuse,
        }
    }

    /// Finds out who holds a token; it must be of one of the `accepted` providers. Whatever can be
    /// refused without a look at the signature is.
    pub(crate) fn verify<'a>(
        &'a self,
        token: &[u8],
        accepted: &[usize],
        verifier: &Verifier,
        occasion: &Occasion<'_, '_>,
    ) -> Result<Caller, Refusal<'a>> {
        let token = UntrustedToken::parse(token, self.padding(accepted))?;
        let issuer = token.issuer().ok_or(Reason::UnknownIssuer)?;
        // Whoever it is by every rule, so that what the cache knows of a token holds under each.
        let named = self.issuer_of(&token, issuer);
        let named = named.filter(|(index, _)| accepted.contains(index));
        let Some((index, provider)) = named else {
            let issuers = accepted.iter().filter_map(|index| self.entries.get(*index));
            let issuers: Vec<&str> = issuers.map(|provider| provider.issuer.as_str()).collect();
            return Err(Refusal::from(Reason::UnknownIssuer)
                .with_detail("iss", issuer)
                .with_detail("expected", &issuers.join(" ")));
        };
        let subject = token.claims.get("sub").and_then(scalar_text);
        let by = |refusal: Refusal<'a>| {
            let refusal = refusal.by_provider(&provider.name);
            refusal.claimed_by(subject.as_deref())
        };
        let identity = self
            .identities
            .values(&provider.forwards, &token)
            .map_err(|claim| {
                by(Refusal::from(Reason::ClaimUnsafe)).with_detail("claim", claim.as_str())
            })?;
        let verified = provider.verify(index, &token, verifier, occasion);
        let expires = verified.map_err(by)?;
        Ok(Caller {
            provider: index,
            provider_name: Rc::clone(&provider.name),
            claims: token.claims,
            expires,
            identity: identity.headers,
            has_unfit: identity.has_unfit,
        })
    }
}

impl Provider {
    /// From when on a token counts for nothing, if it holds.
    fn verify(
        &self,
        index: usize,
        token: &UntrustedToken<'_>,
        verifier: &Verifier,
        occasion: &Occasion<'_, '_>,
    ) -> Result<Timestamp, Refusal<'static>> {
        let algorithm = token.algorithm;
        let expires = self.check_claims(token, occasion.now)?;
        let (ring, missing) = self.key_ring(occasion.now);
        let candidates = match (ring.find(token), missing) {
            (Ok(candidates), _) => candidates,
            (Err(NoKey::OtherAlgorithm), _) => {
                self.want_newer_keys(occasion.now);
                let refusal = Refusal::from(Reason::Algorithm);
                return Err(refusal.with_detail("alg", algorithm.name()));
            }
            (Err(NoKey::Unknown), missing) => {
                self.want_newer_keys(occasion.now);
                if let Some(why) = missing {
                    return Err(Refusal::without_keys(why));
                }
                let refusal = Refusal::from(Reason::UnknownKid);
                return Err(match &token.kid {
                    Some(kid) => refusal.with_detail("kid", kid),
                    None => refusal,
                });
            }
        };
        let checked = verifier.check(index, token, &candidates, missing, occasion);
        if let Err(refusal) = checked {
            // The key may be another one by now, under its old name or without any.
            if refusal.reason != Reason::VerifyBudget && !algorithm.is_symmetric() {
                self.want_newer_keys(occasion.now);
            }
            return Err(refusal);
        }
        // What was signed with keys that are no longer to be believed is not either.
        let ends = self.keys.remote.iter().filter_map(RemoteKeys::usable_until);
        let ends = ends.filter(|end| *end > occasion.now);
        Ok(ends.fold(expires, Timestamp::min))
    }

    /// What can be checked without a key. From when on the token counts for nothing.
    fn check_claims(
        &self,
        token: &UntrustedToken<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, Refusal<'static>> {
        let algorithm = token.algorithm;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refusal::from(Reason::Algorithm).with_detail("alg", algorithm.name()));
        }
        self.form.check(token)?;
        let expires = self.registered.check(&token.claims, now)?;
        if let Some(claim) = first_mismatch(&self.claims, &token.claims) {
            let refusal = Refusal::from(Reason::ProviderClaims);
            return Err(refusal.with_detail("claim", claim.as_str()));
        }
        Ok(expires)
    }

    /// For how long a token is worth waiting for: where it names a key that none of the sets at hand has, and one of them is
    /// being fetched.
    fn wait(&self, token: &UntrustedToken<'_>, now: Timestamp) -> Option<Span> {
        let remote = &self.keys.remote;
        // No set that is fetched has a secret.
        if !remote.iter().any(RemoteKeys::has_wait) || token.algorithm.is_symmetric() {
            return None;
        }
        let (ring, _) = self.key_ring(now);
        if !matches!(ring.find(token), Err(NoKey::Unknown)) {
            return None;
        }
        remote.iter().filter_map(|set| set.wait(now)).max()
    }

    /// Whether all its keys are there, and not too old.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        self.keys.remote.iter().all(|set| set.usable(now).is_ok())
    }

    /// Perhaps the issuer has published others since.
    fn want_newer_keys(&self, now: Timestamp) {
        for remote in &self.keys.remote {
            remote.want(now);
        }
    }

    /// The keys that can be used now, and why some can't be.
    fn key_ring(&self, now: Timestamp) -> (KeyRing, Option<NoKeys>) {
        let mut sets = vec![Rc::clone(&self.keys.fixed)];
        let mut missing = None;
        for remote in &self.keys.remote {
            match remote.usable(now) {
                Ok(set) => sets.push(set),
                Err(why) => missing = Some(why),
            }
        }
        (KeyRing::new(sets), missing)
    }
}

fn sources(
    config: Option<NonEmpty<SourceConfig>>,
    forward: TokenForward,
) -> Result<Vec<Source>, ConfigError> {
    let Some(config) = config else {
        return Ok(vec![Source::bearer()]);
    };
    let mut sources: Vec<Source> = Vec::new();
    for (at, config) in config.into_vec().into_iter().enumerate() {
        let source = Source::from_config(config, forward);
        sources.push(source.map_err(|error| error.within(&format!("token_from[{at}]")))?);
    }
    Ok(sources)
}

/// Without an audience something else must say which of an issuer's tokens are for us.
fn audience(config: Audiences, no_claims: bool) -> Result<Audience, ConfigError> {
    match config {
        Audiences::OneOf(texts) => {
            let texts = texts.into_vec().into_iter();
            let texts = texts.map(|text| text.as_str().to_owned());
            Ok(Audience::OneOf(texts.collect()))
        }
        Audiences::Unchecked if no_claims => {
            let rule = "\"unchecked\" without `claims`; expected a claim that tells whom a token is \
                        for, such as client_id";
            Err(ConfigError::at("audiences", rule))
        }
        Audiences::Unchecked => Ok(Audience::Unchecked),
    }
}

fn wanted(config: ByClaim<NonEmpty<ClaimValue>>) -> Vec<(ClaimPath, Vec<ClaimValue>)> {
    let claims = config.into_vec().into_iter();
    claims
        .map(|(path, values)| (path, values.into_vec()))
        .collect()
}

fn algorithms(config: NonEmpty<AlgorithmName>) -> Result<Vec<Algorithm>, ConfigError> {
    let names = config.into_vec();
    let mut algorithms = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|known| known == name) {
            let rule = format!("{:?} is there twice", name.as_str());
            return Err(ConfigError::at(format!("algorithms[{at}]"), rule));
        }
        // Two names of one algorithm are no mistake: a token may use either.
        if !algorithms.contains(&name.algorithm) {
            algorithms.push(name.algorithm);
        }
    }
    Ok(algorithms)
}
