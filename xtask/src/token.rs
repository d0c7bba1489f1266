//! `cargo xtask token`: a token for trying things out.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt as _, Claims, Header};
use serde::Serialize;

/// HS256's keys are at least as long as its hash (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;

/// What the token says, and what signs it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Whom it is about.
    #[arg(long, default_value = "alice")]
    pub sub: String,
    /// What they may do; several words apart.
    #[arg(long, default_value = "rag:read")]
    pub scope: String,
    /// How long it is valid: a whole number and s, m or h.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    pub ttl: u64,
    /// The environment variable that holds the secret.
    #[arg(long, default_value = "JWT_SECRET_KEY", value_name = "NAME")]
    pub secret_env: String,
    /// Who issued it.
    #[arg(long, default_value = "https://auth.tradingsystem.local")]
    pub issuer: String,
    /// Whom it is for.
    #[arg(long, default_value = "rag-api")]
    pub audience: String,
    /// Which key signs it.
    #[arg(long, default_value = "dash-2026")]
    pub kid: String,
}

/// What a token says.
#[derive(Clone, Copy, Debug)]
pub struct TokenSpec<'a> {
    /// `sub`.
    pub subject: &'a str,
    /// `scope`.
    pub scope: &'a str,
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// `kid`, in the header.
    pub kid: &'a str,
    /// `iat`, in seconds since 1970.
    pub issued_at: u64,
    /// From `iat` to `exp`, in seconds.
    pub ttl: u64,
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    scope: &'a str,
    iat: u64,
    exp: u64,
}

/// Prints a token and nothing else, so that it can stand in `$(…)`.
///
/// # Errors
/// The secret is not set.
pub fn run(args: &Args) -> Result<()> {
    let name = &args.secret_env;
    let Ok(secret) = env::var(name) else {
        bail!(
            "{name} holds the secret and is not set; `export {name}=$(openssl rand -hex 32)` makes one"
        );
    };
    // As the filter does: a secret read from a file ends in a line break.
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.len() < SHORTEST_SECRET {
        eprintln!(
            "{name} is shorter than {SHORTEST_SECRET} bytes; a provider refuses it unless `allow_short: true`"
        );
    }
    let issued_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let spec = TokenSpec {
        subject: &args.sub,
        scope: &args.scope,
        issuer: &args.issuer,
        audience: &args.audience,
        kid: &args.kid,
        issued_at,
        ttl: args.ttl,
    };
    println!("{}", mint(&spec, secret.as_bytes())?);
    Ok(())
}

/// A token signed with HS256.
///
/// # Errors
/// The secret is empty.
pub fn mint(spec: &TokenSpec<'_>, secret: &[u8]) -> Result<String> {
    if secret.is_empty() {
        bail!("the secret is empty");
    }
    let claims = Claims::new(Payload {
        iss: spec.issuer,
        aud: spec.audience,
        sub: spec.subject,
        scope: spec.scope,
        iat: spec.issued_at,
        exp: spec.issued_at.saturating_add(spec.ttl),
    });
    let header = Header::empty().with_token_type("JWT").with_key_id(spec.kid);
    let token = Hs256.token(&header, &claims, &Hs256Key::new(secret));
    token.map_err(|error| anyhow!("can't write the token: {error}"))
}

/// A duration as configurations write it, without fractions of a second.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a duration; expected one such as 30s, 5m or 24h");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(unit)
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jwt_compact::UntrustedToken;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const SPEC: TokenSpec<'_> = TokenSpec {
        subject: "alice",
        scope: "rag:read",
        issuer: "https://issuer.example",
        audience: "rag-api",
        kid: "k1",
        issued_at: 1_000,
        ttl: 60,
    };

    fn part(token: &str, place: usize) -> Value {
        let part = token.split('.').nth(place).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_holds_the_claims_that_the_gateway_asks_for() {
        let token = mint(&SPEC, SECRET).unwrap();
        assert_eq!(
            part(&token, 0),
            json!({ "alg": "HS256", "typ": "JWT", "kid": "k1" })
        );
        assert_eq!(
            part(&token, 1),
            json!({
                "iss": "https://issuer.example", "aud": "rag-api", "sub": "alice",
                "scope": "rag:read", "iat": 1_000, "exp": 1_060,
            })
        );
    }

    #[test]
    fn only_the_secret_that_signed_it_verifies_it() {
        let token = mint(&SPEC, SECRET).unwrap();
        let token = UntrustedToken::new(&token).unwrap();
        let verify = |secret: &[u8]| {
            Hs256
                .validator::<Value>(&Hs256Key::new(secret))
                .validate(&token)
                .is_ok()
        };
        assert!(verify(SECRET) && !verify(b"another"));
        assert!(mint(&SPEC, b"").is_err());
    }

    #[test]
    fn a_lifetime_has_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("24h"), Ok(86_400));
        for wrong in [
            "",
            "5",
            "h",
            "0s",
            "-1s",
            "1.5h",
            "5d",
            "99999999999999999999h",
            "5ä",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
