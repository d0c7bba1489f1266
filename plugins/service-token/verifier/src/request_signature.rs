//! `kind: http_signature`: a signature over the request (RFC 9421).

use std::num::NonZeroUsize;
use std::time::Duration;

use portcullis_message_signature::{BaseError, Component, Key, Signed, members, signature_base};

use crate::limits::{SKEW, secs};
use crate::nonces::{CAPACITY, Nonces};
use crate::secret::check;
use crate::{Credential, Error, RequestHead, Secret, SetupError, SignedRequest, Verified};

const INPUT: &str = "signature-input";
const SIGNATURE: &str = "signature";
const DIGEST: &str = "content-digest";

/// What the signature is for: nobody takes one of another application for it.
const TAG: &str = "service-token";
const ALGORITHM: &str = "hmac-sha256";

/// As many bytes as the hash has (RFC 2104 section 3).
const SHORTEST: usize = 32;
/// More gateways than that are in front of no backend, and each costs a hash of the request.
const MOST_LOOKED_AT: usize = 4;
/// More than anybody has a reason to cover; each is compared with each.
const MOST_COVERED: usize = 32;
/// The gateway's have 22 characters.
const LONGEST_NONCE: usize = 256;
/// A gateway signs each request when it sends it.
const LONGEST_AGE: Duration = Duration::from_secs(300);

/// Accepts requests with a signature (RFC 9421, `hmac-sha256`) that is tagged `service-token`, made
/// with one of the secrets and over this request, within its time, and for the first time.
///
/// Its label does not matter, and signatures of others may stand beside it. At most four with the
/// tag are looked at, the last first: each gateway adds its own behind those that it finds.
#[derive(Debug)]
pub struct SignatureVerifier {
    keys: Vec<(String, Key)>,
    required: Vec<Component>,
    required_if_there: Vec<Component>,
    skew: i64,
    longest_age: i64,
    nonces: Nonces,
}

/// The parameters that a signature must have (RFC 9421 section 2.3).
struct Parameters<'a> {
    created: i64,
    expires: i64,
    nonce: &'a str,
}

