//! The tokens that are checked, and the configuration that they are checked by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_issuer::{ALGORITHMS, Key, jwks};
use serde_json::{Value, json};

/// A path whose requests pass unseen.
pub const OPEN_PATH: &str = "/open";

/// A path whose requests need a token.
pub const GUARDED_PATH: &str = "/guarded";

/// A path of the service behind the gateway.
pub(crate) const SEARCH_PATH: &str = "/api/v1/rag/search?q=circuit+breaker&limit=5";

/// Who issues the tokens.
pub(crate) const ISSUER: &str = "https://id.example.com";

/// For whom they are.
pub(crate) const AUDIENCE: &str = "rag-api";

/// As long as the longest hash, which is what HS512 asks for.
const SECRET: &str = "a secret of sixty-four bytes, which is as long as SHA-512 wants.";

/// How long the tokens last, which is longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Tokens that were issued at one time.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    now: Duration,
}

impl Scene {
    /// Tokens that are issued now.
    #[must_use]
    pub fn now() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            now: Duration::from_secs(now.unwrap_or_default().as_secs()),
        }
    }

    /// When they are issued, in seconds since 1970.
    #[must_use]
    pub const fn unix_secs(&self) -> u64 {
        self.now.as_secs()
    }

    /// A good token.
    #[must_use]
    pub fn token(&self, algorithm: &str) -> String {
        self.signed(algorithm, self.now)
    }

    /// A token that was good the day before yesterday.
    #[must_use]
    pub fn expired_token(&self, algorithm: &str) -> String {
        self.signed(algorithm, self.now.saturating_sub(LIFETIME * 2))
    }

    /// A good token of EdDSA, whose signature is short, of about so many bytes: a directory's groups make it long.
    #[must_use]
    pub fn token_of_bytes(&self, bytes: usize) -> String {
        let mut claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "scope": "rag:read",
            "exp": (self.now + LIFETIME).as_secs(),
        });
        let least = Self::sign("EdDSA", &claims).len();
        let group = |n| format!("CN=group-{n:04},OU=search,DC=example");
        // Three bytes are four in the token; a group has quotes and a comma.
        let groups = bytes.saturating_sub(least) * 3 / 4 / (group(0).len() + 3);
        if groups > 0 {
            claims["groups"] = (0..groups).map(group).collect();
        }
        Self::sign("EdDSA", &claims)
    }

    fn signed(&self, algorithm: &str, issued: Duration) -> String {
        Self::sign(algorithm, &Self::claims(issued))
    }

    fn claims(issued: Duration) -> Value {
        json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "3f1c2a9e-6a53-4b0e-9d3a-7c1f5f0f8f52",
            "scope": "rag:read rag:write",
            "iat": issued.as_secs(),
            "exp": (issued + LIFETIME).as_secs(),
        })
    }

    fn sign(algorithm: &str, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "kid": kid(algorithm) });
        if is_symmetric(algorithm) {
            return Key::secret(SECRET.as_bytes()).token(algorithm, header, claims);
        }
        Key::of(algorithm).token(algorithm, header, claims)
    }

    /// The configuration of `jwt_auth`, which remembers so many tokens.
    #[must_use]
    pub fn config(cached_tokens: u32) -> Value {
        json!({
            "providers": { "company": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "algorithms": ALGORITHMS,
                "keys": [
                    { "secret": { "value": SECRET }, "kid": kid("HS256") },
                    { "jwks": Self::jwks(&["RS256", "ES256", "ES384", "ES512", "EdDSA"]) },
                ],
            } },
            "rules": [
                { "match": { "paths": [{ "exact": OPEN_PATH }] }, "allow": "anyone" },
                { "require": { "any_of": ["company"] } },
            ],
            "cache": { "tokens": cached_tokens },
            "verify_budget": { "failures": 0 },
        })
    }

    /// The public keys of these algorithms.
    pub(crate) fn jwks(algorithms: &[&str]) -> Value {
        let keys: Vec<_> = algorithms
            .iter()
            .map(|algorithm| (kid(algorithm), Key::of(algorithm)))
            .collect();
        jwks(&keys)
    }
}

/// The name of an algorithm's key. Those that share a type of key share the key.
fn kid(algorithm: &str) -> &str {
    match algorithm {
        "HS256" | "HS384" | "HS512" => "secret",
        "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512" => "rsa-2048",
        other => other,
    }
}

fn is_symmetric(algorithm: &str) -> bool {
    algorithm.starts_with("HS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_about_as_long_as_asked_for() {
        for bytes in [300, 6_000] {
            let length = Scene::now().token_of_bytes(bytes).len();
            assert!(length.abs_diff(bytes) < 60, "{length} instead of {bytes}");
        }
    }
}
