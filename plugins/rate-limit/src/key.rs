//! What tells clients apart.

use std::borrow::Cow;
use std::hash::Hasher as _;
use std::net::IpAddr;

use portcullis_policy::config::{ClaimPath, Claims, HeaderName, scalar_text};
use portcullis_policy::{
    ClientAddress, Request, cookie_pairs, cookie_value, percent_decoded, query_pairs, query_value,
};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::config::Algorithm;
use crate::quota::Quota;

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
    /// A header's value: `header:<name>`.
    Header(String),
    /// A parameter of the query: `query:<name>`.
    Query(String),
    /// A cookie: `cookie:<name>`.
    Cookie(String),
    /// A claim of the verified token: `claim:<path>`.
    Claim(ClaimPath),
}

/// A key as it is held: a keyed hash of the limit's name and all parts, so that no client can aim
/// at another's place in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(pub(crate) [u8; 16]);

/// The secret of the hash, one for all workers of a gateway.
pub(crate) type HashKey = [u8; 16];

/// Why a request has no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It lacks a part.
    Missing,
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
    pub(crate) address: std::cell::OnceCell<Option<IpAddr>>,
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
            Some(("query", name)) => named(name).map(Self::Query),
            Some(("cookie", name)) => named(name).map(Self::Cookie),
            Some(("claim", path)) => return ClaimPath::from_text(path).map(Self::Claim),
            Some(_) => None,
        };
        part.ok_or_else(|| {
            format!(
                "{text:?} is not a key; expected client_address, path, method, host, route, \
                 constant, header:<name>, query:<name>, cookie:<name> or claim:<path>"
            )
        })
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
            "description": "client_address, path, method, host, route, constant, header:<name>, query:<name>, cookie:<name> or claim:<path>",
            "pattern": "^(client_address|path|method|host|route|constant|(header|query|cookie|claim):.+)$"
        })
    }
}

impl Fingerprint {
    /// The fingerprint of `source` under a limit; parts that are missing are left out when
    /// `without_missing`. The window is a part of it, since counts are numbered by windows, so that
    /// those of another length mean nothing; and so is whether it counts in windows at all.
    pub(crate) fn of(
        limit: &str,
        quota: &Quota,
        parts: &[KeyPart],
        source: &Source<'_, '_>,
        hash_key: &HashKey,
        without_missing: bool,
    ) -> Result<Self, NoKey> {
        let mut hasher = SipHasher24::new_with_key(hash_key);
        // Each field with its length before it, so that no two keys run into one.
        field(&mut hasher, limit.as_bytes());
        hasher.write_u64(quota.window.as_nanos());
        hasher.write_u8(u8::from(quota.algorithm == Algorithm::TokenBucket));
        for part in parts {
            let found = match part {
                KeyPart::ClientAddress => {
                    let address = source
                        .address
                        .get_or_init(|| source.client_address.of(source.request));
                    match address.ok_or(NoKey::AddressUnknown)? {
                        IpAddr::V4(address) => field(&mut hasher, &address.octets()),
                        IpAddr::V6(address) => field(&mut hasher, &address.octets()),
                    }
                    true
                }
                KeyPart::Header(name) => {
                    let values = source.request.headers().values(name);
                    fields(&mut hasher, values.map(Cow::Borrowed))
                }
                KeyPart::Path => {
                    match source.request.path() {
                        Ok(path) => field(&mut hasher, path.without_slash_at_end().as_bytes()),
                        // All of them together: none is let slip by writing it in another way.
                        Err(ambiguous) => field(&mut hasher, ambiguous.reason().as_bytes()),
                    }
                    true
                }
                KeyPart::Method => {
                    field(&mut hasher, source.request.method().as_bytes());
                    true
                }
                KeyPart::Host => match source.request.host() {
                    Ok(Some(host)) => {
                        field(&mut hasher, host.to_ascii_lowercase().as_bytes());
                        true
                    }
                    Ok(None) => false,
                    // All of them together: none is let slip by writing it in another way.
                    Err(ambiguous) => {
                        field(&mut hasher, ambiguous.reason().as_bytes());
                        true
                    }
                },
                KeyPart::Route => match source.request.route() {
                    Some(route) => {
                        field(&mut hasher, route.as_bytes());
                        true
                    }
                    None => false,
                },
                KeyPart::Constant => true,
                KeyPart::Query(name) => {
                    let pairs = query_pairs(source.request.target());
                    let values = pairs.filter_map(|pair| query_value(pair, name));
                    fields(&mut hasher, values.map(percent_decoded))
                }
                KeyPart::Cookie(name) => {
                    let lines = source.request.headers().values("cookie");
                    let pairs = lines.flat_map(cookie_pairs);
                    let values = pairs.filter_map(|pair| cookie_value(pair, name));
                    fields(&mut hasher, values.map(Cow::Borrowed))
                }
                KeyPart::Claim(path) => {
                    if let Some(header) = source.claim_header(path) {
                        let values = source.request.headers().values(header);
                        fields(&mut hasher, values.map(Cow::Borrowed))
                    } else {
                        let claim = source.claims.and_then(|claims| claims.claim(path));
                        let text = claim.and_then(scalar_text);
                        let value = text.as_ref().map(|text| Cow::Borrowed(text.as_bytes()));
                        fields(&mut hasher, value.into_iter())
                    }
                }
            };
            if !found && !without_missing {
                return Err(NoKey::Missing);
            }
            hasher.write_u8(u8::from(found));
        }
        Ok(Self(hasher.finish128().as_bytes()))
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

    /// Which of `slots` slots the key lives in.
    pub(crate) fn slot(&self, slots: u32) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        let number = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let slot = number.checked_rem(u64::from(slots)).unwrap_or(0);
        u32::try_from(slot).unwrap_or(0)
    }
}

/// Whether one of the values is not empty. Empty ones are as good as none: otherwise a client that
/// sends one, two or three of them would have as many keys.
fn fields<'v>(hasher: &mut SipHasher24, values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
    let mut found = false;
    for value in values.filter(|value| !value.is_empty()) {
        field(hasher, &value);
        found = true;
    }
    found
}

fn field(hasher: &mut SipHasher24, bytes: &[u8]) {
    hasher.write_u64(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    hasher.write(bytes);
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
