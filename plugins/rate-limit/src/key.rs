//! What tells clients apart.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::hash::Hasher;
use std::net::IpAddr;

use portcullis_policy::config::{ClaimPath, Claims, HeaderName, scalar_text};
use portcullis_policy::{
    AmbiguousHost, CanonicalPath, ClientAddress, FoundAddress, Request, parse_host,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::quota::Quota;
use crate::value::{self, Comma, Value};

/// A part of a limit's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address.
    ClientAddress,
    /// The path, in its canonical form and without the query.
    Path,
    /// The method.
    Method,
    /// The host that the request is for, without its port.
    Host,
    /// The name of the route that the gateway has chosen.
    Route,
    /// Nothing: all requests have it in common.
    Constant,
    /// A header's value: `header:<name>`. A comma parts two values.
    Header(String),
    /// A header's line: `header_line:<name>`. Commas are a part of it.
    HeaderLine(String),
    /// A parameter of the query: `query:<name>`.
    Query(String),
    /// A cookie: `cookie:<name>`.
    Cookie(String),
    /// A claim of the verified token: `claim:<path>`.
    Claim(ClaimPath),
}

/// What becomes of a request that lacks a part of a limit's key. One that has several values for a
/// part is refused with `deny`; else all such requests share one count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenKeyMissing {
    /// The limit does not count it.
    #[default]
    Skip,
    /// It is refused.
    Deny,
    /// All such requests share one count.
    Share,
}

/// A key as it is held: a keyed hash of the limit's name and all parts, so that no client can aim
/// at another's slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 16]);

/// A key as an engine knows it, the same for all gateways: a part of a SHA-256, so that no client finds another with the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineKey(pub(crate) [u8; 16]);

/// The secret of the hash, one for all workers of a gateway.
pub(crate) type HashKey = [u8; 16];

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It lacks the part of the key with this index.
    Missing(usize),
    /// It has several values of it, and is to have one.
    Several(usize),
    /// The gateway does not tell the client's address.
    AddressUnknown,
}

/// What keys are taken from.
pub(crate) struct Source<'a, 'r> {
    pub(crate) request: &'a Request<'r>,
    pub(crate) client_address: &'a ClientAddress,
    pub(crate) claims: Option<&'a dyn Claims>,
    /// Where a `jwt_auth` before this filter writes claims.
    pub(crate) claim_headers: &'a [(ClaimPath, String)],
    /// Found once for all limits: it costs a host call.
    pub(crate) address: &'a OnceCell<FoundAddress>,
}

impl Source<'_, '_> {
    fn claim_header(&self, path: &ClaimPath) -> Option<&str> {
        let mut headers = self.claim_headers.iter();
        headers
            .find(|(claim, _)| claim == path)
            .map(|(_, header)| header.as_str())
    }
}

impl KeyPart {
    fn parse(text: &str) -> Result<Self, String> {
        let named = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"=;&".contains(&byte);
            let fits = (1..=128).contains(&name.len()) && name.bytes().all(plain);
            fits.then(|| name.to_owned())
        };
        let part = match text.split_once(':') {
            None => match text {
                "client_address" => Some(Self::ClientAddress),
                "path" => Some(Self::Path),
                "method" => Some(Self::Method),
                "host" => Some(Self::Host),
                "route" => Some(Self::Route),
                "constant" => Some(Self::Constant),
                _ => None,
            },
            Some(("header", name)) => {
                let name = HeaderName::from_text(name).ok();
                name.map(|name| Self::Header(name.as_str().to_owned()))
            }
            Some(("header_line", name)) => {
                let name = HeaderName::from_text(name).ok();
                name.map(|name| Self::HeaderLine(name.as_str().to_owned()))
            }
            Some(("query", name)) => named(name).map(Self::Query),
            Some(("cookie", name)) => named(name).map(Self::Cookie),
            Some(("claim", path)) => return ClaimPath::from_text(path).map(Self::Claim),
            Some(_) => None,
        };
        part.ok_or_else(|| {
            format!(
                "{text:?} is not a key; expected client_address, path, method, host, route, \
                 constant, header:<name>, header_line:<name>, query:<name>, cookie:<name> or \
                 claim:<path>"
            )
        })
    }
}

/// As a configuration names it.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientAddress => f.write_str("client_address"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Host => f.write_str("host"),
            Self::Route => f.write_str("route"),
            Self::Constant => f.write_str("constant"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::HeaderLine(name) => write!(f, "header_line:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Claim(path) => write!(f, "claim:{}", path.as_str()),
        }
    }
}

impl<'de> serde::Deserialize<'de> for KeyPart {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for KeyPart {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyPart".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "client_address, path, method, host, route, constant, header:<name>, header_line:<name>, query:<name>, cookie:<name> or claim:<path>",
            "pattern": "^(client_address|path|method|host|route|constant|(header|header_line|query|cookie|claim):.+)$"
        })
    }
}

