//! `kind: jwt`: a token that is signed with the secret, ends soon, and says for whom the request is
//! made.
//!
//! Where a caller is known, `sub` is the caller and `act` the gateway that acts on its behalf (RFC
//! 8693 section 4.1); `sub_id` adds the issuer by whom the caller is called that (RFC 9493). Without
//! a caller, `sub` is the gateway.

use std::cell::RefCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm, AlgorithmExt as _, AlgorithmSignature, Claims, Header};
use portcullis_message_signature::Key;
use portcullis_policy::config::{ConfigError, SecretUse};
use portcullis_policy::{Environment, Failure, Ports, Timestamp};
use serde::Serialize;

use crate::config::{CredentialConfig, HmacAlgorithm};
use crate::failure::UNSIGNABLE;
use crate::nonces::Nonces;
use crate::secrets::resolve;
use crate::static_secret::HEADER;

/// Signs tokens, and keeps those that are still good.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    header: String,
    id: String,
    keys: Vec<SigningKey>,
    issuer: String,
    subject: String,
    audience: Option<String>,
    ttl: u64,
    nonces: Nonces,
    cache: RefCell<BTreeMap<For, Cached>>,
}

/// Who calls, as it is known behind `jwt_auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller<'a> {
    pub(crate) subject: &'a str,
    /// By whom it is called that.
    pub(crate) issuer: Option<&'a str>,
}

/// Whom a token is for, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct For {
    audience: Option<String>,
    caller: Option<(String, Option<String>)>,
}

/// It does not show its token.
struct Cached {
    token: String,
    issued_at: u64,
}

/// A secret as its algorithm wants it. It does not show itself.
enum SigningKey {
    Hs256(Hs256Key),
    Hs384(Hs384Key),
    Hs512(Hs512Key),
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_id: Option<SubjectId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    exp: u64,
    jti: &'a str,
}

#[derive(Serialize)]
struct Actor<'a> {
    sub: &'a str,
}

#[derive(Serialize)]
struct SubjectId<'a> {
    format: &'static str,
    iss: &'a str,
    sub: &'a str,
}

/// Tokens kept at a time. One is about 500 bytes.
const MOST_CACHED: usize = 1_024;
/// Longest value of a client that is read.
const LONGEST: usize = 8_192;
/// Longest name of a caller whose token is kept.
const LONGEST_CACHED: usize = 256;
/// Longest name of a caller: beyond, backends would refuse the token for its length.
const LONGEST_CALLER: usize = 1_024;

impl TokenIssuer {
    /// Fetches the secrets.
    ///
    /// # Errors
    /// [`ConfigError`] names field and rule, never a secret.
    pub(crate) fn new(
        config: CredentialConfig,
        environment: &dyn Environment,
    ) -> Result<Self, ConfigError> {
        let ttl = config.ttl_secs()?;
        let algorithm = config.algorithm.unwrap_or_default();
        let shortest = (!config.allow_short).then_some(algorithm.shortest_key());
        let known = resolve(config.secrets, SecretUse::Key, shortest, environment)?;
        let (Some(first), Some(issuer), Some(subject)) =
            (known.first(), config.issuer, config.subject)
        else {
            return Err(ConfigError::at(
                "",
                "expected a secret, an issuer and a subject",
            ));
        };
        let header = config.header.as_ref().map_or(HEADER, |name| name.as_str());
        Ok(Self {
            header: header.to_owned(),
            id: first.id.as_str().to_owned(),
            nonces: Nonces::new(Key::new(first.secret.as_bytes())),
            keys: known
                .iter()
                .map(|known| SigningKey::new(algorithm, known.secret.as_bytes()))
                .collect(),
            issuer: issuer.as_str().to_owned(),
            subject: subject.as_str().to_owned(),
            audience: config.audience.map(|word| word.as_str().to_owned()),
            ttl,
            cache: RefCell::default(),
        })
    }

    /// The header's name, in lower case.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// What the secret that signs is called.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Takes this worker's number.
    pub(crate) fn prepare(&self, ports: &Ports<'_>) {
        self.nonces.prepare(ports);
    }

    /// Whether `value` is a token that one of the secrets has signed, whatever it says.
    pub(crate) fn is_ours(&self, value: &[u8]) -> bool {
        if value.len() > LONGEST {
            return false;
        }
        let mut parts = value.rsplitn(2, |byte| *byte == b'.');
        let (Some(signature), Some(signed)) = (parts.next(), parts.next()) else {
            return false;
        };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        self.keys
            .iter()
            .fold(false, |ours, key| ours | key.has_signed(signed, &signature))
    }

