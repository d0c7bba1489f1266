//! A gateway of the size that these tests need, and the policy as a whole on it.

mod attacks;
mod configuration;
mod control;
mod identity;
mod issuers;
mod keys;
mod requests;
mod vectors;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key};
use jwt_compact::{Algorithm, AlgorithmSignature as _};
use portcullis_policy::config::{ClaimPath, Claims as _, parse_value};
use portcullis_policy::{
    Abilities, Clock, ClockUnavailable, Counter, Entropy, EntropyUnavailable, Environment,
    Expected, Gauge, HeaderEdit, Headers, LogLine, MetricRegistry, PeerAddress, Policy as _, Ports,
    Request, Setup, SharedStore, StoreError, Stored, Telemetry, Timestamp, Verdict,
};
use serde_json::{Value, json};

use crate::key::{Key, Material};
use crate::provider::Providers;
use crate::{Flow, JwtAuth, jwks};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://auth.tradingsystem.local";
pub(crate) const SECRET: &str = "dashboard-secret-dashboard-secret-dashboard-secret-dashboard-sec";
pub(crate) const COMPANY: &str = "https://id.example.com";
pub(crate) const COMPANY_SECRET: &str = "company-secret-company-secret-company-secret";

/// The configuration of plugins.md, as far as it reaches today.
pub(crate) fn config() -> Value {
    json!({
        "providers": {
            "dashboard": {
                "issuer": ISSUER,
                "audiences": ["rag-api"],
                "algorithms": ["HS256", "HS384", "HS512"],
                "keys": [{"secret": {"env": "JWT_SECRET_KEY"}, "kid": "dash-2026"}],
                "forward": {"claims": {
                    "sub": "x-user-id", "scope": "x-user-scopes", "tenant.id": "x-tenant"
                }}
            },
            "company": {
                "issuer": COMPANY,
                "audiences": ["rag-api"],
                "algorithms": ["HS256"],
                "keys": [{"secret": {"value": COMPANY_SECRET}}],
                "token_from": [{"header": "authorization", "scheme": "Bearer"}, {"header": "x-company-token"}],
                "max_lifetime": "24h",
                "forward": {"token": "keep", "claims": {"sub": "x-user-id", "groups": "x-groups"}}
            }
        },
        "rules": [
            {"match": {"paths": [{"exact": "/health"}], "methods": ["GET"]}, "allow": "anyone"},
            {"match": {"paths": [{"prefix": "/company"}]}, "require": {"any_of": ["company"]}},
            {"match": {"paths": [{"prefix": "/gold"}]}, "require": {
                "any_of": ["dashboard"], "claims": {"tenant.tier": ["gold"]}
            }},
            {"match": {"paths": [{"prefix": "/api"}]}, "require": {
                "any_of": ["dashboard", "company"], "scopes": ["rag:read"]
            }}
        ],
        "realm": "rag"
    })
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "rag-api", "sub": "alice", "scope": "rag:read rag:write",
        "exp": NOW + 3600, "iat": NOW, "tenant": {"id": 7, "tier": "tin"}
    })
}

pub(crate) fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    let bytes = (0..digits.len()).step_by(2);
    bytes
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// A key without a name, for whatever fits it.
pub(crate) fn unnamed(material: Material) -> Key {
    Key {
        kid: None,
        only: None,
        material,
    }
}

/// A public key, or a secret, from its JWK.
pub(crate) fn key(jwk: &Value) -> Key {
    match jwk["k"].as_str() {
        Some(secret) => unnamed(Material::secret(&decode(secret))),
        None => {
            jwks::parse_key(jwk.as_object().unwrap()).unwrap_or_else(|e| panic!("{jwk}: {e:?}"))
        }
    }
}

/// Signs what is to stand in the first two segments, whatever it is.
pub(crate) fn sign_bytes(algorithm: &str, secret: &str, header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let (secret, message) = (secret.as_bytes(), signed.as_bytes());
    let signature = match algorithm {
        "HS384" => encode(Hs384.sign(&Hs384Key::from(secret), message).as_bytes()),
        "HS512" => encode(Hs512.sign(&Hs512Key::from(secret), message).as_bytes()),
        _ => encode(Hs256.sign(&Hs256Key::from(secret), message).as_bytes()),
    };
    format!("{signed}.{signature}")
}

pub(crate) fn sign(secret: &str, header: &Value, claims: &Value) -> String {
    let algorithm = header["alg"].as_str().unwrap_or_default();
    sign_bytes(
        algorithm,
        secret,
        header.to_string().as_bytes(),
        claims.to_string().as_bytes(),
    )
}

/// A token of the dashboard.
pub(crate) fn token(claims: &Value) -> String {
    sign(SECRET, &json!({"alg": "HS256", "kid": "dash-2026"}), claims)
}

pub(crate) fn bearer(claims: &Value) -> (&'static str, String) {
    ("authorization", format!("Bearer {}", token(claims)))
}

/// The providers of [`config`].
pub(crate) fn providers() -> Providers {
    let config: crate::Config = parse_value(config()).unwrap();
    Providers::from_config(config.providers, &World::default()).unwrap()
}

/// Clock, randomness, counters and log of a gateway.
pub(crate) struct World {
    pub(crate) clock: Cell<Result<Timestamp, ClockUnavailable>>,
    counted: RefCell<Vec<Counter>>,
    pub(crate) lines: RefCell<Vec<String>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            clock: Cell::new(Ok(Timestamp::from_unix_secs(NOW))),
            counted: RefCell::default(),
            lines: RefCell::default(),
        }
    }
}