impl Fingerprint {
    /// The fingerprint of `source` under a limit. A part that is missing is left out where that is
    /// shared; one that has several values counts as that and no more, so that all such requests
    /// share one count. The window is a part of it, since counts are numbered by windows, so that
    /// those of another length mean nothing; and so is whether it counts in windows at all.
    pub(crate) fn of(
        limit: &str,
        quota: &Quota,
        parts: &[KeyPart],
        source: &Source<'_, '_>,
        hash_key: &HashKey,
        when_missing: WhenKeyMissing,
    ) -> Result<Self, NoKey> {
        let mut hasher = SipHasher24::new_with_key(hash_key);
        write_key(limit, quota, parts, source, when_missing, &mut hasher)?;
        Ok(Self(hasher.finish128().as_bytes()))
    }

    /// What this gateway counts a key under that an engine counts for several.
    pub(crate) fn of_engine_key(key: EngineKey, hash_key: &HashKey) -> Self {
        let mut hasher = SipHasher24::new_with_key(hash_key);
        hasher.write(&key.0);
        Self(hasher.finish128().as_bytes())
    }

    /// The same of values that a person gives: [`KeyPart::write_values`].
    ///
    /// # Errors
    /// Which value is none of its part, or that there are too many or too few of them.
    pub(crate) fn of_values(
        limit: &str,
        quota: &Quota,
        parts: &[KeyPart],
        values: &[Vec<u8>],
        client_address: &ClientAddress,
        hash_key: &HashKey,
    ) -> Result<Self, String> {
        let mut hasher = SipHasher24::new_with_key(hash_key);
        KeyPart::write_values(limit, quota, parts, values, client_address, &mut hasher)?;
        Ok(Self(hasher.finish128().as_bytes()))
    }

    /// What the log and the control path call it.
    pub(crate) fn caller(self) -> String {
        format!("k.{:032x}", u128::from_be_bytes(self.0))
    }

    /// The key that is called so.
    pub(crate) fn from_caller(caller: &str) -> Option<Self> {
        let digits = caller.strip_prefix("k.")?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != 32 || !digits.bytes().all(is_hex) {
            return None;
        }
        let number = u128::from_str_radix(digits, 16).ok()?;
        Some(Self(number.to_be_bytes()))
    }

    /// Under what the key's counts are kept while the clock shows an earlier time than they are of.
    pub(crate) fn in_the_past(self) -> Self {
        let [first, rest @ ..] = self.0;
        let mut bytes = [first ^ 0x80; 16];
        bytes
            .iter_mut()
            .skip(1)
            .zip(rest)
            .for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    /// A byte in which two keys rarely agree, and that does not choose the slot.
    pub(crate) const fn salt(self) -> usize {
        let [.., last] = self.0;
        last as usize
    }

    /// Which of `slots` slots the key lives in (a jump consistent hash, Lamping and Veach 2014): with
    /// another number of slots as few keys as can be live elsewhere.
    pub(crate) fn slot(&self, slots: u32) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        let mut state = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let (mut slot, mut next) = (0_u64, 0_u64);
        while next < u64::from(slots) {
            slot = next;
            state = state
                .wrapping_mul(2_862_933_555_777_941_757)
                .wrapping_add(1);
            // `next` grows with each round: the divisor is 2^31 at most.
            let divisor = (state >> 33).saturating_add(1);
            let raised = slot.saturating_add(1).saturating_mul(1 << 31);
            next = raised.checked_div(divisor).unwrap_or(u64::MAX);
        }
        u32::try_from(slot).unwrap_or(0)
    }
}

impl EngineKey {
    /// The key of `source` under a limit.
    pub(crate) fn of(
        limit: &str,
        quota: &Quota,
        parts: &[KeyPart],
        source: &Source<'_, '_>,
        when_missing: WhenKeyMissing,
    ) -> Result<Self, NoKey> {
        let mut hasher = Sha(Sha256::new());
        write_key(limit, quota, parts, source, when_missing, &mut hasher)?;
        Ok(hasher.key())
    }

    /// The same of values that a person gives: [`KeyPart::write_values`].
    pub(crate) fn of_values(
        limit: &str,
        quota: &Quota,
        parts: &[KeyPart],
        values: &[Vec<u8>],
        client_address: &ClientAddress,
    ) -> Result<Self, String> {
        let mut hasher = Sha(Sha256::new());
        KeyPart::write_values(limit, quota, parts, values, client_address, &mut hasher)?;
        Ok(hasher.key())
    }