    /// A token for this audience (or the one of all), on behalf of this caller: one that is kept and
    /// good for a quarter of its time yet, or a new one.
    pub(crate) fn token(
        &self,
        audience: Option<&str>,
        caller: Option<Caller<'_>>,
        ports: &Ports<'_>,
    ) -> Result<String, Failure> {
        let now = ports.clock.now()?;
        let audience = audience.or(self.audience.as_deref());
        let is_longer = |caller: Caller<'_>, most: usize| {
            let issuer = caller.issuer.unwrap_or_default();
            caller.subject.len() > most || issuer.len() > most
        };
        if caller.is_some_and(|caller| is_longer(caller, LONGEST_CALLER)) {
            return Err(UNSIGNABLE);
        }
        if caller.is_some_and(|caller| is_longer(caller, LONGEST_CACHED)) {
            return self.sign(audience, caller, now, ports);
        }
        let wanted = For {
            audience: audience.map(str::to_owned),
            caller: caller.map(|caller| {
                let issuer = caller.issuer.map(str::to_owned);
                (caller.subject.to_owned(), issuer)
            }),
        };
        let mut cache = self.cache.borrow_mut();
        if let Some(cached) = cache.get(&wanted)
            && self.is_fresh(cached, now)
        {
            return Ok(cached.token.clone());
        }
        let token = self.sign(audience, caller, now, ports)?;
        if cache.len() >= MOST_CACHED {
            cache.retain(|_, cached| self.is_fresh(cached, now));
        }
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        let cached = Cached {
            token: token.clone(),
            issued_at: now.unix_secs(),
        };
        cache.insert(wanted, cached);
        Ok(token)
    }

    /// Also not when it is of a time to come: the clock was set back.
    fn is_fresh(&self, cached: &Cached, now: Timestamp) -> bool {
        let kept_for = self.ttl.saturating_sub(self.ttl / 4);
        let age = now.unix_secs().checked_sub(cached.issued_at);
        age.is_some_and(|age| age < kept_for)
    }

    fn sign(
        &self,
        audience: Option<&str>,
        caller: Option<Caller<'_>>,
        now: Timestamp,
        ports: &Ports<'_>,
    ) -> Result<String, Failure> {
        let payload = Payload {
            iss: &self.issuer,
            sub: caller.map_or(&self.subject, |caller| caller.subject),
            sub_id: caller.and_then(|caller| {
                Some(SubjectId {
                    format: "iss_sub",
                    iss: caller.issuer?,
                    sub: caller.subject,
                })
            }),
            act: caller.map(|_| Actor { sub: &self.subject }),
            aud: audience,
            iat: now.unix_secs(),
            exp: now.unix_secs().saturating_add(self.ttl),
            jti: &self.nonces.next(ports),
        };
        let header = Header::empty()
            .with_token_type("JWT")
            .with_key_id(self.id.clone());
        let key = self.keys.first().ok_or(UNSIGNABLE)?;
        key.token(&header, &Claims::new(payload)).ok_or(UNSIGNABLE)
    }
}

impl SigningKey {
    fn new(algorithm: HmacAlgorithm, secret: &[u8]) -> Self {
        match algorithm {
            HmacAlgorithm::Hs256 => Self::Hs256(Hs256Key::new(secret)),
            HmacAlgorithm::Hs384 => Self::Hs384(Hs384Key::new(secret)),
            HmacAlgorithm::Hs512 => Self::Hs512(Hs512Key::new(secret)),
        }
    }

    fn token(&self, header: &Header, claims: &Claims<Payload<'_>>) -> Option<String> {
        match self {
            Self::Hs256(key) => Hs256.token(header, claims, key),
            Self::Hs384(key) => Hs384.token(header, claims, key),
            Self::Hs512(key) => Hs512.token(header, claims, key),
        }
        .ok()
    }

    fn has_signed(&self, signed: &[u8], signature: &[u8]) -> bool {
        fn verify<A: Algorithm>(
            algorithm: &A,
            key: &A::VerifyingKey,
            signed: &[u8],
            signature: &[u8],
        ) -> bool {
            // jwt-compact panics on a signature of another length.
            A::Signature::LENGTH.is_some_and(|length| length.get() == signature.len())
                && A::Signature::try_from_slice(signature)
                    .is_ok_and(|signature| algorithm.verify_signature(&signature, key, signed))
        }
        match self {
            Self::Hs256(key) => verify(&Hs256, key, signed, signature),
            Self::Hs384(key) => verify(&Hs384, key, signed, signature),
            Self::Hs512(key) => verify(&Hs512, key, signed, signature),
        }
    }
}

impl std::fmt::Debug for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cached {{ issued_at: {} }}", self.issued_at)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}
