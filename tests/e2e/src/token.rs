//! Tokens, good ones and others.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// A JWT in the making (RFC 7519), good unless it is changed.
#[derive(Clone, Debug)]
pub struct Token {
    header: Value,
    claims: Value,
}

impl Token {
    /// A token that `envoy/edge.yaml` and `envoy/jwt_auth.yaml` accept, valid for ten minutes.
    #[must_use]
    pub fn of(subject: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self {
            header: json!({ "alg": "HS256", "typ": "JWT", "kid": "dash-2026" }),
            claims: json!({
                "iss": "https://auth.tradingsystem.local", "aud": "rag-api", "sub": subject,
                "scope": "rag:read", "iat": now, "exp": now.saturating_add(600),
            }),
        }
    }

    /// Sets a field of the header, or takes it away by `null`.
    #[must_use]
    pub fn header(mut self, name: &str, value: Value) -> Self {
        set(&mut self.header, name, value);
        self
    }

    /// Sets a claim, or takes it away by `null`.
    #[must_use]
    pub fn claim(mut self, name: &str, value: Value) -> Self {
        set(&mut self.claims, name, value);
        self
    }

    /// The token without a signature, with the dot before it.
    #[must_use]
    pub fn unsigned(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.", part(&self.header), part(&self.claims))
    }

    /// The token, signed by HMAC with SHA-256 whatever its header says.
    #[must_use]
    pub fn signed(&self, secret: &str) -> String {
        let unsigned = self.unsigned();
        // A key of any length makes an HMAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            return unsigned;
        };
        mac.update(unsigned.trim_end_matches('.').as_bytes());
        unsigned + &URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = object {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_as_rfc_7515_says() {
        // RFC 7515 appendix A.1 has line breaks in its JSON; this one was signed by OpenSSL.
        let token = Token {
            header: json!({ "alg": "HS256" }),
            claims: json!({ "sub": "a" }),
        };
        assert_eq!(token.unsigned(), "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.");
        let signed = token.signed("0123456789abcdef0123456789abcdef");
        assert_eq!(
            signed.rsplit('.').next(),
            Some("zL6GxuEPUo33EGuRUj4-xosAD3hgDisB0SOyEPK8aoU")
        );
    }

    #[test]
    fn a_claim_is_set_and_taken_away() {
        let token = Token::of("a")
            .claim("sub", json!("b"))
            .claim("exp", Value::Null);
        assert_eq!(token.claims["sub"], "b");
        assert_eq!(token.claims.get("exp"), None);
    }
}