    /// As the engine is told it: 32 digits.
    pub(crate) fn hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

/// SHA-256, fed as other hashes are.
struct Sha(Sha256);

impl Sha {
    fn key(self) -> EngineKey {
        let hash: [u8; 32] = self.0.finalize().into();
        let (key, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
        EngineKey(*key)
    }
}

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not what is asked for.
    fn finish(&self) -> u64 {
        0
    }
}

/// Hashes what `source` has of a limit's key.
fn write_key(
    limit: &str,
    quota: &Quota,
    parts: &[KeyPart],
    source: &Source<'_, '_>,
    when_missing: WhenKeyMissing,
    hasher: &mut impl Hasher,
) -> Result<(), NoKey> {
    begin(limit, quota, hasher);
    for (index, part) in parts.iter().enumerate() {
        let mark = match part.write(source, hasher)? {
            Part::Missing if when_missing != WhenKeyMissing::Share => {
                return Err(NoKey::Missing(index));
            }
            Part::Missing => 0,
            Part::Found => 1,
            Part::Several if when_missing == WhenKeyMissing::Deny => {
                return Err(NoKey::Several(index));
            }
            Part::Several => 2,
        };
        hasher.write_u8(mark);
    }
    Ok(())
}

/// What a key's hash begins with: each field with its length before it, so that no two keys run into one.
fn begin(limit: &str, quota: &Quota, hasher: &mut impl Hasher) {
    field(hasher, limit.as_bytes());
    hasher.write_u64(quota.counting().rate().window.as_nanos());
    hasher.write_u8(match quota {
        Quota::FixedWindow(_) | Quota::SlidingWindow(_) => 0,
        Quota::TokenBucket(_) => 1,
        Quota::InFlight(_) => 2,
        Quota::Lease(_) => 3,
    });
}

/// What is shown of a key to whoever may look at the control path: not what may be a secret.
pub(crate) fn label(parts: &[KeyPart], source: &Source<'_, '_>) -> String {
    let parts = parts.iter().filter(|part| **part != KeyPart::Constant);
    let labels: Vec<String> = parts.map(|part| part.label(source)).collect();
    labels.join(" ")
}

/// What a request has of a part.
enum Part {
    Missing,
    Found,
    Several,
}

impl KeyPart {
    /// Hashes values that a person gives for the parts of a limit's key: one for each part that has any, in order. An empty one is a part that is
    /// missing.
    ///
    /// # Errors
    /// Which value is none of its part, or that there are too many or too few of them.
    fn write_values(
        limit: &str,
        quota: &Quota,
        parts: &[Self],
        values: &[Vec<u8>],
        client_address: &ClientAddress,
        hasher: &mut impl Hasher,
    ) -> Result<(), String> {
        let wanted = parts.iter().filter(|part| **part != Self::Constant);
        let wanted: Vec<String> = wanted.map(Self::to_string).collect();
        if wanted.len() != values.len() {
            let expected = match wanted.as_slice() {
                [] => "none: all of its requests have one key".to_owned(),
                wanted => format!("one for each of {}", wanted.join(", ")),
            };
            return Err(format!(
                "{} values of `key`; expected {expected}",
                values.len()
            ));
        }
        begin(limit, quota, hasher);
        let mut values = values.iter();
        for part in parts {
            let value = match part {
                Self::Constant => Some(None),
                _ => values.next().map(|value| Some(value.as_slice())),
            };
            let mark = match value.flatten() {
                // A constant has no value, and is always there.
                None => 1,
                Some([]) => 0,
                Some(value) => {
                    field(hasher, &part.canonical(value, client_address)?);
                    1
                }
            };
            hasher.write_u8(mark);
        }
        Ok(())
    }