impl SignatureVerifier {
    /// With the secrets that are accepted: while they are rotated, the old one and the new one.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, SetupError> {
        let secrets = check(secrets, SHORTEST)?;
        let key = |secret: &Secret| (secret.id().to_owned(), Key::new(secret.bytes()));
        Ok(Self {
            keys: secrets.iter().map(key).collect(),
            required: vec![
                Component::Method,
                Component::Authority,
                Component::Path,
                Component::Query,
            ],
            required_if_there: vec![Component::Field(DIGEST.to_owned())],
            skew: secs(SKEW),
            longest_age: secs(LONGEST_AGE),
            nonces: Nonces::new(CAPACITY),
        })
    }

    /// What has to be covered by every signature, by its identifier; `@method`, `@authority`,
    /// `@path` and `@query` unless it is set. What is not covered can be anything: a signature
    /// without `@path` is good for every path.
    ///
    /// # Errors
    /// [`SetupError`]: nothing, or not a component.
    pub fn require<'c>(
        mut self,
        identifiers: impl IntoIterator<Item = &'c str>,
    ) -> Result<Self, SetupError> {
        self.required = parse(identifiers)?;
        if self.required.is_empty() {
            return Err(SetupError::NoComponent);
        }
        Ok(self)
    }

    /// The headers that have to be covered where a request has them, in lower case, beside
    /// `content-digest`. For those by which the gateway tells something of the caller: nobody can
    /// take one away, change it or add it.
    ///
    /// # Errors
    /// [`SetupError`]: not the name of a header.
    pub fn require_if_there<'c>(
        mut self,
        headers: impl IntoIterator<Item = &'c str>,
    ) -> Result<Self, SetupError> {
        for component in parse(headers)? {
            if !matches!(component, Component::Field(_)) {
                let component = component.identifier().to_owned();
                return Err(SetupError::NotAHeader { component });
            }
            self.required_if_there.push(component);
        }
        Ok(self)
    }

    /// How far the gateway's clock may be from this one's, in whole seconds; 30 s unless it is set.
    /// `created`, `expires` and the age are taken with it: at the edge a signature is still good, a
    /// second beyond it is not.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = secs(skew);
        self
    }

    /// How long ago a signature may be made, in whole seconds, whatever its `expires` says; 300 s
    /// unless it is set.
    #[must_use]
    pub fn longest_age(mut self, age: Duration) -> Self {
        self.longest_age = secs(age);
        self
    }

    /// How many nonces are remembered; 131,072 unless it is set, which take about 20 MB. Each is
    /// kept as long as its signature is good, so that requests per second times the gateway's `ttl`
    /// and the skew are needed. When there is no room, requests are refused.
    #[must_use]
    pub fn nonces(mut self, capacity: NonZeroUsize) -> Self {
        self.nonces = Nonces::new(capacity);
        self
    }

    pub(crate) fn verify(&self, head: &RequestHead<'_>, now: i64) -> Result<Verified, Error> {
        let (input, signature) = (head.joined(INPUT)?, head.joined(SIGNATURE)?);
        let all = members(&input, &signature)
            .map_err(|_| Error::Malformed("signature-input or signature"))?;
        let tagged = all.iter().rev();
        let tagged = tagged.filter(|signed| signed.text("tag") == Some(TAG));
        let mut refused = Error::Missing;
        for signed in tagged.take(MOST_LOOKED_AT) {
            match self.check(signed, head, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => refused = refused.or_further(error),
            }
        }
        Err(refused)
    }

    fn check(&self, signed: &Signed, head: &RequestHead<'_>, now: i64) -> Result<Verified, Error> {
        if signed.has("alg") && signed.text("alg") != Some(ALGORITHM) {
            return Err(Error::WrongAlgorithm);
        }
        let key_id = signed.text("keyid").ok_or(Error::Incomplete("keyid"))?;
        let mut keys = self.keys.iter();
        let (key_id, key) = keys.find(|(id, _)| id == key_id).ok_or(Error::UnknownKey)?;
        let parameters = Parameters::of(signed)?;
        let covered = self.check_covered(signed, head)?;

        let base =
            signature_base(head, &covered, &signed.params()).map_err(|error| match error {
                BaseError::Missing(_) => Error::Absent,
                BaseError::NotAscii(_) | BaseError::Repeated(_) => {
                    Error::Malformed("a covered component")
                }
            })?;
        if !key.verifies(&base, &signed.signature) {
            return Err(Error::WrongSignature);
        }
        let end = self.check_times(&parameters, now)?;
        // The last of all: nobody can fill the memory, or use a nonce up, who can't sign.
        let nonce = parameters.nonce;
        self.nonces.remember(key_id, nonce, end, now)?;

        let identifiers = covered
            .iter()
            .map(|component| component.identifier().to_owned());
        let signed = SignedRequest {
            label: signed.label.clone(),
            covered: identifiers.collect(),
            nonce: nonce.to_owned(),
            created: parameters.created,
            expires: parameters.expires,
        };
        Ok(Verified::new(key_id, Credential::HttpSignature(signed)))
    }

    /// What the signature covers: all that is required, and nothing twice (RFC 9421 section 2).
    fn check_covered(
        &self,
        signed: &Signed,
        head: &RequestHead<'_>,
    ) -> Result<Vec<Component>, Error> {
        let covered = signed
            .components()
            .map_err(|_| Error::Unsupported("a covered component"))?;
        let mut rest = covered.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            if covered.len() > MOST_COVERED || behind.contains(first) {
                return Err(Error::Malformed("the list of covered components"));
            }
            rest = behind;
        }
        let is_there = |component: &&Component| head.headers.contains_key(component.identifier());
        let if_there = self.required_if_there.iter().filter(is_there);
        let mut required = self.required.iter().chain(if_there);
        match required.find(|component| !covered.contains(component)) {
            Some(missing) => Err(Error::NotCovered(missing.identifier().to_owned())),
            None => Ok(covered),
        }
    }

    /// The last second in which the signature is good.
    fn check_times(&self, parameters: &Parameters<'_>, now: i64) -> Result<i64, Error> {
        let Parameters {
            created, expires, ..
        } = *parameters;
        if created > now.saturating_add(self.skew) {
            return Err(Error::NotYetValid);
        }
        let end = expires.saturating_add(self.skew);
        // One that ends before it begins has no time at all.
        if expires < created || now > end {
            return Err(Error::Expired);
        }
        let of_age = created
            .saturating_add(self.longest_age)
            .saturating_add(self.skew);
        if now > of_age {
            return Err(Error::TooOld);
        }
        Ok(end.min(of_age))
    }
}

impl<'a> Parameters<'a> {
    fn of(signed: &'a Signed) -> Result<Self, Error> {
        let number = |name| signed.number(name).ok_or(Error::Incomplete(name));
        let nonce = signed.text("nonce").ok_or(Error::Incomplete("nonce"))?;
        if !(1..=LONGEST_NONCE).contains(&nonce.len()) {
            return Err(Error::Malformed("the nonce"));
        }
        Ok(Self {
            created: number("created")?,
            expires: number("expires")?,
            nonce,
        })
    }
}

fn parse<'c>(identifiers: impl IntoIterator<Item = &'c str>) -> Result<Vec<Component>, SetupError> {
    let component = |identifier: &str| {
        Component::parse(identifier).map_err(|_| SetupError::UnknownComponent {
            component: identifier.to_owned(),
        })
    };
    identifiers.into_iter().map(component).collect()
}
