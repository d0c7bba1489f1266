//! `kind: jwt`: a token that is signed with the secret and ends soon.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;

use crate::claims::{Audience, Claims, Header, SubjectId, read};
use crate::limits::{SKEW, secs};
use crate::secret::check;
use crate::static_secret::HEADER;
use crate::token_key::TokenKey;
use crate::{Algorithm, Credential, Error, Identity, RequestHead, Secret, SetupError, Verified};

/// Accepts requests with a token (RFC 7519) in a header: signed with one of the secrets, by the
/// issuer, for the audience, and within its time.
///
/// The header's `kid` says with which secret; without one, each is tried. A token may come with any
/// number of requests until it ends: that is how gateways use them.
#[derive(Debug)]
pub struct TokenVerifier {
    header: HeaderName,
    algorithm: Algorithm,
    keys: Vec<(String, TokenKey)>,
    issuer: String,
    audiences: Vec<String>,
    skew: i64,
    longest_lifetime: i64,
}

/// As long as the gateway can be told to make them.
const LONGEST_LIFETIME: Duration = Duration::from_secs(3_600);

impl TokenVerifier {
    /// With the secrets that are accepted (while they are rotated, the old one and the new one), and
    /// `iss` as the gateway writes it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        algorithm: Algorithm,
        secrets: impl IntoIterator<Item = Secret>,
        issuer: impl Into<String>,
    ) -> Result<Self, SetupError> {
        let secrets = check(secrets, algorithm.shortest_key())?;
        let issuer = issuer.into();
        if issuer.is_empty() {
            return Err(SetupError::EmptyIssuer);
        }
        let key = |secret: &Secret| (secret.id().to_owned(), algorithm.key(secret.bytes()));
        Ok(Self {
            header: HEADER,
            algorithm,
            keys: secrets.iter().map(key).collect(),
            issuer,
            audiences: Vec::new(),
            skew: secs(SKEW),
            longest_lifetime: secs(LONGEST_LIFETIME),
        })
    }

    /// The header that holds the token; `x-service-token` unless it is set.
    #[must_use]
    pub fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }

    /// Who this backend is. `aud` must have this name, or one of them if it is called several times.
    /// Unless it is called, a token with an `aud` is refused: it is for somebody else (RFC 7519
    /// section 4.1.3).
    #[must_use]
    pub fn audience(mut self, name: impl Into<String>) -> Self {
        self.audiences.push(name.into());
        self
    }

    /// How far the gateway's clock may be from this one's, in whole seconds; 30 s unless it is set.
    /// `exp`, `nbf` and `iat` are taken with it: at the edge a token is still good, a second beyond
    /// it is not.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = secs(skew);
        self
    }

    /// The most that may lie between `iat` and `exp`, in whole seconds; 1 h unless it is set.
    #[must_use]
    pub fn longest_lifetime(mut self, lifetime: Duration) -> Self {
        self.longest_lifetime = secs(lifetime);
        self
    }

    pub(crate) fn verify(&self, head: &RequestHead<'_>, now: i64) -> Result<Verified, Error> {
        let token = head.credential(&self.header)?;
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(Error::Malformed("the token"));
        };
        let header: Header = decode(header)
            .and_then(|json| read(&json))
            .ok_or(Error::Malformed("the token's header"))?;
        let signature = decode(signature).ok_or(Error::Malformed("the token's signature"))?;
        self.check_header(&header)?;

        // The two parts and the dot between them, as they stand.
        let length = header_and_payload(&parts);
        let signed = token.get(..length).unwrap_or_default();
        let key_id = self.signer(&header, signed, &signature)?;

        let claims: Claims = decode(payload)
            .and_then(|json| read(&json))
            .ok_or(Error::Malformed("the token's claims"))?;
        let identity = self.check_claims(claims, now)?;
        Ok(Verified::new(key_id, Credential::Jwt(identity)))
    }

    fn check_header(&self, header: &Header) -> Result<(), Error> {
        if header.alg != self.algorithm.name() {
            return Err(Error::WrongAlgorithm);
        }
        if header.crit {
            return Err(Error::Unsupported("a critical header of the token"));
        }
        // Another type is a token for another use (RFC 8725 section 3.11).
        let is_jwt = |typ: &String| typ.eq_ignore_ascii_case("JWT");
        if !header.typ.as_ref().is_none_or(is_jwt) {
            return Err(Error::Unsupported("the type of the token"));
        }
        Ok(())
    }

    /// What the key is called by which the token is signed.
    fn signer(&self, header: &Header, signed: &[u8], signature: &[u8]) -> Result<&str, Error> {
        let is_meant = |id: &str| header.kid.as_ref().is_none_or(|kid| kid == id);
        let mut refused = Error::UnknownKey;
        for (id, key) in self.keys.iter().filter(|(id, _)| is_meant(id)) {
            if key.has_signed(signed, signature) {
                return Ok(id);
            }
            refused = Error::WrongSignature;
        }
        Err(refused)
    }

    fn check_claims(&self, claims: Claims, now: i64) -> Result<Identity, Error> {
        let issuer = claims.iss.filter(|iss| *iss == self.issuer);
        let issuer = issuer.ok_or(Error::WrongIssuer)?;
        if !self.is_for_us(claims.aud.as_ref()) {
            return Err(Error::WrongAudience);
        }
        let issued = claims.iat.ok_or(Error::Incomplete("iat"))?.0;
        let expires = claims.exp.ok_or(Error::Incomplete("exp"))?.0;
        let latest_start = now.saturating_add(self.skew);
        if issued > latest_start || claims.nbf.is_some_and(|nbf| nbf.0 > latest_start) {
            return Err(Error::NotYetValid);
        }
        // One that ends before it begins has no time at all.
        if expires < issued || now > expires.saturating_add(self.skew) {
            return Err(Error::Expired);
        }
        // A difference that does not fit is the longest there is.
        if expires.saturating_sub(issued) > self.longest_lifetime {
            return Err(Error::LivesTooLong);
        }
        let subject_issuer = match claims.sub_id {
            Some(id) => issuer_of(id.0, claims.sub.as_deref())?,
            None => None,
        };
        Ok(Identity {
            issuer,
            subject: claims.sub,
            subject_issuer,
            actor: claims.act.and_then(|actor| actor.0.sub),
            token_id: claims.jti,
            expires,
        })
    }

    fn is_for_us(&self, audience: Option<&Audience>) -> bool {
        match audience {
            None => self.audiences.is_empty(),
            Some(audience) => self.audiences.iter().any(|name| audience.has(name)),
        }
    }
}

/// By whom a subject is called that. One that is about somebody else than `sub` is refused: a token
/// has one subject (RFC 9493 section 4).
fn issuer_of(id: SubjectId, subject: Option<&str>) -> Result<Option<String>, Error> {
    if id.format != "iss_sub" {
        return Ok(None);
    }
    if id.iss.is_none() || id.sub.as_deref() != subject {
        return Err(Error::Malformed("the token's sub_id"));
    }
    Ok(id.iss)
}

fn header_and_payload(parts: &[&[u8]]) -> usize {
    let both = parts.iter().take(2).map(|part| part.len());
    both.fold(1, usize::saturating_add)
}

fn decode(part: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