    /// A value that a person gives, as a request's is hashed.
    fn canonical<'v>(
        &self,
        value: &'v [u8],
        client_address: &ClientAddress,
    ) -> Result<Cow<'v, [u8]>, String> {
        let text = || {
            let text = std::str::from_utf8(value);
            text.map_err(|_| format!("the value of {self} is no text"))
        };
        Ok(match self {
            Self::ClientAddress => {
                let text = text()?;
                let address = client_address.grouped(text);
                let address = address.ok_or_else(|| format!("{text:?} is no address"))?;
                Cow::Owned(with_octets(address, <[u8]>::to_vec))
            }
            // One with two readings is counted with all of its kind, and has no name but its `caller`.
            Self::Path => match CanonicalPath::parse(value) {
                Ok(path) => Cow::Owned(path.without_slash_at_end().as_bytes().to_vec()),
                Err(_) => return Err(format!("{:?} is no path", text()?)),
            },
            Self::Host => canonical_host(value)?,
            Self::Header(name) | Self::HeaderLine(name) if name == "host" => canonical_host(value)?,
            Self::Constant
            | Self::Method
            | Self::Route
            | Self::Header(_)
            | Self::HeaderLine(_)
            | Self::Query(_)
            | Self::Cookie(_)
            | Self::Claim(_) => Cow::Borrowed(value),
        })
    }

    /// What is shown of this part of a request. Headers, cookies and parameters may be secrets.
    fn label(&self, source: &Source<'_, '_>) -> String {
        let request = source.request;
        let text = match self {
            Self::ClientAddress => {
                let found = source.address.get().and_then(|found| found.address);
                found.map(|address| address.to_string())
            }
            Self::Path => request
                .path()
                .ok()
                .map(|path| path.without_slash_at_end().to_owned()),
            Self::Method => Some(request.method().to_owned()),
            Self::Host => request.host().ok().flatten().map(str::to_ascii_lowercase),
            Self::Route => request.route(),
            Self::Claim(path) if source.claim_header(path).is_none() => {
                let claim = source.claims.and_then(|claims| claims.claim(path));
                claim.and_then(scalar_text).map(Cow::into_owned)
            }
            Self::Claim(path) => {
                let header = source.claim_header(path).unwrap_or_default();
                match value::header(request.headers(), header, Comma::Belongs) {
                    Value::One(value) => Some(String::from_utf8_lossy(&value).into_owned()),
                    Value::None | Value::Several => None,
                }
            }
            Self::Constant
            | Self::Header(_)
            | Self::HeaderLine(_)
            | Self::Query(_)
            | Self::Cookie(_) => None,
        };
        text.unwrap_or_else(|| "…".to_owned())
    }

    /// Hashes what `source` has of this part.
    fn write(&self, source: &Source<'_, '_>, hasher: &mut impl Hasher) -> Result<Part, NoKey> {
        let request = source.request;
        let value = match self {
            Self::ClientAddress => {
                let found = source
                    .address
                    .get_or_init(|| source.client_address.find(request));
                let address = found.address.ok_or(NoKey::AddressUnknown)?;
                with_octets(address, |octets| field(hasher, octets));
                return Ok(Part::Found);
            }
            Self::Constant => return Ok(Part::Found),
            Self::Path => match request.path() {
                Ok(path) => one(path.without_slash_at_end().as_bytes()),
                // All of them together: none is let slip by writing it in another way.
                Err(ambiguous) => one(ambiguous.as_str().as_bytes()),
            },
            Self::Method => {
                field(hasher, request.method().as_bytes());
                return Ok(Part::Found);
            }
            Self::Host => host(request),
            // Envoy has no header of that name: there it is `:authority`.
            Self::Header(name) | Self::HeaderLine(name) if name == "host" => host(request),
            Self::Route => match request.route() {
                Some(route) => Value::One(Cow::Owned(route.into_bytes())),
                None => Value::None,
            },
            Self::Header(name) => value::header(request.headers(), name, Comma::Parts),
            Self::HeaderLine(name) => value::header(request.headers(), name, Comma::Belongs),
            Self::Query(name) => value::query(request.target(), name),
            Self::Cookie(name) => value::cookie(request.headers(), name),
            Self::Claim(path) => match source.claim_header(path) {
                Some(header) => value::header(request.headers(), header, Comma::Belongs),
                None => {
                    let claim = source.claims.and_then(|claims| claims.claim(path));
                    match claim.and_then(scalar_text) {
                        Some(text) => Value::One(Cow::Owned(text.into_owned().into_bytes())),
                        None => Value::None,
                    }
                }
            },
        };
        Ok(match value {
            // An empty one is as good as none.
            Value::One(value) if !value.is_empty() => {
                field(hasher, &value);
                Part::Found
            }
            Value::None | Value::One(_) => Part::Missing,
            Value::Several => Part::Several,
        })
    }
}

fn with_octets<R>(address: IpAddr, with: impl FnOnce(&[u8]) -> R) -> R {
    match address {
        IpAddr::V4(address) => with(&address.octets()),
        IpAddr::V6(address) => with(&address.octets()),
    }
}

/// A host as requests are counted by it: in lower case, without its port.
fn canonical_host(value: &[u8]) -> Result<Cow<'static, [u8]>, String> {
    match parse_host(value) {
        Ok(host) => Ok(Cow::Owned(host.to_ascii_lowercase().into_bytes())),
        Err(_) => Err(format!("{:?} is no host", String::from_utf8_lossy(value))),
    }
}

fn host<'a>(request: &Request<'_>) -> Value<'a> {
    match request.host() {
        Ok(Some(host)) => Value::One(Cow::Owned(host.to_ascii_lowercase().into_bytes())),
        Ok(None) => Value::None,
        // Two of them, or what is none.
        Err(AmbiguousHost::Duplicated | AmbiguousHost::Malformed) => Value::Several,
    }
}

const fn one(value: &[u8]) -> Value<'_> {
    Value::One(Cow::Borrowed(value))
}

fn field(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write_u64(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    hasher.write(bytes);
}

#[cfg(test)]
mod tests;