impl Clock for World {
    fn monotonic(&self) -> Result<Timestamp, ClockUnavailable> {
        self.now()
    }
    fn now(&self) -> Result<Timestamp, ClockUnavailable> {
        self.clock.get()
    }
}
impl Entropy for World {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyUnavailable> {
        bytes.fill(4);
        Ok(())
    }
}
impl SharedStore for World {
    fn get(&self, _: &str) -> Result<Option<Stored>, StoreError> {
        Err(StoreError::Unavailable)
    }
    fn set(&self, _: &str, _: &[u8], _: Expected) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }
}
impl Telemetry for World {
    fn add(&self, counter: Counter, by: u32) {
        let counted = std::iter::repeat_n(counter, by as usize);
        self.counted.borrow_mut().extend(counted);
    }
    fn set(&self, _: Gauge, _: u64) {}
    fn log(&self, line: LogLine) {
        self.lines.borrow_mut().push(line.as_str().to_owned());
    }
}
impl Environment for World {
    fn var(&self, name: &str) -> Option<String> {
        (name == "JWT_SECRET_KEY").then(|| SECRET.to_owned())
    }
}
impl PeerAddress for World {
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// A policy in force.
pub(crate) struct Gateway {
    pub(crate) world: World,
    pub(crate) policy: JwtAuth,
    metrics: MetricRegistry,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Status and challenge.
    Refused(u16, Option<String>),
    /// What the backend sees of the headers that were sent or written, where it is not empty.
    Passed(Vec<(String, String)>),
}

impl Gateway {
    pub(crate) fn new(config: Value) -> Self {
        Self::try_new(config).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_new(config: Value) -> Result<Self, String> {
        let world = World::default();
        let mut metrics = MetricRegistry::default();
        let config = parse_value(config).map_err(|error| error.to_string())?;
        let mut setup = Setup {
            environment: &world,
            metrics: &mut metrics,
            abilities: Abilities::NATIVE,
        };
        let policy = JwtAuth::from_config(config, &mut setup).map_err(|error| error.to_string())?;
        Ok(Self {
            world,
            policy,
            metrics,
        })
    }

    /// What is done once the configuration is in force.
    pub(crate) fn prepare(&self) {
        self.policy.prepare(&self.ports());
    }

    pub(crate) fn ports(&self) -> Ports<'_> {
        Ports {
            clock: &self.world,
            entropy: &self.world,
            store: &self.world,
            telemetry: &self.world,
        }
    }

    /// GETs a path with these headers.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, String)]) -> Outcome {
        self.ask("GET", path, headers, |_| ())
    }

    /// Asks `/api/x` with this token; tells why it is refused.
    pub(crate) fn reason(&self, token: &str) -> Option<String> {
        self.world.lines.borrow_mut().clear();
        self.get("/api/x", &[("authorization", format!("Bearer {token}"))]);
        self.last_reason()
    }

    pub(crate) fn last_reason(&self) -> Option<String> {
        let lines = self.world.lines.borrow();
        let (_, rest) = lines.last()?.split_once(" reason=")?;
        rest.split(' ').next().map(str::to_owned)
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        look: impl FnOnce(&Flow),
    ) -> Outcome {
        let pseudo = [(":method", method), (":path", path), (":authority", "rag")];
        let sent = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let sent = Headers::from_pairs(pseudo.into_iter().chain(sent));
        let request = Request::new(&sent, &self.world);
        let ports = self.ports();
        let (verdict, flow) = self.policy.on_request(&request, &ports);
        look(&flow);
        match verdict {
            Verdict::Read { .. } | Verdict::Wait { .. } => panic!("no body decides"),
            Verdict::Refuse(reply) => {
                let mut found = reply.headers.iter();
                let challenge = found.find(|(name, _)| name == "www-authenticate");
                Outcome::Refused(reply.status, challenge.map(|(_, value)| value.clone()))
            }
            Verdict::Continue(edits) => {
                let mut lines: Vec<(String, String)> = headers
                    .iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                    .collect();
                for edit in edits.headers() {
                    match edit {
                        HeaderEdit::Set { name, value } => {
                            lines.retain(|(known, _)| known != &name.to_ascii_lowercase());
                            let value = String::from_utf8(value.to_vec()).unwrap();
                            lines.push((name.to_string(), value));
                        }
                        HeaderEdit::Clear { name } => {
                            let sent = lines.len();
                            lines.retain(|(known, _)| known != &name.to_ascii_lowercase());
                            assert!(lines.len() < sent, "{name} was cleared but not there");
                        }
                    }
                }
                if let Some(target) = edits.target() {
                    let target = String::from_utf8(target.to_vec()).unwrap();
                    lines.push((":path".to_owned(), target));
                }
                lines.sort();
                Outcome::Passed(lines)
            }
        }
    }

    /// How often a counter was raised.
    pub(crate) fn count(&self, name: &str) -> usize {
        let index = self.metrics.metrics().iter().position(|m| m.1 == name);
        let index = index.unwrap_or_else(|| panic!("{name} was not announced"));
        let counted = self.world.counted.borrow();
        counted.iter().filter(|c| c.index() == index).count()
    }
}

/// A claim of a flow, as text.
pub(crate) fn claim(flow: &Flow, path: &str) -> Option<String> {
    flow.claim(&ClaimPath::from_text(path).unwrap())
        .map(Value::to_string)
}

pub(crate) fn passed(lines: &[(&str, &str)]) -> Outcome {
    let lines = lines
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Outcome::Passed(lines.collect())
}

pub(crate) fn refused(status: u16, challenge: &str) -> Outcome {
    Outcome::Refused(
        status,
        (!challenge.is_empty()).then(|| challenge.to_owned()),
    )
}

pub(crate) fn lines(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(n, v)| (*n, (*v).to_owned())).collect()
}
