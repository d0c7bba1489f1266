//! What it costs to check a token: by the policy on this machine, and by jwt-compact's own backends.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use jwt_compact::alg::{Ed25519, Es256, Rsa};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmExt as _, UntrustedToken};
use portcullis_issuer::{ALGORITHMS, Key};
use portcullis_jwt_auth::JwtAuth;
use portcullis_policy::Timestamp;
use portcullis_sim::{Dialect, Worker, World};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::measure::{Side, Subject};
use crate::scene::{GUARDED_PATH, OPEN_PATH, Scene};

/// What jwt-compact can verify by itself and we verify otherwise.
pub const JWT_COMPACT: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// What a subject of jwt-compact's own is called.
#[must_use]
pub fn jwt_compact_name(algorithm: &str) -> String {
    format!("{algorithm} by jwt-compact")
}

/// Each algorithm, a cached token, an expired one, and jwt-compact's own.
pub(super) fn subjects(scene: &Scene) -> Result<Vec<Subject<'static>>> {
    let mut subjects = Vec::new();
    for algorithm in ALGORITHMS {
        subjects.push(request(algorithm, scene, 0, scene.token(algorithm), 200)?);
    }
    let (good, expired) = (scene.token("RS256"), scene.expired_token("RS256"));
    subjects.push(request("cached", scene, 4096, good, 200)?);
    subjects.push(request("expired", scene, 0, expired, 401)?);
    subjects.push(jwt_compact("RS256", scene, Rsa::rs256())?);
    subjects.push(jwt_compact("ES256", scene, Es256)?);
    subjects.push(jwt_compact("EdDSA", scene, Ed25519)?);
    Ok(subjects)
}

/// A worker with the policy, which remembers so many tokens.
///
/// # Errors
/// The policy does not take its configuration.
pub fn worker(scene: &Scene, cached_tokens: u32) -> Result<Worker<JwtAuth>> {
    let world = World::new(Dialect::Envoy, 1);
    world
        .clock
        .set(Timestamp::from_unix_secs(scene.unix_secs()));
    let worker = world.worker(&Scene::config(cached_tokens).to_string());
    worker.map_err(|error| anyhow!("jwt_auth does not take its configuration: {error}"))
}

/// A request with this token, which gets this status where a token is needed.
fn request(
    name: &str,
    scene: &Scene,
    cached_tokens: u32,
    token: String,
    status: u16,
) -> Result<Subject<'static>> {
    let worker = worker(scene, cached_tokens)?;
    let authorization = format!("Bearer {token}");
    let run = move |side, times| {
        let (path, expected) = match side {
            Side::Asked => (GUARDED_PATH, status),
            Side::Without => (OPEN_PATH, 200),
        };
        let headers = [
            (":method", "GET"),
            (":path", path),
            (":authority", "gateway"),
            ("authorization", &authorization),
        ];
        timed(times, || {
            let (answer, _) = worker.request("192.0.2.1:4711", &headers);
            (answer.status() == expected)
                .then_some(())
                .with_context(|| format!("{answer:?} instead of {expected}"))
        })
    };
    Ok(Subject {
        name: name.to_owned(),
        has_without: true,
        run: Box::new(run),
    })
}

/// A token parsed and verified by jwt-compact alone: no request, no rules.
fn jwt_compact<A>(name: &str, scene: &Scene, algorithm: A) -> Result<Subject<'static>>
where
    A: Algorithm + 'static,
    A::VerifyingKey: for<'a> TryFrom<&'a JsonWebKey<'a>>,
{
    let jwk = Key::of(name).jwk().to_string();
    let jwk: JsonWebKey<'_> = serde_json::from_str(&jwk)?;
    let Ok(key) = A::VerifyingKey::try_from(&jwk) else {
        bail!("jwt-compact does not take the key of {name}");
    };
    let token = scene.token(name);
    let run = move |_, times| {
        timed(times, || {
            let token = UntrustedToken::new(&token).map_err(Error::msg)?;
            let verified = algorithm.validator::<Value>(&key).validate(&token);
            verified.map(|_| ()).map_err(Error::msg)
        })
    };
    Ok(Subject {
        name: jwt_compact_name(name),
        has_without: false,
        run: Box::new(run),
    })
}

/// The CPU time that this thread needs to do something so many times.
pub(super) fn timed(times: u32, mut once: impl FnMut() -> Result<()>) -> Result<Duration> {
    let begun = cpu_time()?;
    for _ in 0..times {
        once()?;
    }
    Ok(cpu_time()?.saturating_sub(begun))
}

fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}
